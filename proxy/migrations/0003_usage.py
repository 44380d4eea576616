"""Whose each request was, and totals by day, begun with the rows that there are.

The columns are added by plain SQL with a default: for Django's own operation SQLite writes the whole table
anew, once per column, which takes minutes where there are millions of rows.
"""

from django.db import migrations, models
from django.db.models import Case, Count, F, Q, Sum, Value, When
from django.db.models.functions import TruncDate

NUMBERS = ("key_id", "user_id", "team_id", "charged_tokens")
WORDS = {"key_name": (64, "key"), "user_name": (150, "user"), "team_name": (150, "team"), "served_model": (300, None), "routing": (100, None)}
SUMS = ("prompt_tokens", "completion_tokens", "cached_tokens", "bytes_in", "bytes_out", "duration_ms", "ttft_ms")
FAILED = Q(client_left=False) & (Q(status__gte=400) | ~Q(error_code=""))


def column(name, sql, field):
    return migrations.RunSQL(
        f"ALTER TABLE proxy_requestrecord ADD COLUMN {name} {sql}",
        f"ALTER TABLE proxy_requestrecord DROP COLUMN {name}",
        state_operations=[migrations.AddField("requestrecord", name, field)],
    )


def word(name, length, verbose_name):
    named = {"verbose_name": verbose_name} if verbose_name else {}
    field = models.CharField(blank=True, default="", max_length=length, **named)
    return column(name, f"varchar({length}) NOT NULL DEFAULT ''", field)


def sum_up(apps, schema_editor):
    """The same as proxy.records.totals, of the rows that were written before there were totals."""
    rows = apps.get_model("proxy", "RequestRecord").objects.order_by()
    model = Case(When(endpoint="", then=Value("")), default=F("model"))
    found = rows.values(day=TruncDate("at"), where=F("endpoint"), which=model).annotate(
        requests=Count("pk"),
        failures=Count("pk", filter=FAILED),
        abandoned=Count("pk", filter=Q(client_left=True)),
        begun=Count("ttft_ms"),
        **{f"sum_{name}": Sum(name, default=0) for name in SUMS},
    )
    total = apps.get_model("proxy", "UsageTotal")
    total.objects.bulk_create(
        (
            total(
                day=row["day"],
                endpoint=row["where"],
                model=row["which"],
                **{name: row[name] for name in ("requests", "failures", "abandoned", "begun")},
                **{name: row[f"sum_{name}"] for name in SUMS},
            )
            for row in found.iterator()
        ),
        batch_size=500,
    )


class Migration(migrations.Migration):

    dependencies = [
        ("proxy", "0002_api_keys"),
    ]

    operations = [
        *(column(name, "bigint NOT NULL DEFAULT 0", models.BigIntegerField(default=0)) for name in NUMBERS),
        *(word(name, *about) for name, about in WORDS.items()),
        migrations.CreateModel(
            name='UsageTotal',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key_id', models.BigIntegerField(default=0)),
                ('key_name', models.CharField(blank=True, default='', max_length=64, verbose_name='key')),
                ('user_id', models.BigIntegerField(default=0)),
                ('user_name', models.CharField(blank=True, default='', max_length=150, verbose_name='user')),
                ('team_id', models.BigIntegerField(default=0)),
                ('team_name', models.CharField(blank=True, default='', max_length=150, verbose_name='team')),
                ('day', models.DateField()),
                ('model', models.CharField(blank=True, max_length=300)),
                ('endpoint', models.CharField(blank=True, max_length=300)),
                ('requests', models.BigIntegerField(default=0)),
                ('failures', models.BigIntegerField(default=0)),
                ('abandoned', models.BigIntegerField(default=0)),
                ('prompt_tokens', models.BigIntegerField(default=0)),
                ('completion_tokens', models.BigIntegerField(default=0)),
                ('cached_tokens', models.BigIntegerField(default=0)),
                ('charged_tokens', models.BigIntegerField(default=0)),
                ('bytes_in', models.BigIntegerField(default=0)),
                ('bytes_out', models.BigIntegerField(default=0)),
                ('duration_ms', models.FloatField(default=0)),
                ('ttft_ms', models.FloatField(default=0)),
                ('begun', models.BigIntegerField(default=0)),
            ],
            options={
                'verbose_name': 'usage of a day',
                'verbose_name_plural': 'usage by day',
                'ordering': ['-day'],
                'constraints': [models.UniqueConstraint(fields=('day', 'key_id', 'user_id', 'team_id', 'model', 'endpoint'), name='one_total_per_day')],
            },
        ),
        migrations.RunPython(sum_up, migrations.RunPython.noop),
    ]
