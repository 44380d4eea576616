"""People who look at the pages, and endpoints to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.core.cache import cache
from django.test import Client

from endpoints.pages import fleet_view
from ollaproject.wire import roles

if TYPE_CHECKING:
    from collections.abc import Callable

    SignIn = Callable[[User | None], Client]


@pytest.fixture(autouse=True)
def nothing_kept() -> None:
    """What is kept of pages is named by counters, which begin anew in each test."""
    cache.clear()
    fleet_view.forget()


@pytest.fixture
def member(db: None) -> User:
    """Someone who may look at the fleet and use it, and no more."""
    user = User.objects.create_user("grace")
    roles.grant(user, roles.MEMBER)
    return user


@pytest.fixture
def red(member: User) -> Group:
    """A team that the member is in."""
    team = Group.objects.create(name="red")
    member.groups.add(team)
    return team


@pytest.fixture
def operator(db: None) -> User:
    """Who has the fleet in their hands, but is neither staff nor a superuser."""
    user = User.objects.create_user("ada")
    roles.grant(user, roles.OPERATOR)
    return user


@pytest.fixture
def onlooker(db: None) -> User:
    """Staff who may look at endpoints in the admin, but not touch them."""
    user = User.objects.create_user("alan", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=("view_endpoint", "call_models")))
    return user


@pytest.fixture
def signed_in() -> SignIn:
    """A browser in which this person has signed in, or nobody."""

    def sign_in(user: User | None) -> Client:
        client = Client()
        if user is not None:
            client.force_login(user)
        return client

    return sign_in


@pytest.fixture
def client(signed_in: SignIn, operator: User) -> Client:
    """A browser in which the operator has signed in."""
    return signed_in(operator)
