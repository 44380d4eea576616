"""Who calls, and may they (contract, section 2). Decided in memory, from the connection and the headers."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from django.http.request import split_domain_port, validate_host

from ollaproject.wire.cors import Cors
from ollaproject.wire.peers import TrustedProxies, parse_address
from proxy import errors
from proxy.access.key_table import keys
from proxy.request.head import Head

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ollaproject.wire.asgi import Scope
    from proxy.access.key_table import Holder

MAX_REMEMBERED = 4096
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
WEB_SCHEMES = frozenset({b"http", b"https"})


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request: `peer` opened the connection, `address` is where we believe it comes from.

    `holder` is whose key was sent, None when nobody's was.
    """

    peer: str
    address: str
    peer_trusted: bool
    holder: Holder | None = None

    @property
    def line(self) -> str:
        """Whose turn it is in the queue: the key's, else the address's."""
        return self.address if self.holder is None else self.holder.line

    @property
    def priority(self) -> int:
        return 0 if self.holder is None else self.holder.priority


class Guard:
    """The rules of one process: who needs a key, which hosts we answer as, whose word on addresses counts."""

    def __init__(
        self,
        *,
        api_auth: str,
        allowed_hosts: Sequence[str],
        trusted_proxies: Iterable[str],
        cors_origins: Iterable[str] = (),
    ) -> None:
        self.cors = Cors(cors_origins, setting="OLLA_CORS_ORIGINS")
        self._api_auth = api_auth
        self._allowed_hosts = tuple(allowed_hosts)
        self._proxies = TrustedProxies(trusted_proxies)
        self._judge_host = lru_cache(MAX_REMEMBERED)(self._host_verdict)

    def check_host(self, head: Head) -> None:
        """Refuse a request that names another host: a web page must not reach us by rebinding its own name.

        Raises ApiError 400 for a malformed name, 421 for one that is not in OLLA_ALLOWED_HOSTS.
        """
        host = head.host
        verdict = self._judge_host(host)
        if verdict is False:
            raise errors.misdirected(str(host))
        if verdict is None:
            raise errors.invalid_host(host)

    def identify(self, scope: Scope, holder: Holder | None = None) -> Caller:
        """Where a request comes from. X-Forwarded-For counts as far as trusted proxies wrote it."""
        client = scope.get("client")
        peer = client[0] if client else ""
        if not self._proxies.trust(peer):
            return _direct(peer) if holder is None else Caller(peer, peer, peer_trusted=False, holder=holder)
        chain = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
        address = self._proxies.client_of(peer, chain.decode("latin-1"))
        return Caller(peer, address, peer_trusted=True, holder=holder)

    def authenticate(self, scope: Scope) -> Caller:
        """The caller, if they may use the API.

        A key that is known says who calls wherever it comes from, also where none is needed; one that is not
        is ignored there. Raises ApiError: 401, 403 for an address that the key may not be used from, and 400
        for a key in the URL. 403, too, for a page of another origin that sends no key.
        """
        head = Head.of(scope)
        if head.key_in_url:
            raise errors.key_in_url()
        holder = _holder(head)
        caller = self.identify(scope, holder)
        if holder is not None:
            if reason := holder.refused(time.time()):
                raise errors.key_refused(holder.name, reason)
            if not holder.networks.admit(caller.address):
                raise errors.address_not_allowed(holder.name, caller.address)
            return caller
        at_home = is_loopback(caller.peer) and not head.was_forwarded
        if self._api_auth == "never" or (self._api_auth == "remote" and at_home):
            self._check_page(scope["method"], head)
            return caller
        raise errors.missing_key()

    def _check_page(self, method: str, head: Head) -> None:
        """Refuse what a page of another origin makes its reader's browser send.

        It comes from the reader's machine, which may need no key, and acts although the page cannot read the
        answer: a POST of plain text is sent without a preflight. Desktop programs have schemes of their own.
        """
        if method in SAFE_METHODS:
            return
        origin = head.named.get(b"origin")
        if not origin or self.cors.allows(origin):
            return
        scheme, _, host = origin.partition(b"://")
        if origin == b"null" or (scheme in WEB_SCHEMES and host != head.named.get(b"host")):
            raise self.cors.refusal(origin)

    def _host_verdict(self, host: str | None) -> bool | None:
        """True: allowed, False: not, None: no host name at all."""
        domain, _port = split_domain_port(host) if host else ("", "")
        if not domain:
            return None
        return validate_host(domain, self._allowed_hosts)


@lru_cache(MAX_REMEMBERED)
def _direct(peer: str) -> Caller:
    """Somebody without a key: the same value for each of their requests."""
    return Caller(peer, peer, peer_trusted=False, holder=None)


def _holder(head: Head) -> Holder | None:
    """Whose key came with a request. The keys are asked each time: one that is revoked is good no more."""
    for sent in head.sent_keys:
        holder = keys().find(sent, time.time())
        if holder is not None:
            return holder
    return None


@lru_cache(MAX_REMEMBERED)
def is_loopback(text: str) -> bool:
    address = parse_address(text)
    return address is not None and address.is_loopback
