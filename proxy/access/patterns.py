"""What a key may use: names by patterns such as `mlx-community/*`, addresses by networks."""

from __future__ import annotations

import ipaddress
import re
from fnmatch import translate
from typing import TYPE_CHECKING

from ollaproject.wire.peers import parse_address

if TYPE_CHECKING:
    from collections.abc import Iterable

# A client may ask for any number of names: no more verdicts than this are kept.
MAX_VERDICTS = 2048


class Names:
    """Names that one of some patterns fits, whatever their case. No patterns: every name.

    With `among`, only names that those admit as well.
    """

    __slots__ = ("_among", "_fits", "_hash", "_verdicts", "patterns")

    def __init__(self, patterns: Iterable[str], among: Names | None = None) -> None:
        self.patterns = tuple(sorted({pattern.lower() for pattern in patterns}))
        self._among = among or None  # those that rule out nothing are none
        self._hash = hash((self.patterns, self._among))
        self._fits = re.compile("|".join(map(translate, self.patterns)))
        self._verdicts: dict[str, bool] = {}

    def __bool__(self) -> bool:
        """Whether anything is ruled out."""
        return bool(self.patterns) or self._among is not None

    def __eq__(self, other: object) -> bool:
        same = isinstance(other, Names) and other.patterns == self.patterns
        return same and other._among == self._among  # type: ignore[attr-defined]  # it is one

    def __hash__(self) -> int:
        return self._hash

    def admit(self, name: str) -> bool:
        if not self:
            return True
        verdict = self._verdicts.get(name)
        if verdict is None:
            verdict = not self.patterns or self._fits.match(name.lower()) is not None
            verdict = verdict and (self._among is None or self._among.admit(name))
            if len(self._verdicts) < MAX_VERDICTS:
                self._verdicts[name] = verdict
        return verdict


class NoNetwork(ValueError):
    """What was given for a network is neither one nor an address."""

    def __init__(self, entry: object) -> None:
        super().__init__(f"{entry} is neither an address nor a network")
        self.entry = entry


class Networks:
    """Addresses within some networks. No networks: every address. Raises NoNetwork."""

    __slots__ = ("_networks", "_verdicts")

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = tuple(_network(each) for each in networks)
        self._verdicts: dict[str, bool] = {}

    def admit(self, address: str) -> bool:
        if not self._networks:
            return True
        verdict = self._verdicts.get(address)
        if verdict is None:
            parsed = parse_address(address)
            verdict = parsed is not None and any(parsed in network for network in self._networks)
            if len(self._verdicts) < MAX_VERDICTS:
                self._verdicts[address] = verdict
        return verdict


def _network(entry: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(entry, strict=False)
    except ValueError:
        raise NoNetwork(entry) from None
