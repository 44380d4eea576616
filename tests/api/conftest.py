"""People who call the REST API, each with a client that speaks JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.contrib.auth.models import Permission, User
from rest_framework.test import APIClient

from tests.endpoints.conftest import upstream
from tests.pages.conftest import member, onlooker

if TYPE_CHECKING:
    from collections.abc import Callable

    SignIn = Callable[[User | None], APIClient]

__all__ = ["member", "onlooker", "upstream"]


@pytest.fixture
def operator(db: None) -> User:
    """Someone who may add, change and delete endpoints, and not even look at anything else."""
    names = ("add_endpoint", "change_endpoint", "delete_endpoint", "view_endpoint")
    user = User.objects.create_user("ada")
    user.user_permissions.set(Permission.objects.filter(codename__in=names))
    return user


@pytest.fixture
def signed_in() -> SignIn:
    """A client in which this person has signed in, or nobody. CSRF is checked, as it is for a browser."""

    def sign_in(user: User | None) -> APIClient:
        client = APIClient()
        client.default_format = "json"
        if user is not None:
            client.force_login(user)
        return client

    return sign_in


@pytest.fixture
def client(signed_in: SignIn, operator: User) -> APIClient:
    return signed_in(operator)
