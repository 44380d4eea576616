"""The history of requests."""

from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='RequestRecord',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('at', models.DateTimeField(verbose_name='ended at')),
                ('request_id', models.CharField(max_length=128, verbose_name='request id')),
                ('caller', models.CharField(blank=True, max_length=64)),
                ('method', models.CharField(max_length=20)),
                ('route', models.CharField(max_length=300)),
                ('model', models.CharField(blank=True, max_length=300)),
                ('endpoint', models.CharField(blank=True, max_length=300)),
                ('status', models.PositiveSmallIntegerField(help_text='0: no answer had begun.', verbose_name='HTTP status')),
                ('error_code', models.CharField(blank=True, max_length=64)),
                ('client_left', models.BooleanField(default=False)),
                ('stream', models.BooleanField(default=False)),
                ('attempts', models.JSONField(default=list, help_text='Endpoint and why it failed, in the order tried.')),
                ('ttft_ms', models.FloatField(null=True, verbose_name='time to first byte (ms)')),
                ('duration_ms', models.FloatField(verbose_name='duration (ms)')),
                ('bytes_in', models.BigIntegerField()),
                ('bytes_out', models.BigIntegerField()),
                ('prompt_tokens', models.BigIntegerField(null=True)),
                ('completion_tokens', models.BigIntegerField(null=True)),
                ('cached_tokens', models.BigIntegerField(null=True)),
            ],
            options={
                'verbose_name': 'request',
                'ordering': ['-at', '-id'],
                'indexes': [models.Index(fields=['at'], name='requests_by_time')],
            },
        ),
    ]
