"""What came of each request in one column, and the indexes that the pages of requests go by.

The column is added by plain SQL with a default: for Django's own operation SQLite writes the whole table anew.
"""

from django.db import migrations, models

OUTCOME = """
UPDATE proxy_requestrecord SET outcome = CASE
    WHEN client_left THEN 'left'
    WHEN status >= 400 AND status < 500 THEN 'refused'
    WHEN error_code <> '' OR status = 0 OR status >= 500 THEN 'failed'
    ELSE 'ok'
END
"""


class Migration(migrations.Migration):

    dependencies = [
        ("proxy", "0003_usage"),
    ]

    operations = [
        migrations.RunSQL(
            "ALTER TABLE proxy_requestrecord ADD COLUMN outcome varchar(8) NOT NULL DEFAULT ''",
            "ALTER TABLE proxy_requestrecord DROP COLUMN outcome",
            state_operations=[
                migrations.AddField(
                    "requestrecord",
                    "outcome",
                    models.CharField(blank=True, choices=[("ok", "Answered"), ("failed", "Failed"), ("refused", "Refused"), ("left", "Client left")], default="", max_length=8),
                )
            ],
        ),
        migrations.RunSQL(OUTCOME, migrations.RunSQL.noop),
        migrations.AddIndex("requestrecord", models.Index(fields=["request_id"], name="requests_by_id")),
        migrations.AddIndex("requestrecord", models.Index(fields=["model", "at"], name="requests_by_model")),
        migrations.AddIndex("requestrecord", models.Index(fields=["endpoint", "at"], name="requests_by_endpoint")),
        migrations.AddIndex("requestrecord", models.Index(fields=["outcome", "at"], name="requests_by_outcome")),
        migrations.AddIndex("requestrecord", models.Index(fields=["user_id", "at"], name="requests_by_user")),
    ]
