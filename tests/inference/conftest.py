"""Models and servers for the engine's tests. The demo models are downloaded once and kept."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import openai
import pytest
from django.conf import settings

from inference.hardware.blas import accelerate

# One thread each: several servers, and whatever else runs here, share few cores.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
accelerate(cache_dir=settings.OLLA_HOME / "cache")  # before anything imports mlx

# ruff: noqa: E402
import httpx
import mlx.core as mx
from transformers import AutoTokenizer

from inference.http.detokenize import Vocabulary
from inference.loading.demo import demo_chat_model
from inference.options import ModelOptions, ServerOptions
from tests.inference import tool_model
from tests.inference.servers import Running, running
from tests.inference.tiny_models import write_tiny_model

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from transformers import PreTrainedTokenizerFast

TINY = "tiny-llama"
DEMO = "SmolLM2-135M-Instruct"
DEMO_EMBEDDING = "all-MiniLM-L6-v2"


@pytest.fixture(scope="session", autouse=True)
def _streams_are_given_back() -> Iterator[None]:
    """Without this the interpreter aborts at its end, as the model process would."""
    yield
    mx.synchronize()
    mx.clear_streams()


@pytest.fixture(scope="session")
def demo_folder() -> Path:
    return demo_chat_model(settings.OLLA_MODELS_DIR)


@pytest.fixture(scope="session")
def demo_tokenizer(demo_folder: Path) -> PreTrainedTokenizerFast:
    tokenizer: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(demo_folder)  # type: ignore[assignment]
    return tokenizer


@pytest.fixture(scope="session")
def demo_vocabulary(demo_tokenizer: PreTrainedTokenizerFast) -> Vocabulary:
    return Vocabulary(demo_tokenizer.backend_tokenizer)


@pytest.fixture(scope="session")
def tiny_folder(demo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("models") / TINY, tokenizer_from=demo_folder)


@pytest.fixture(scope="session")
def tool_folder(demo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tools") / tool_model.MODEL
    return tool_model.write_tool_model(folder, tokenizer_from=demo_folder)


@pytest.fixture(scope="session")
def tiny_options(tiny_folder: Path) -> ServerOptions:
    models = ModelOptions(
        name=str(tiny_folder),
        models_dir=settings.OLLA_MODELS_DIR,
        cache_dir=settings.OLLA_HOME / "cache",
        max_rows=4,
    )
    return ServerOptions(models, max_waiting=8, max_body_bytes=1024**2)


@pytest.fixture(scope="session")
def tiny_server(tiny_options: ServerOptions) -> Iterator[Running]:
    """A server of a random model: fast, and its tokens are as exact as any."""
    with running(tiny_options) as server:
        yield server


@pytest.fixture(scope="session")
def demo_server() -> Iterator[Running]:
    models = ModelOptions(
        name="demo",
        embedding_model="demo",
        models_dir=settings.OLLA_MODELS_DIR,
        cache_dir=settings.OLLA_HOME / "cache",
    )
    with running(ServerOptions(models)) as server:
        yield server


@pytest.fixture(scope="session")
def tiny_http(tiny_server: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=tiny_server.url, timeout=60, trust_env=False) as client:
        yield client


@pytest.fixture(scope="session")
def tiny_client(tiny_server: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{tiny_server.url}/v1", api_key="not-needed", max_retries=0) as client:
        yield client


@pytest.fixture(scope="session")
def demo_client(demo_server: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{demo_server.url}/v1", api_key="not-needed", max_retries=0) as client:
        yield client
