"""What a person reads when the gateway is up: what to open, and a request that works as pasted."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING

from asgiref.sync import sync_to_async

from endpoints.models import EndpointModel
from endpoints.operations import LOCAL_NAME
from endpoints.choices import Status

if TYPE_CHECKING:
    from django.core.management.base import OutputWrapper

    from ollaproject.programs import LocalModel

POLL_SECONDS = 0.3
PATIENCE_SECONDS = 20.0
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}  # noqa: S104


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int

    @property
    def url(self) -> str:
        """Where a browser on this machine finds the gateway."""
        host = ANY_ADDRESS.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host.strip("[]") and "[" not in host else f"http://{host}:{self.port}"


async def when_ready(
    out: OutputWrapper, address: Address, model: LocalModel | None, account: tuple[str, str] | None
) -> None:
    """Say where the gateway is as soon as it answers, and how to try it as soon as its model does."""
    while not await asyncio.to_thread(_answers, address.url):
        await asyncio.sleep(POLL_SECONDS)
    out.write(_where(address, account))
    if model is None:
        out.write(f"No model of its own (--without-model). Add your servers at {address.url}/admin/endpoints/endpoint/\n")
        return
    out.write("Loading the model …")
    started = time.monotonic()
    said = False
    while not (names := await sync_to_async(_served_models)()):
        await asyncio.sleep(POLL_SECONDS)
        if not said and time.monotonic() - started > PATIENCE_SECONDS:
            said = True
            out.write("The model is still loading; large ones take minutes. The dashboard shows how it is.")
    out.write(_try_it(address, names))


def _answers(url: str) -> bool:
    request = urllib.request.Request(f"{url}/livez")  # noqa: S310 - our own address
    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=1) as response:
            return bool(response.status == 200)  # noqa: PLR2004
    except OSError:
        return False


def _served_models() -> list[str]:
    return list(
        EndpointModel.objects.filter(
            endpoint__name=LOCAL_NAME, endpoint__health__status=Status.HEALTHY
        ).values_list("name", flat=True)
    )


def _where(address: Address, account: tuple[str, str] | None) -> str:
    lines = [
        "",
        f"  Dashboard  {address.url}/",
        f"  Admin      {address.url}/admin/",
        f"  API        {address.url}/v1",
        "",
    ]
    if account:
        lines += [f"  Sign in as {account[0]} with the password {account[1]}", "  It is shown this once. Change it in the admin.", ""]
    return "\n".join(lines)


def _try_it(address: Address, names: list[str]) -> str:
    chat = next((name for name in names if "embed" not in name.lower() and "minilm" not in name.lower()), names[0])
    body = json.dumps({"model": chat, "messages": [{"role": "user", "content": "What is the capital of France?"}]})
    return "\n".join(
        [
            f"Serving {', '.join(names)}. Try it:",
            "",
            f"curl {address.url}/v1/chat/completions -H 'Content-Type: application/json' -d '{body}'",
            "",
            "Ctrl-C stops everything.",
        ]
    )
