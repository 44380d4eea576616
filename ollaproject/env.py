"""Reading the environment: typed, loud, and with `NAME_FILE` beside every secret.

A value that does not parse stops the process with a sentence that names the variable. A variable that is
set but empty counts as not set, so that `FOO=` in an env file means the default.
"""

from __future__ import annotations

import os
import secrets
from email.utils import parseaddr
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import dj_database_url
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.core.validators import validate_email

from ollaproject.wire.ports import LAST_PORT
from ollaproject.wire.sizes import bytes_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

ENGINES = frozenset({"django.db.backends.postgresql", "django.db.backends.sqlite3"})
REDIS_SCHEMES = frozenset({"redis", "rediss"})  # those that Celery and the channel layer both know
TRUE_WORDS = frozenset({"1", "true", "yes", "on"})
FALSE_WORDS = frozenset({"0", "false", "no", "off"})


def env_str(name: str, default: str = "") -> str:
    return os.environ.get(name, "").strip() or default


def env_bool(name: str, *, default: bool) -> bool:
    word = env_str(name).lower()
    if not word:
        return default
    if word in TRUE_WORDS:
        return True
    if word in FALSE_WORDS:
        return False
    raise ImproperlyConfigured(f"{name} must be true or false, not {word!r}.")


def env_int(name: str, default: int, *, minimum: int = 0) -> int:
    word = env_str(name)
    if not word:
        return default
    try:
        number = int(word)
    except ValueError:
        raise ImproperlyConfigured(f"{name} must be a whole number, not {word!r}.") from None
    if number < minimum:
        raise ImproperlyConfigured(f"{name} must be at least {minimum}, not {number}.")
    return number


def env_port(name: str, default: int) -> int:
    number = env_int(name, default, minimum=1)
    if number > LAST_PORT:
        raise ImproperlyConfigured(f"{name} must be a port, at most {LAST_PORT}, not {number}.")
    return number


def env_size(name: str, default: int) -> int:
    """A number of bytes: `1048576`, `100MiB`, `1 GB` (both mean powers of 1024)."""
    word = env_str(name)
    if not word:
        return default
    try:
        return bytes_of(word)
    except ValueError:
        raise ImproperlyConfigured(f"{name} must be a size such as 100MiB, not {word!r}.") from None


def env_list(name: str, default: Iterable[str] = ()) -> list[str]:
    """A comma-separated list."""
    word = env_str(name)
    return [part.strip() for part in word.split(",") if part.strip()] if word else list(default)


def env_limits(name: str, words: Iterable[str]) -> dict[str, int]:
    """Numbers by words: `rpm=60, tokens-per-day=1000000`."""
    allowed = list(words)
    found: dict[str, int] = {}
    for part in env_list(name):
        word, _, number = (piece.strip() for piece in part.partition("="))
        if word not in allowed or not number.isdecimal():
            raise ImproperlyConfigured(
                f"{name} must hold limits such as rpm=60, separated by commas, not {part!r}. "
                f"The limits are {', '.join(allowed)}."
            )
        found[word] = int(number)
    return found


def env_pairs(name: str) -> dict[str, str]:
    """Words by words: `llm-admins=admin, llm-ops=operator`."""
    found: dict[str, str] = {}
    for part in env_list(name):
        word, equals, value = (piece.strip() for piece in part.rpartition("="))
        if not word or not equals or not value:
            raise ImproperlyConfigured(
                f"{name} must hold pairs such as a=b, separated by commas, not {part!r}."
            )
        found[word] = value
    return found


def env_choice(name: str, choices: Iterable[str], default: str) -> str:
    word = env_str(name, default)
    allowed = list(choices)
    if word not in allowed:
        raise ImproperlyConfigured(f"{name} must be one of {', '.join(allowed)}, not {word!r}.")
    return word


def env_choices(name: str, choices: Iterable[str], default: Iterable[str]) -> list[str]:
    """A comma-separated list of words out of `choices`."""
    words, allowed = env_list(name, default), list(choices)
    for word in words:
        if word not in allowed:
            raise ImproperlyConfigured(f"{name} is a list of {', '.join(allowed)}, not {word!r}.")
    return words


def env_path(name: str, default: Path) -> Path:
    word = env_str(name)
    return Path(word).expanduser().resolve() if word else default.resolve()


def env_folder(name: str, default: Path) -> Path:
    """The folder, which is made when it is not there."""
    path = env_path(name, default)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImproperlyConfigured(
            f"{name} must be a folder that can be written: {path} cannot be made, {error.strerror}."
        ) from None
    return path


def env_database(name: str, default: str) -> dict[str, Any]:
    """What Django is told of the database at a URL, which may hold a password and so is not repeated."""
    try:
        found = dict(dj_database_url.parse(env_secret(name, default)))
    except ValueError:
        found = {}
    if found.get("ENGINE") not in ENGINES:
        raise ImproperlyConfigured(f"{name} must be a URL such as postgresql://user:password@host/name.")
    return found


def env_redis(name: str) -> str:
    """The URL of a Redis server, empty without one. It may hold a password and so is not repeated."""
    url = env_secret(name)
    try:
        parts = urlsplit(url)
        whole = parts.scheme in REDIS_SCHEMES and bool(parts.hostname) and parts.port != 0
        whole = whole and (not parts.path.strip("/") or parts.path.strip("/").isdecimal())
    except ValueError:
        whole = False
    if url and not whole:
        raise ImproperlyConfigured(f"{name} must be a URL such as redis://host:6379/0.")
    return url


def env_sender(name: str, default: str) -> str:
    """Whom e-mails come from: an address, with a name before it if there is one."""
    word = env_str(name)
    try:
        validate_email(parseaddr(word)[1])
    except ValidationError:
        if word:
            raise ImproperlyConfigured(
                f"{name} must be an address such as olla@example.com, not {word!r}."
            ) from None
    return word or default


def env_secret(name: str, default: str = "") -> str:
    """The value of `name`, or what the file named by `NAME_FILE` holds.

    A `NAME_FILE` that cannot be read, or both at once, is an error: a secret that silently falls back to a
    default is worse than a process that does not start.
    """
    file_name = env_str(f"{name}_FILE")
    value = env_str(name)
    if file_name and value:
        raise ImproperlyConfigured(f"{name} and {name}_FILE are both set. Set one of them.")
    if not file_name:
        return value or default
    try:
        value = Path(file_name).expanduser().read_text().strip()
    except OSError as error:
        raise ImproperlyConfigured(
            f"{name}_FILE points at {file_name}, which cannot be read: {error.strerror}."
        ) from None
    if not value:
        raise ImproperlyConfigured(f"{name}_FILE points at {file_name}, which is empty.")
    return value


def kept_secret(name: str, path: Path, make: Callable[[], str] = lambda: secrets.token_urlsafe(50)) -> str:
    """The secret `name` from the environment, else the one kept at `path`: made on first use, mode 0600."""
    if value := env_secret(name):
        return value
    try:
        if not path.exists():
            _keep(path, make())
        return path.read_text().strip()
    except OSError as error:
        raise ImproperlyConfigured(
            f"{name} must be set, or be kept in {path}, which is not possible: {error.strerror}."
        ) from None


def _keep(path: Path, secret: str) -> None:
    """Write it where no other process has written one meanwhile."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secret)
    try:
        # link() fails when the name exists: two processes that start at once both use the first one's.
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
