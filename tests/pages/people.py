"""People with more roles than the fixtures give them."""

from __future__ import annotations

from django.contrib.auth.models import User

from ollaproject.wire import roles


def lead(user: User) -> User:
    roles.grant(user, roles.LEAD)
    return User.objects.get(pk=user.pk)
