"""Who connects to us, and on whose behalf: X-Forwarded-For counts as far as trusted proxies wrote it."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    Address = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_REMEMBERED = 4096
# What one subscriber of IPv6 usually has: any number of addresses.
IPV6_NETWORK_BITS = 64


def parse_address(text: str) -> Address | None:
    """An IP address; one that is IPv4 inside IPv6 (`::ffff:127.0.0.1`) as the IPv4 address it is."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address


def network_of(text: str) -> str:
    """What an address is counted as: itself, of IPv6 its /64. What is no address is given back."""
    address = parse_address(text)
    if address is None or address.version == 4:  # noqa: PLR2004 - of IP
        return str(address or text)
    return str(ipaddress.ip_network((address, IPV6_NETWORK_BITS), strict=False))


class TrustedProxies:
    """Some networks, whose word on addresses is believed."""

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = tuple(ipaddress.ip_network(each, strict=False) for each in networks)
        self._trust = lru_cache(MAX_REMEMBERED)(self._trust_address)

    def __bool__(self) -> bool:
        return bool(self._networks)

    def trust(self, peer: str) -> bool:
        return bool(self._networks) and self._trust(peer)

    def client_of(self, peer: str, forwarded_for: str) -> str:
        """Where a request comes from that the trusted `peer` has passed on: the last hop that is not ours."""
        address = peer
        for hop in reversed([part.strip() for part in forwarded_for.split(",") if part.strip()]):
            address = hop
            if not self.trust(hop):
                break
        return address

    def _trust_address(self, text: str) -> bool:
        address = parse_address(text)
        return address is not None and any(address in network for network in self._networks)
