"""Reads endpoint files: a bare `endpoints:` list, or Olla's `discovery.static.endpoints` (contract, part 8).

Reading goes on after a mistake, so that a person is told of all of them at once. `importing` then
imports nothing of the file.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import yaml

from endpoints import profiles
from endpoints.choices import AuthKind
from endpoints.errors import EndpointFileError
from endpoints.files.yaml_aliases import SECTION as ALIASES
from endpoints.files.yaml_aliases import read_aliases
from endpoints.files.yaml_entries import EndpointFile, Entry
from endpoints.files.yaml_nodes import Mistake, Reader, line_of
from ollaproject.wire import socket_urls
from ollaproject.wire.durations import DurationError, parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    Reading = Callable[[Reader, yaml.Node, str], Any]

MAX_FILE_BYTES = 4 * 1024**2

# Parts of Olla's configuration that say nothing of endpoints: they are left out, and the command says so.
OTHER_SECTIONS = (
    "dashboard",
    "engineering",
    "logging",
    "model_registry",
    "proxy",
    "server",
    "translators",
)
SECTIONS = ("endpoints", "discovery", ALIASES, *OTHER_SECTIONS)
OTHER_DISCOVERY_KEYS = ("health_check", "model_discovery", "refresh_interval", "type")

# Who signs in how: the key of the secret (or, with `_file`, of the file that holds it), and the other keys.
AUTH_SECRET = {AuthKind.BEARER: "token", AuthKind.API_KEY: "key", AuthKind.BASIC: "password"}
AUTH_OTHER = {
    AuthKind.BEARER: {},
    AuthKind.API_KEY: {"header": "auth_header"},
    AuthKind.BASIC: {"username": "auth_username"},
}


def read_file(path: Path, *, environment: Mapping[str, str]) -> EndpointFile:
    """The endpoints of the file at `path`. Raises EndpointFileError only when it is no YAML at all."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise EndpointFileError([f"{path}: The file cannot be read: {error.strerror}."]) from None
    return read_text(raw, name=str(path), environment=environment, folder=path.parent)


def read_text(
    raw: bytes, *, name: str, environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> EndpointFile:
    """The same for what came another way. `name` stands before each mistake.

    Without an `environment` and a `folder`, the text may name no variables and files of this machine.
    """
    return _FileReading(Reader(environment), name=name, folder=folder).document(_compose(raw, name))


def refusal(name: str, mistakes: Iterable[Mistake]) -> EndpointFileError:
    """The error that lists `mistakes` of the file `name`, from its top to its bottom."""
    ordered = sorted(set(mistakes))
    return EndpointFileError([f"{name}:{one.line}: {one.path or 'file'}: {one.sentence}" for one in ordered])


def _compose(raw: bytes, name: str) -> yaml.Node:
    if len(raw) > MAX_FILE_BYTES:
        raise EndpointFileError([f"{name}:1: file: This is longer than {MAX_FILE_BYTES // 1024**2} MiB."])
    try:
        root = yaml.compose(raw, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise EndpointFileError([f"{name}:{line}: file: This is not YAML: {error.problem}."]) from None
    except (yaml.YAMLError, RecursionError):
        raise EndpointFileError([f"{name}:1: file: This is not YAML."]) from None
    if root is None:
        raise EndpointFileError([f"{name}:1: file: The file is empty. It needs a list called endpoints."])
    return root


def _duration(reader: Reader, node: yaml.Node, path: str) -> float | None:
    text = reader.text(node, path)
    try:
        return None if text is None else parse_duration(text)
    except DurationError as error:
        reader.refuse(node, path, str(error))
        return None


def _url(reader: Reader, node: yaml.Node, path: str) -> str | None:
    text = reader.text(node, path)
    return None if text is None else socket_urls.normalised(text)


def _type(reader: Reader, node: yaml.Node, path: str) -> str | None:
    text = reader.text(node, path)
    if text is None:
        return None
    if text == profiles.AUTO:
        return text
    found = profiles.profile_for_prefix(text)
    if found is None:
        known = ", ".join([*(profile.name for profile in profiles.profiles()), profiles.AUTO])
        reader.refuse(node, path, f"There is no backend type {text!r}. Known types: {known}.")
        return None
    return found.name


# Key of the file → field of Endpoint, and how its value is read.
PLAIN_KEYS: dict[str, tuple[str, Reading]] = {
    "url": ("url", _url),
    "name": ("name", Reader.text),
    "type": ("type", _type),
    "tags": ("tags", Reader.texts),
    "priority": ("priority", Reader.whole_number),
    "weight": ("weight", Reader.whole_number),
    "model_url": ("model_url", _url),
    "health_check_url": ("health_check_url", _url),
    "check_interval": ("check_interval_seconds", _duration),
    "check_timeout": ("check_timeout_seconds", _duration),
    "deep_check_interval": ("deep_check_interval_seconds", _duration),
    "headers": ("headers", Reader.text_mapping),
    "preserve_path": ("preserve_path", Reader.boolean),
    "max_concurrent": ("max_concurrent", Reader.whole_number),
    "connect_timeout": ("connect_timeout_seconds", _duration),
    "first_byte_timeout": ("first_byte_timeout_seconds", _duration),
    "idle_timeout": ("idle_timeout_seconds", _duration),
    "retry": ("retry", Reader.text),
}
FILTER_KEYS: dict[str, tuple[str, Reading]] = {
    "include": ("model_include", Reader.texts),
    "exclude": ("model_exclude", Reader.texts),
}
KEYS = (*PLAIN_KEYS, "model_filter", "auth")


class _FileReading:
    """The way through one file. The mistakes gather in `reader`."""

    def __init__(self, reader: Reader, *, name: str, folder: Path | None) -> None:
        self.reader = reader
        self._name = name
        self._folder = folder

    def document(self, root: yaml.Node) -> EndpointFile:
        sections = self.reader.mapping(root, "", known=SECTIONS) or {}
        left_out = [name for name in sections if name in OTHER_SECTIONS]
        listed = [(sections["endpoints"], "endpoints")] if "endpoints" in sections else []
        if "discovery" in sections:
            listed += self._olla_list(sections["discovery"], left_out)
        aliases = read_aliases(self.reader, sections[ALIASES]) if ALIASES in sections else []
        if not listed and not aliases and not self.reader.mistakes:
            self.reader.refuse(root, "", "There is no list called endpoints (or discovery.static.endpoints).")
        entries = [entry for node, path in listed for entry in self._entries(node, path)]
        self._refuse_double_names(entries)
        return EndpointFile(
            self._name, tuple(entries), tuple(aliases), tuple(left_out), tuple(self.reader.mistakes)
        )

    def _olla_list(self, node: yaml.Node, left_out: list[str]) -> list[tuple[yaml.Node, str]]:
        keys = self.reader.mapping(node, "discovery", known=("static", *OTHER_DISCOVERY_KEYS)) or {}
        left_out += [f"discovery.{name}" for name in keys if name in OTHER_DISCOVERY_KEYS]
        if "static" not in keys:
            return []
        static = self.reader.mapping(keys["static"], "discovery.static", known=("endpoints",)) or {}
        return [(value, "discovery.static.endpoints") for value in static.values()]

    def _entries(self, node: yaml.Node, path: str) -> list[Entry]:
        nodes = self.reader.sequence(node, path) or []
        return [self._entry(item, f"{path}[{position}]") for position, item in enumerate(nodes)]

    def _entry(self, node: yaml.Node, path: str) -> Entry:
        entry = Entry(line=line_of(node), path=path)
        keys = self.reader.mapping(node, path, known=KEYS)
        if keys is None:
            return entry
        self._read_plain(entry, keys, PLAIN_KEYS, path)
        if "model_filter" in keys:
            where = f"{path}.model_filter"
            filters = self.reader.mapping(keys["model_filter"], where, known=tuple(FILTER_KEYS)) or {}
            self._read_plain(entry, filters, FILTER_KEYS, where)
        if "auth" in keys:
            self._read_auth(entry, keys["auth"], f"{path}.auth")
        if "url" not in keys:
            self.reader.note(entry.line, path, "The url is missing.")
        if "name" not in keys:
            entry.values["name"] = _name_from(entry.values.get("url", ""))
        return entry

    def _read_plain(
        self,
        entry: Entry,
        nodes: Mapping[str, yaml.Node],
        keys: Mapping[str, tuple[str, Reading]],
        path: str,
    ) -> None:
        for key, node in nodes.items():
            if key in keys:
                name, read = keys[key]
                where = f"{path}.{key}"
                entry.put(name, read(self.reader, node, where), node=node, path=where)

    def _read_auth(self, entry: Entry, node: yaml.Node, path: str) -> None:
        kind = self._auth_kind(node, path)
        if kind is None:
            return
        secret_key, others = AUTH_SECRET[kind], AUTH_OTHER[kind]
        keys = (
            self.reader.mapping(node, path, known=("type", secret_key, f"{secret_key}_file", *others)) or {}
        )
        entry.put("auth_kind", kind, node=node, path=path)
        for name in ("auth_header", "auth_username"):
            entry.put(name, "", node=node, path=path)
        self._read_plain(entry, keys, {key: (name, Reader.text) for key, name in others.items()}, path)
        entry.credential = self._secret(keys, secret_key, node=node, path=path)

    def _auth_kind(self, node: yaml.Node, path: str) -> AuthKind | None:
        nodes = dict(_pairs(node))
        word = self.reader.text(nodes["type"], f"{path}.type") if "type" in nodes else None
        if word in {kind.value for kind in AUTH_SECRET}:
            return AuthKind(word)
        self.reader.refuse(
            nodes.get("type", node), f"{path}.type", "The type must be bearer, api_key or basic."
        )
        return None

    def _secret(self, keys: Mapping[str, yaml.Node], name: str, *, node: yaml.Node, path: str) -> str | None:
        """The secret itself, or what the file beside it holds. It is never part of a message.

        None when neither is given: then the one that is stored stays.
        """
        file_key = f"{name}_file"
        if name in keys and file_key in keys:
            self.reader.refuse(node, path, f"Give one of {name} and {file_key}.")
        if (name in keys) == (file_key in keys):
            return None
        if name in keys:
            return self.reader.text(keys[name], f"{path}.{name}")
        where = f"{path}.{file_key}"
        file_name = self.reader.text(keys[file_key], where)
        if file_name is None:
            return None
        if self._folder is None:
            self.reader.refuse(keys[file_key], where, "Files are only read from the command line.")
            return None
        try:
            secret = (self._folder / file_name).expanduser().read_text().strip()
        except (OSError, UnicodeDecodeError):
            self.reader.refuse(keys[file_key], where, f"The file {file_name} cannot be read.")
            return None
        if not secret:
            self.reader.refuse(keys[file_key], where, f"The file {file_name} is empty.")
        return secret or None

    def _refuse_double_names(self, entries: list[Entry]) -> None:
        seen: dict[str, int] = {}
        for entry in entries:
            name = entry.values.get("name", "")
            line, path = entry.place_of("name")
            if name and name in seen:
                self.reader.note(line, path, f"The name {name} is already used in line {seen[name]}.")
            seen.setdefault(name, line)


def _pairs(node: yaml.Node) -> list[tuple[str, yaml.Node]]:
    if not isinstance(node, yaml.MappingNode):
        return []
    return [(key.value, value) for key, value in node.value if isinstance(key, yaml.ScalarNode)]


def _name_from(url: str) -> str:
    """An endpoint without a name is called by its host and port, or by the file of its socket."""
    try:
        socket = socket_urls.read(url)
        return urlsplit(url).netloc.rpartition("@")[2] if socket is None else PurePosixPath(socket.path).name
    except ValueError:
        return ""
