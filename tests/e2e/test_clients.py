"""Clients that people use, against the gateway and a real model: the openai SDK, and what docs/clients says.

What a page prints is run as it stands there: a person who copies it gets an answer.
"""

from __future__ import annotations

import gc
import math
import os
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import openai
import pytest

from tests.e2e.conftest import with_servers
from tests.e2e.gateway import CHAT_MODEL, EMBEDDING_MODEL, ROOT
from tests.services import missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.e2e.gateway import Gateway

pytestmark = [pytest.mark.model, pytest.mark.timeout(180)]

QUESTION = "What is the capital of France?"
PAGES = ROOT / "docs" / "clients"
PRINTED_URL = "http://127.0.0.1:40114"
JAVASCRIPT = ROOT / "tests" / "javascript"
WAIT_SECONDS = 120
# test_seed asks the embedded one.
over_servers = pytest.mark.parametrize("gateway", [with_servers], indirect=True)


@pytest.fixture(params=["/v1", "/olla/vllm-mlx/v1"])
def client(gateway: Gateway, request: pytest.FixtureRequest) -> Iterator[openai.OpenAI]:
    with (
        httpx2.Client(trust_env=False) as transport,
        openai.OpenAI(
            base_url=gateway.url + request.param, api_key="not-needed", max_retries=0, http_client=transport
        ) as found,
    ):
        yield found


@over_servers
def test_it_chats(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model=CHAT_MODEL, messages=[{"role": "user", "content": QUESTION}], temperature=0, max_tokens=24
    )

    assert "Paris" in (answer.choices[0].message.content or "")
    assert answer.usage is not None
    assert answer.usage.completion_tokens > 0


@over_servers
def test_it_streams_with_usage(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model=CHAT_MODEL,
        messages=[{"role": "user", "content": QUESTION}],
        temperature=0,
        max_tokens=24,
        stream=True,
        stream_options={"include_usage": True},
    )

    with stream:
        chunks = list(stream)

    assert "Paris" in "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens > 0


@over_servers
def test_it_completes(client: openai.OpenAI) -> None:
    answer = client.completions.create(
        model=CHAT_MODEL, prompt="One, two, three,", max_tokens=8, temperature=0
    )

    assert "four" in answer.choices[0].text


@over_servers
def test_it_embeds_in_its_default_encoding(client: openai.OpenAI) -> None:
    """The SDK asks for base64 unless told otherwise, and decodes it itself."""
    answer = client.embeddings.create(model=EMBEDDING_MODEL, input="MLX is optimised for Apple Silicon")

    vector = answer.data[0].embedding
    assert len(vector) == 384
    assert math.isclose(math.hypot(*vector), 1.0, abs_tol=1e-4)


@over_servers
def test_it_lists_and_retrieves_models(client: openai.OpenAI) -> None:
    names = {model.id for model in client.models.list()}

    assert names == {CHAT_MODEL, EMBEDDING_MODEL}
    assert client.models.retrieve(CHAT_MODEL).id == CHAT_MODEL


@over_servers
def test_an_unknown_model_is_its_own_error(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": QUESTION}])

    assert caught.value.code == "model_not_found"
    assert CHAT_MODEL in caught.value.message


@over_servers
def test_a_bad_parameter_is_its_own_error(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(
            model=CHAT_MODEL, messages=[{"role": "user", "content": QUESTION}], temperature=-3
        )

    assert caught.value.param == "temperature"


# --- What the pages print ---


def blocks(page: str, language: str, gateway: Gateway) -> list[str]:
    """The code of one language on a page, for this gateway's port."""
    text = (PAGES / f"{page}.md").read_text()
    found = re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert found
    return [block.replace(PRINTED_URL, gateway.url) for block in found]


def run(*command: str, folder: Path | None = None, **environment: str) -> str:
    """What it prints."""
    done = ended(*command, folder=folder, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def ended(*command: str, folder: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """How it ended. Nothing of this machine's proxies or keys reaches it."""
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=WAIT_SECONDS,
        cwd=folder,
        env={**kept, **environment},
    )


@pytest.fixture
def run_python(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[str], str]:
    """The same for Python, in this process, which has loaded the SDKs already."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)

    def run_it(code: str) -> str:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # a page's program leaves closing to its end
            exec(compile(code, "page", "exec"), {"__name__": "__main__"})  # noqa: S102 - that is the test
            gc.collect()
        return capsys.readouterr().out

    return run_it


@over_servers
@pytest.mark.parametrize(
    ("page", "place", "said"),
    [
        ("openai-python", 0, "Paris"),
        ("openai-python", 1, "Paris"),
        ("anthropic", 0, ""),  # its SDK offers no temperature, so the words differ from run to run
        ("langchain", 0, "Paris"),
        ("langchain", 1, "384 numbers"),
    ],
)
def test_python_code_answers(
    gateway: Gateway, run_python: Callable[[str], str], page: str, place: int, said: str
) -> None:
    printed = run_python(blocks(page, "python", gateway)[place])

    assert printed.strip()
    assert said in printed


@over_servers
@pytest.mark.parametrize("place", [0, 1, 2])
def test_curl_answers(gateway: Gateway, place: int) -> None:
    shutil.which("curl") or missing("curl")

    printed = run("sh", "-c", blocks("curl", "sh", gateway)[place])

    assert "Paris" in printed


@over_servers
def test_javascript_code_answers(gateway: Gateway, tmp_path: Path) -> None:
    node = shutil.which("node") or missing("node")
    shutil.which("npm") or missing("npm")
    run(str(ROOT / "scripts" / "install_javascript_clients.sh"))
    (tmp_path / "node_modules").symlink_to(JAVASCRIPT / "node_modules")
    shutil.copy(JAVASCRIPT / "package.json", tmp_path)
    (tmp_path / "client.js").write_text(blocks("openai-javascript", "js", gateway)[0])

    assert "Paris" in run(node, "client.js", folder=tmp_path)


@over_servers
def test_llm_answers(gateway: Gateway, tmp_path: Path) -> None:
    (tmp_path / "extra-openai-models.yaml").write_text(blocks("llm", "yaml", gateway)[0])
    program = str(Path(sys.executable).with_name("llm"))
    command = blocks("llm", "sh", gateway)[0].replace("llm ", f"{program} ", 1)

    printed = run("sh", "-c", command, LLM_USER_PATH=str(tmp_path), OPENAI_API_KEY="not-needed")

    assert "Paris" in printed


@over_servers
@pytest.mark.parametrize(
    ("changed", "to", "said"),
    [
        ("  api_base:", "  headers: {X-Forwarded-For: 203.0.113.9}\n  api_base:", "401 - No valid API key"),
        (CHAT_MODEL, "gpt-4o", CHAT_MODEL),  # the models that there are
    ],
    ids=["a key of nobody, through a proxy", "an unknown model"],
)
def test_llm_says_why_it_was_refused(
    gateway: Gateway, tmp_path: Path, changed: str, to: str, said: str
) -> None:
    page = blocks("llm", "yaml", gateway)[0].replace(changed, to)
    (tmp_path / "extra-openai-models.yaml").write_text(page)
    program = str(Path(sys.executable).with_name("llm"))

    done = ended(program, "-m", "local", "Hi", LLM_USER_PATH=str(tmp_path), OPENAI_API_KEY="nobodys")

    assert (done.returncode, done.stdout.strip()) == (1, "")
    assert done.stderr.startswith("Error: Error code: 40")
    assert said in done.stderr


def test_every_page_is_listed_and_says_where_the_gateway_is() -> None:
    index = (PAGES / "README.md").read_text()
    for page in PAGES.glob("*.md"):
        assert page.name == "README.md" or f"({page.name})" in index
        assert PRINTED_URL in page.read_text() or page.name == "cursor.md"
