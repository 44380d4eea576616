from __future__ import annotations

from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.contrib.auth.management import create_permissions
from django.db.models.signals import post_migrate

from ollaproject import catalogs


class OllaprojectConfig(AppConfig):
    name = "ollaproject"
    verbose_name = "ollaproject"

    def ready(self) -> None:
        catalogs.keep_compiled(settings.BASE_DIR / "locale", settings.LOCALE_PATHS[0])
        # The Celery app too: a process that does not load it sends its tasks to Celery's default broker.
        from inference.local.record import changed, named, removed  # noqa: PLC0415
        from ollaproject import celery, checks, local_fleet  # noqa: F401, PLC0415

        changed.connect(local_fleet.show_change, dispatch_uid="local_models.changed")
        removed.connect(local_fleet.remove_endpoint, dispatch_uid="local_models.removed")
        named.connect(local_fleet.name_anew, dispatch_uid="local_models.named")
        local_fleet.show_on_dashboard()
        post_migrate.connect(install_roles, dispatch_uid="roles.install")


def install_roles(app_config: AppConfig, apps: Any = apps, using: str = "default", **_: Any) -> None:
    """After an app was migrated: its permissions, and what the roles have of them."""
    from ollaproject.wire import roles  # noqa: PLC0415 - apps load first

    try:
        apps.get_model("auth", "Group")
    except LookupError:  # `migrate` was asked for some apps only, and auth is none of them
        return
    create_permissions(app_config, verbosity=0, using=using, apps=apps)
    roles.install(app_config.label, apps)
