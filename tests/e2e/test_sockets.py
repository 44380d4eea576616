"""A model server of ours at a Unix socket, as an endpoint of a gateway: the whole way, by commands alone."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tests.e2e.gateway import CHAT_MODEL, STOP_SECONDS, Gateway, eventually

pytestmark = [pytest.mark.model, pytest.mark.timeout(240)]

READY_SECONDS = 120
CHAT = {"model": CHAT_MODEL, "messages": [{"role": "user", "content": "Count."}], "max_tokens": 4}


def test_a_model_at_a_socket_answers_through_the_gateway() -> None:
    with (
        tempfile.TemporaryDirectory(prefix="olla-", dir="/tmp") as folder,
        Gateway(options=("--gateway-only",)) as gateway,
    ):
        path = Path(folder) / "model.sock"
        server = gateway.beside("serve_model", "demo", "--uds", str(path))
        try:
            gateway.wait_until_it_serves()
            fleet = Path(folder) / "fleet.yaml"
            fleet.write_text(f"endpoints:\n- url: unix:{path}\n  name: here\n  type: vllm-mlx\n")
            gateway.manage("import_endpoints", str(fleet))
            with gateway.client() as client:
                eventually(
                    lambda: any(one["id"] == CHAT_MODEL for one in client.get("/v1/models").json()["data"]),
                    within=READY_SECONDS,
                    what=lambda: gateway.output,
                )
                plain = client.post("/v1/chat/completions", json=CHAT)
                with client.stream("POST", "/v1/chat/completions", json={**CHAT, "stream": True}) as stream:
                    lines = list(stream.iter_lines())
            assert plain.headers["x-olla-endpoint"] == "here"
            assert plain.json()["choices"][0]["message"]["content"]
            assert "data: [DONE]" in lines
        finally:
            server.terminate()
            server.wait(STOP_SECONDS)
        assert not path.exists()
