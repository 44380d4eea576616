"""Checks summed up per minute, hour and day."""

from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("endpoints", "0003_aliases"),
    ]

    operations = [
        migrations.CreateModel(
            name="CheckSummary",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "span",
                    models.PositiveIntegerField(choices=[(60, "minute"), (3600, "hour"), (86400, "day")]),
                ),
                ("begins_at", models.DateTimeField()),
                ("count", models.PositiveIntegerField()),
                ("failures", models.PositiveIntegerField()),
                ("answered", models.PositiveIntegerField()),
                ("latency_sum_seconds", models.FloatField()),
                ("latency_min_seconds", models.FloatField(null=True)),
                ("latency_max_seconds", models.FloatField(null=True)),
                (
                    "endpoint",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="summaries",
                        to="endpoints.endpoint",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "check summaries",
                "ordering": ["-begins_at"],
                "indexes": [models.Index(fields=["span", "begins_at"], name="summaries_by_time")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("endpoint", "span", "begins_at"), name="one_summary_per_period"
                    )
                ],
            },
        ),
    ]
