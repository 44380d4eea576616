"""The keys in memory, built from the database and swapped whole: a request's caller is found without a query.

endpoints.routing.watch has it built again whenever a key, a team's limits or a person has changed.
"""

from __future__ import annotations

import hmac
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from django.conf import settings
from django.contrib.auth.models import Group, User

from ollaproject.wire import clock, roles
from proxy.access import pepper_change
from proxy.access.key_secrets import PREFIX, SHAPE, Signed, digest, peppers
from proxy.access.patterns import Names, Networks
from proxy.limits.budgets import spent
from proxy.limits.limits import Limits
from proxy.limits.meters import Subject
from proxy.models import ApiKey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from django.db.models import QuerySet

    from proxy.access.key_models import Shared
    from proxy.limits.windows import Spent

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Secret:
    """A digest, the pepper that it was made with, and until when it counts, in Unix time (None: always).

    `old` is how it is stored when a newer pepper signs by now, else None.
    """

    digest: bytes = field(repr=False)
    pepper: bytes = field(repr=False)
    until: float | None = None
    old: Signed | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Team:
    id: int
    name: str
    limits: Limits
    models: Names = field(default_factory=lambda: Names(()))


@dataclass(frozen=True, slots=True)
class Person:
    """What all keys of a person may use together."""

    limits: Limits
    models: Names = field(default_factory=lambda: Names(()))


@dataclass(frozen=True, slots=True, eq=False)
class Holder:
    """A key as the request path needs it. `closed` says why it may not be used, empty when it may.

    `expires_at` is in Unix time. `models` are those that the key, its team and its owner may use. `line` is
    the holder's name in the queue, `subjects` are whose limits count, and `longest_answer` is the tightest of
    their `max_tokens`.
    """

    id: int
    name: str
    public_id: bytes
    secrets: tuple[Secret, ...]
    user_id: int = 0
    user: str = ""
    team: Team | None = None
    closed: str = ""
    expires_at: float | None = None
    models: Names = field(default_factory=lambda: Names(()))
    endpoints: Names = field(default_factory=lambda: Names(()))
    networks: Networks = field(default_factory=lambda: Networks(()))
    priority: int = 0
    limits: Limits = field(default_factory=Limits)
    keeps_bodies: bool = False
    person: Person | None = None
    line: str = field(init=False)
    subjects: tuple[Subject, ...] = field(init=False)
    longest_answer: int | None = field(init=False)

    def __post_init__(self) -> None:
        line = f"key {self.id}"
        counted = [Subject(line, f"The API key {self.name!r}", self.limits, self.name)]
        if self.team is not None:
            team = self.team
            counted.append(Subject(f"team {team.id}", f"The team {team.name!r}", team.limits, team.name))
        if self.person is not None:
            who = f"The person {self.user!r}"
            counted.append(Subject(f"person {self.user_id}", who, self.person.limits, self.user))
        longest = [each.limits.max_tokens for each in counted if each.limits.max_tokens is not None]
        object.__setattr__(self, "line", line)
        object.__setattr__(self, "subjects", tuple(each for each in counted if each.limits.counted))
        object.__setattr__(self, "longest_answer", min(longest, default=None))

    @property
    def limited(self) -> bool:
        return bool(self.subjects)

    def refused(self, now: float) -> str:
        """Why it may not be used at `now`, in Unix time; empty when it may."""
        if self.closed:
            return self.closed
        return "has expired" if self.expires_at is not None and now >= self.expires_at else ""


class KeyTable:
    """Every key at one moment."""

    __slots__ = ("_by_public_id", "by_id", "spent")

    def __init__(self, holders: tuple[Holder, ...] = (), spent: Mapping[str, Spent] | None = None) -> None:
        # Of the budgets, by the name of the subject.
        self.spent = spent or {}
        self.by_id = {each.id: each for each in holders}
        self._by_public_id = {each.public_id: each for each in holders}

    def find(self, sent: bytes, now: float) -> Holder | None:
        """Whose key that is, None when it is nobody's. A wrong secret takes as long as a right one."""
        if not sent.startswith(PREFIX):
            return None
        parts = SHAPE.fullmatch(sent)
        holder = self._by_public_id.get(parts[1]) if parts else None
        if parts is None or holder is None:
            return None
        for secret in holder.secrets:
            given = digest(secret.pepper, parts[1], parts[2])
            if hmac.compare_digest(given, secret.digest) and (secret.until is None or now < secret.until):
                if secret.old is not None:
                    pepper_change.resign(holder.id, parts[1].decode(), parts[2].decode(), secret.old)
                return holder
        return None


_current = KeyTable()
_followers: tuple[Callable[[], None], ...] = ()


def keys() -> KeyTable:
    """The newest keys of this process; none before endpoints.routing.watch has loaded them."""
    return _current


def install(table: KeyTable) -> None:
    """Make `table` the keys of this process. One reference is swapped, so readers need no lock."""
    global _current  # noqa: PLW0603
    _current = table
    for told in _followers:
        told()


def follow(told: Callable[[], None]) -> None:
    """Have `told` called after every swap, in the thread that swaps."""
    global _followers  # noqa: PLW0603
    _followers = (*_followers, told)


def rebuild() -> None:
    """Install the keys as they are stored now."""
    install(build())


def build() -> KeyTable:
    """By one query for each kind of subject, and one more for each that has a budget."""
    known = peppers()
    rows: QuerySet[ApiKey] = ApiKey.objects.select_related("owner__limits", "team__limits")
    holders = tuple(_holder(row, known) for row in rows)
    lost = [each.name for each in holders if not each.secrets]
    if lost:
        logger.error(
            "These keys are refused, for OLLA_KEY_PEPPERS no longer holds what they were made with: %s. "
            "Put that pepper back into the list, or rotate the keys.",
            ", ".join(lost),
        )
    return KeyTable(holders, spent(_with_budget(holders), clock.now().date()))


def _with_budget(holders: tuple[Holder, ...]) -> set[str]:
    """The names of subjects that have one: in the playground, people and teams need no key."""
    found = {each.name: each.limits for holder in holders for each in holder.subjects}
    for user in User.objects.filter(is_active=True).select_related("limits"):
        if person := person_from(user):
            found[f"person {user.pk}"] = person.limits
    for group in Group.objects.filter(roles.are_teams()).select_related("limits"):
        if team := team_from(group):
            found[f"team {group.pk}"] = team.limits
    return {name for name, limits in found.items() if limits.has_budget}


def _holder(row: ApiKey, known: Mapping[str, bytes]) -> Holder:
    owner = row.owner
    team, person = team_from(row.team), person_from(owner)
    return Holder(
        id=row.pk,
        name=row.name,
        public_id=row.public_id.encode(),
        secrets=_secrets(row, known),
        user_id=owner.pk if owner else 0,
        user=owner.get_username() if owner else "",
        team=team,
        closed=closed(row),
        expires_at=_unix(row.expires_at),
        models=models_of(row.allowed_models, team, person),
        endpoints=Names(row.allowed_endpoints),
        networks=Networks(row.allowed_networks),
        priority=row.priority,
        limits=Limits.of(row, settings.OLLA_KEY_LIMITS),
        keeps_bodies=row.keep_bodies,
        person=person,
    )


def team_from(group: Group | None) -> Team | None:
    if group is None:
        return None
    row = getattr(group, "limits", None)
    return Team(group.pk, group.name, Limits.of(row, settings.OLLA_TEAM_LIMITS), _models_of(row))


def person_from(user: User | None) -> Person | None:
    if user is None:
        return None
    row = getattr(user, "limits", None)
    return Person(Limits.of(row, settings.OLLA_PERSON_LIMITS), _models_of(row))


def _models_of(row: Shared | None) -> Names:
    return Names(row.allowed_models if row is not None else ())


def models_of(patterns: Iterable[str], team: Team | None, person: Person | None) -> Names:
    """What a key with these patterns may use, for which its team and its owner must be allowed it as well."""
    found = None if team is None else team.models
    if person is not None:
        found = Names(person.models.patterns, among=found)
    return Names(patterns, among=found)


def closed(row: ApiKey) -> str:
    """Why a key may not be used, whatever the time, in the words of an error; empty when it may."""
    if row.revoked_at is not None:
        return "was revoked"
    if not row.enabled:
        return "is switched off"
    return "belongs to an account that is closed" if row.owner and not row.owner.is_active else ""


def _secrets(row: ApiKey, known: Mapping[str, bytes]) -> tuple[Secret, ...]:
    stored: list[tuple[Signed, float | None]] = [(Signed(row.digest, row.pepper), None)]
    if row.previous_until is not None:
        stored.append((Signed(row.previous_digest, row.previous_pepper), row.previous_until.timestamp()))
    newest = next(iter(known))
    return tuple(
        Secret(
            bytes.fromhex(signed.digest),
            known[signed.pepper],
            until,
            old=None if signed.pepper == newest else signed,
        )
        for signed, until in stored
        if signed.pepper in known
    )


def _unix(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
