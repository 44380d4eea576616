"""What exists only before the first start: nobody to sign in as."""

from __future__ import annotations

import secrets

from django.contrib.auth import get_user_model

from ollaproject.env import env_secret, env_str

PASSWORD_BYTES = 12


def make_first_admin() -> tuple[str, str] | None:
    """Make an administrator if there is none, and return name and password; else None.

    OLLA_ADMIN_USERNAME and OLLA_ADMIN_PASSWORD (or OLLA_ADMIN_PASSWORD_FILE) decide them, else the name is
    `admin` and the password is random: it is stored hashed only, so this is the one time to read it.
    """
    users = get_user_model()._default_manager
    if users.filter(is_superuser=True).exists():
        return None
    username = env_str("OLLA_ADMIN_USERNAME", "admin")
    password = env_secret("OLLA_ADMIN_PASSWORD") or secrets.token_urlsafe(PASSWORD_BYTES)
    users.create_superuser(username=username, password=password)
    return username, password
