"""Which limit refused a request, budgets that were reached, and bodies of keys that keep them.

Columns of the large table are added by plain SQL with a default: for Django's own operation SQLite writes it anew.
"""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('proxy', '0007_roles'),
    ]

    operations = [
        migrations.CreateModel(
            name='BudgetReached',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('key', 'key'), ('team', 'team')], max_length=4)),
                ('subject_id', models.BigIntegerField()),
                ('name', models.CharField(max_length=150)),
                ('period', models.CharField(choices=[('day', 'day'), ('month', 'month')], max_length=5)),
                ('since', models.DateField(verbose_name='first day of the period')),
                ('budget', models.BigIntegerField(verbose_name='tokens that it may use')),
                ('at', models.DateTimeField(verbose_name='reached at')),
            ],
            options={
                'verbose_name': 'budget that was reached',
                'verbose_name_plural': 'budgets that were reached',
                'ordering': ['-at'],
            },
        ),
        migrations.CreateModel(
            name='KeptBody',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('request_id', models.CharField(max_length=128)),
                ('key_id', models.BigIntegerField()),
                ('at', models.DateTimeField()),
                ('expires_at', models.DateTimeField()),
                ('asked', models.TextField()),
                ('answered', models.TextField()),
                ('asked_bytes', models.BigIntegerField()),
                ('answered_bytes', models.BigIntegerField()),
            ],
            options={
                'verbose_name': 'kept body',
                'verbose_name_plural': 'kept bodies',
            },
        ),
        migrations.AddField(
            model_name='apikey',
            name='keep_bodies',
            field=models.BooleanField(default=False, help_text='For looking into a fault: encrypted, for OLLA_KEPT_BODIES_HOURS, and marked wherever the key is shown. Tell its holder.', verbose_name='keep what is asked and answered'),
        ),
        migrations.RunSQL(
            "ALTER TABLE proxy_requestrecord ADD COLUMN limited_by varchar(200) NOT NULL DEFAULT ''",
            "ALTER TABLE proxy_requestrecord DROP COLUMN limited_by",
            state_operations=[
                migrations.AddField(
                    "requestrecord", "limited_by", models.CharField(blank=True, default="", max_length=200)
                )
            ],
        ),
        migrations.RunSQL(
            "ALTER TABLE proxy_usagetotal ADD COLUMN limited bigint NOT NULL DEFAULT 0",
            "ALTER TABLE proxy_usagetotal DROP COLUMN limited",
            state_operations=[migrations.AddField("usagetotal", "limited", models.BigIntegerField(default=0))],
        ),
        migrations.AddIndex(
            model_name='requestrecord',
            index=models.Index(fields=['team_id', 'at'], name='requests_by_team'),
        ),
        migrations.AddIndex(
            model_name='requestrecord',
            index=models.Index(fields=['key_id', 'at'], name='requests_by_key'),
        ),
        migrations.AddConstraint(
            model_name='budgetreached',
            constraint=models.UniqueConstraint(fields=('kind', 'subject_id', 'period', 'since'), name='one_notice_per_budget_and_period'),
        ),
        migrations.AddIndex(
            model_name='keptbody',
            index=models.Index(fields=['request_id'], name='kept_bodies_by_request'),
        ),
        migrations.AddIndex(
            model_name='keptbody',
            index=models.Index(fields=['expires_at'], name='kept_bodies_to_prune'),
        ),
    ]
