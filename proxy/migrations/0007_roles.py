"""The rights that roles are made of. Accounts that exist already become members: so far each could see the fleet."""

import django.db.models.deletion
from django.db import migrations, models

import ollaproject.wire.roles


def make_members(apps, schema_editor):
    people = apps.get_model("auth", "User").objects.filter(is_superuser=False)
    if people.exists():
        members, _ = apps.get_model("auth", "Group").objects.get_or_create(name="role:member")
        members.user_set.add(*people)


class Migration(migrations.Migration):

    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("proxy", "0006_shared_counts"),
    ]

    operations = [
        migrations.AlterModelOptions(
            "apikey",
            options={
                "ordering": ["name"],
                "permissions": [
                    ("call_models", "Can call models from the playground"),
                    ("manage_own_keys", "Can make, rotate and revoke keys of their own"),
                    ("manage_team_keys", "Can make, rotate and revoke keys of the own teams"),
                ],
                "verbose_name": "API key",
            },
        ),
        migrations.AlterField(
            "apikey",
            "team",
            models.ForeignKey(blank=True, limit_choices_to=ollaproject.wire.roles.are_teams, null=True, on_delete=django.db.models.deletion.PROTECT, related_name="api_keys", to="auth.group"),
        ),
        migrations.AlterField(
            "teamlimits",
            "team",
            models.OneToOneField(limit_choices_to=ollaproject.wire.roles.are_teams, on_delete=django.db.models.deletion.CASCADE, related_name="limits", to="auth.group"),
        ),
        migrations.RunPython(make_members, migrations.RunPython.noop),
    ]
