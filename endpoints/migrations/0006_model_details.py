"""What backends say of their models beside the names."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("endpoints", "0005_access_revision"),
    ]

    operations = [
        migrations.AddField(
            model_name="endpointmodel",
            name="capabilities",
            field=models.JSONField(default=list),
        ),
        migrations.AddField(
            model_name="endpointmodel",
            name="family",
            field=models.CharField(blank=True, max_length=60),
        ),
        migrations.AddField(
            model_name="endpointmodel",
            name="is_loaded",
            field=models.BooleanField(null=True, verbose_name="in memory"),
        ),
        migrations.AddField(
            model_name="endpointmodel",
            name="parameter_size",
            field=models.CharField(blank=True, max_length=60),
        ),
        migrations.AddField(
            model_name="endpointmodel",
            name="quantization",
            field=models.CharField(blank=True, max_length=60),
        ),
        migrations.AddField(
            model_name="endpointmodel",
            name="size_bytes",
            field=models.BigIntegerField(null=True),
        ),
    ]
