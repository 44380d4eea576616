"""What a person reads when the gateway is up: what to open, and a request that works as pasted."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING

from asgiref.sync import sync_to_async

from endpoints.choices import ROUTABLE
from endpoints.models import EndpointModel
from inference.local import cards, hosts, record
from inference.local.choices import Wanted
from inference.local.terminal import Screen
from inference.models import LocalModel

if TYPE_CHECKING:
    from django.core.management.base import OutputWrapper

    from inference.local.cards import Card

POLL_SECONDS = 0.3
# A person has chosen otherwise while the gateway was starting.
GIVEN_UP = frozenset({Wanted.STOPPED, Wanted.UNLOADED, Wanted.DOWNLOADED})
REQUEST_SECONDS = 2.0
HTTP_UNAUTHORIZED = 401
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int

    @property
    def url(self) -> str:
        """Where a browser on this machine finds the gateway."""
        host = ANY_ADDRESS.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


@dataclass(slots=True)
class Announcement:
    """`account` is the administrator that this start made, `local_model` the model of the settings, and
    `runs_models` whether this machine may serve models at all. Who has servers is not told to add some."""

    address: Address
    account: tuple[str, str] | None = None
    local_model: LocalModel | None = None
    runs_models: bool = True
    has_servers: bool = False

    async def when_ready(self, out: OutputWrapper) -> None:
        """Say where the gateway is as soon as it answers, and how to try it as soon as its model does."""
        while not await asyncio.to_thread(_answers, self.address.url):  # noqa: ASYNC110 - another process
            await asyncio.sleep(POLL_SECONDS)
        out.write(self._where())
        out.flush()  # a file or a journal is otherwise told of it when the gateway stops
        if self.local_model is None:
            if not self.has_servers:
                out.write(self._what_next())
                out.flush()
            return
        names = await self._names_when_served(self.local_model.pk, out)
        if names:
            out.write(self._try_it(names))
            out.flush()

    async def _names_when_served(self, model_id: int, out: OutputWrapper) -> list[str]:
        """Show how the model comes along, until it is served. Empty when nobody waits for that any more."""
        screen, url = Screen(out), self.address.url
        try:
            while (found := await sync_to_async(_look)(model_id)) is not None:
                card, names = found
                if card is not None:
                    screen.show(card)
                # The web process learns of it a moment after the database: only then does a request arrive.
                listed: bool = bool(names) and await asyncio.to_thread(_lists, url, names)
                if listed:
                    return names
                await asyncio.sleep(POLL_SECONDS)
            return []
        finally:
            screen.end()

    def _what_next(self) -> str:
        url = self.address.url
        servers = f"Add your servers at {url}/admin/endpoints/endpoint/\n"
        local = f"Or a model that this machine serves, at {url}/models/local/\n"
        return servers + local if self.runs_models else servers

    def _where(self) -> str:
        url = self.address.url
        lines = ["", f"  Dashboard  {url}/", f"  Admin      {url}/admin/", f"  API        {url}/v1", ""]
        if self.account:
            name, password = self.account
            lines += [
                f"  Sign in as {name} with the password {password}",
                "  It is shown this once. It can be changed in the admin.",
                "",
            ]
        return "\n".join(lines)

    def _try_it(self, names: list[str]) -> str:
        question = {"role": "user", "content": "What is the capital of France?"}
        body = json.dumps({"model": names[0], "messages": [question], "temperature": 0})
        url = f"{self.address.url}/v1/chat/completions"
        return "\n".join(
            [
                f"Serving {', '.join(names)}. Try it:",
                "",
                f"curl {url} -H 'Content-Type: application/json' -d '{body}'",
                "",
                "Ctrl-C stops everything.",
            ]
        )


def _get(url: str) -> bytes:
    """Raises OSError; an answer that is no success is one, too."""
    # A proxy that the environment names is not for our own address.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=REQUEST_SECONDS) as response:
        return bytes(response.read())


def _answers(url: str) -> bool:
    try:
        _get(f"{url}/livez")
    except OSError:
        return False
    return True


def _lists(url: str, names: list[str]) -> bool:
    """Whether the gateway lists these models to its clients. Taken for granted where even we need a key."""
    try:
        listed = json.loads(_get(f"{url}/v1/models"))["data"]
    except urllib.error.HTTPError as error:
        error.close()
        return error.code == HTTP_UNAUTHORIZED
    except OSError:
        return False
    return set(names) <= {model["id"] for model in listed}


def _look(model_id: int) -> tuple[Card | None, list[str]] | None:
    """How the model is, and what its server serves. None when it is not to be served any more.

    There is no card before the supervisor is there, which starts at the same time.
    """
    model = LocalModel.objects.select_related("status").filter(pk=model_id).first()
    if model is None or model.wanted in GIVEN_UP:
        return None
    status = record.status_of(model)
    machines = hosts.alive()
    card = cards.card_of(model, status, machines) if machines else None
    return card, _served_models(status.endpoint_id)


def _served_models(endpoint_id: int | None) -> list[str]:
    """What the local model's server serves once it is healthy, in the order of its list: chat first."""
    if endpoint_id is None:
        return []
    served = EndpointModel.objects.filter(endpoint_id=endpoint_id, endpoint__health__status__in=ROUTABLE)
    return list(served.order_by("pk").values_list("name", flat=True))
