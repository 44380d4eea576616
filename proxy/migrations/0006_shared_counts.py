"""What all web processes have counted together, and which of them live."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("proxy", "0005_prices"),
    ]

    operations = [
        migrations.CreateModel(
            name="TrafficTotal",
            fields=[
                ("id", models.PositiveSmallIntegerField(default=1, primary_key=True, serialize=False)),
                ("counts", models.TextField()),
            ],
        ),
        migrations.CreateModel(
            name="WebProcess",
            fields=[
                ("id", models.CharField(max_length=32, primary_key=True, serialize=False)),
                ("host", models.CharField(max_length=100)),
                ("pid", models.PositiveIntegerField()),
                ("started_at", models.DateTimeField()),
                ("seen_at", models.DateTimeField()),
                ("in_flight", models.JSONField(default=dict)),
                ("waiting", models.PositiveIntegerField(default=0)),
                ("blocked", models.PositiveIntegerField(default=0)),
            ],
        ),
    ]
