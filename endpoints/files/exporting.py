"""Writes the fleet as an endpoint file (contract, section 8) that imports to the same fleet again.

What an operator set is in it; how the endpoints are, and credentials, are not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import yaml

from endpoints.choices import AuthKind
from endpoints.files import yaml_io
from endpoints.models import Endpoint, ModelAlias
from ollaproject.wire.durations import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterable

HEAD: Final = """\
# The fleet, for `manage.py import_endpoints`. With --prune and --check that command says whether the fleet is
# still as it stands here: a key that is left out is at its default.
"""
ABOUT_CREDENTIALS: Final = """\
# Credentials are not exported. Importing this file keeps those that are stored; on another machine, give each
# `auth` its secret: a token, key or password, or the same with _file, such as token: "${MINI_TOKEN}".
"""
# Two of Endpoint's keys stand in every entry, as they do in files that people write.
ALWAYS: Final = ("url", "name", "type")


def as_yaml(endpoints: Iterable[Endpoint] | None = None) -> str:
    """The text of the file: these endpoints, or all but this machine's own models; and the aliases."""
    chosen = list(Endpoint.objects.filter(is_local=False) if endpoints is None else endpoints)
    head = HEAD + (ABOUT_CREDENTIALS if any(one.has_credential for one in chosen) else "")
    return head + yaml.safe_dump(document(chosen), sort_keys=False, allow_unicode=True, width=100)


def document(endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    """The same as plain values."""
    found: dict[str, Any] = {"endpoints": [entry(endpoint) for endpoint in endpoints]}
    aliases = {alias.name: alias_entry(alias) for alias in ModelAlias.objects.prefetch_related("models")}
    return found | ({"model_aliases": _escaped(aliases)} if aliases else {})


def entry(endpoint: Endpoint) -> dict[str, Any]:
    """One endpoint, with what differs from the defaults."""
    default = Endpoint()
    found: dict[str, Any] = {}
    for key, (name, _) in yaml_io.PLAIN_KEYS.items():
        value = getattr(endpoint, name)
        if key in ALWAYS or value != getattr(default, name):
            found[key] = format_duration(value) if name.endswith("_seconds") else value
    globs = {key: getattr(endpoint, name) for key, (name, _) in yaml_io.FILTER_KEYS.items()}
    if any(globs.values()):
        found["model_filter"] = {key: value for key, value in globs.items() if value}
    if endpoint.auth_kind != AuthKind.NONE:
        found["auth"] = _auth(endpoint)
    return {key: _escaped(value) for key, value in found.items()}


def alias_entry(alias: ModelAlias) -> list[str] | dict[str, Any]:
    """The models of an alias; with its own load balancer and its parameters, when it has any."""
    models = [one.model for one in alias.models.all()]
    more = {name: getattr(alias, name) for name in ("strategy", "defaults", "overrides")}
    more = {name: value for name, value in more.items() if value}
    return {"models": models, **more} if more else models


def _auth(endpoint: Endpoint) -> dict[str, str]:
    kind = AuthKind(endpoint.auth_kind)
    others = {key: getattr(endpoint, name) for key, name in yaml_io.AUTH_OTHER[kind].items()}
    return {"type": kind.value} | {key: value for key, value in others.items() if value}


def _escaped(value: Any) -> Any:
    """`${` stands for a variable in these files, and `$${` for itself."""
    if isinstance(value, str):
        return value.replace("${", "$${")
    if isinstance(value, list):
        return [_escaped(one) for one in value]
    if isinstance(value, dict):
        return {key: _escaped(one) for key, one in value.items()}
    return value
