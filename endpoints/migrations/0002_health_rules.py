"""What the health rules remember: good checks in a row, flapping, and when an operator last asked."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("endpoints", "0001_initial"),
    ]

    operations = [
        migrations.AddField(
            model_name="endpointhealth",
            name="asked_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="endpointhealth",
            name="consecutive_successes",
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.AddField(
            model_name="endpointhealth",
            name="flapping",
            field=models.BooleanField(default=False, verbose_name="keeps going up and down"),
        ),
    ]
