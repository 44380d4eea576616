"""What servers of each backend type answer, in their own shapes: paths and answers for FakeUpstream.

with FakeUpstream() as upstream:
    upstream.become(servers.ollama())
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from endpoints.health.findings import FoundModel
from tests.fakes import answers
from tests.fakes.answers import CREATED

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fakes.answers import Answer


@dataclass(frozen=True, slots=True)
class FakeServer:
    """`models` is what discovery has to find; `chat_path` is where its chat completions stand.

    An unknown path is answered with `otherwise`.
    """

    answers: dict[str, Answer]
    models: tuple[FoundModel, ...]
    chat_path: str = "/v1/chat/completions"
    otherwise: Answer = field(default_factory=lambda: answers.error(404, "Not Found"))


def openai_list(owner: str | None, *names: str, **more: Any) -> Answer:
    fixed = {"object": "model", "created": CREATED, **({"owned_by": owner} if owner else {}), **more}
    return answers.respond({"object": "list", "data": [{"id": name, **fixed} for name in names]})


def vllm_mlx() -> FakeServer:
    name = "mlx-community/Llama-3.2-3B-Instruct-4bit"
    routes = {
        "/health": answers.health(model_name=name),
        "/v1/models": openai_list("vllm-mlx", name),
        "/v1/chat/completions": answers.chat,
    }
    return FakeServer(routes, (FoundModel(name, CREATED),))


def mlx_lm() -> FakeServer:
    """http.server's headers; the list has no owner, and holds a folder by its path."""
    folder, cached = "/Users/ada/models/SmolLM2-135M-Instruct", "mlx-community/Qwen3-4B-4bit"
    head = {"Server": "BaseHTTP/0.6 Python/3.12.4"}
    listed = {
        "object": "list",
        "data": [{"id": name, "object": "model", "created": CREATED} for name in (cached, folder)],
    }
    routes = {
        "/health": answers.respond({"status": "ok"}, headers=head),
        "/v1/models": answers.respond(listed, headers=head),
        "/v1/chat/completions": answers.chat,
    }
    found = (FoundModel(cached, CREATED), FoundModel(folder, CREATED))
    return FakeServer(routes, found, otherwise=answers.respond(b"Not Found", status=404, headers=head))


def omlx() -> FakeServer:
    names = ("Qwen3-30B-A3B-4bit", "bge-m3")
    status = [{"id": names[0], "loaded": True, "pinned": False}, {"id": names[1], "loaded": False}]
    pool = {"model_count": 2, "loaded_count": 1, "max_model_memory": 2**36, "current_model_memory": 2**34}
    routes = {
        "/health": answers.respond({"status": "healthy", "default_model": names[0], "engine_pool": pool}),
        "/v1/models": openai_list("omlx", *names, max_model_len=40960),
        "/v1/models/status": answers.respond({"models": status, "max_model_memory": 2**36}),
        "/v1/chat/completions": answers.chat,
    }
    found = tuple(FoundModel(name, CREATED, 40960, loaded=name == names[0]) for name in names)
    return FakeServer(routes, found)


def vllm() -> FakeServer:
    name = "Qwen/Qwen3-8B"
    routes = {
        "/health": answers.respond(b""),
        "/version": answers.respond({"version": "0.14.0"}),
        "/v1/models": openai_list("vllm", name, root=name, parent=None, max_model_len=32768, permission=[]),
        "/v1/chat/completions": answers.chat,
    }
    return FakeServer(routes, (FoundModel(name, CREATED, 32768),))


def ollama() -> FakeServer:
    details = {
        "parent_model": "",
        "format": "gguf",
        "family": "llama",
        "families": ["llama"],
        "parameter_size": "3.2B",
        "quantization_level": "Q4_K_M",
    }
    entry = {
        "name": "llama3.2:latest",
        "model": "llama3.2:latest",
        "modified_at": "2024-01-15T17:20:00.123456789+01:00",
        "size": 2019393189,
        "digest": "a80c4f17acd5",
        "details": details,
    }
    other = {
        **entry,
        "name": "nomic-embed-text:latest",
        "model": "nomic-embed-text:latest",
        "size": 274302450,
    }
    other["details"] = {
        **details,
        "family": "nomic-bert",
        "parameter_size": "137M",
        "quantization_level": "F16",
    }
    loaded = {**entry, "expires_at": "2026-01-15T17:25:00Z", "size_vram": 2019393189, "context_length": 4096}
    moment = 1705335600
    routes = {
        "/": answers.respond(b"Ollama is running", headers={"Content-Type": "text/plain; charset=utf-8"}),
        "/api/version": answers.respond({"version": "0.14.2"}),
        "/api/tags": answers.respond({"models": [entry, other]}),
        "/api/ps": answers.respond({"models": [loaded]}),
        "/v1/models": openai_list("library", "llama3.2:latest", "nomic-embed-text:latest"),
        "/v1/chat/completions": answers.chat,
    }
    found = (
        FoundModel(
            "llama3.2:latest", moment, 4096, "llama", "3.2B", "Q4_K_M", size_bytes=2019393189, loaded=True
        ),
        FoundModel(
            "nomic-embed-text:latest", moment, None, "nomic-bert", "137M", "F16", 274302450, loaded=False
        ),
    )
    return FakeServer(routes, found)


def lm_studio() -> FakeServer:
    """It answers 200 whatever it is asked."""
    chat: dict[str, Any] = {
        "id": "qwen2-vl-7b-instruct",
        "object": "model",
        "type": "vlm",
        "publisher": "mlx-community",
        "arch": "qwen2_vl",
        "compatibility_type": "mlx",
        "quantization": "4bit",
        "state": "loaded",
        "max_context_length": 32768,
        "loaded_context_length": 8192,
        "capabilities": ["tool_use"],
    }
    embedding: dict[str, Any] = {
        "id": "text-embedding-nomic-embed-text-v1.5",
        "object": "model",
        "type": "embeddings",
        "publisher": "nomic-ai",
        "arch": "nomic-bert",
        "compatibility_type": "gguf",
        "quantization": "Q4_0",
        "state": "not-loaded",
        "max_context_length": 2048,
    }
    routes = {
        "/api/v0/models": answers.respond({"object": "list", "data": [chat, embedding]}),
        "/v1/models": openai_list("organization_owner", chat["id"], embedding["id"]),
        "/v1/chat/completions": answers.chat,
    }
    able = ("chat", "completion", "tools", "vision")
    found = (
        FoundModel(chat["id"], None, 8192, "qwen2_vl", "", "4bit", capabilities=able, loaded=True),
        FoundModel(
            embedding["id"], None, 2048, "nomic-bert", "", "Q4_0", None, ("embeddings",), loaded=False
        ),
    )
    unknown = answers.respond({"error": "Unexpected endpoint or method. (GET /nothing)"})
    return FakeServer(routes, found, otherwise=unknown)


def llamacpp() -> FakeServer:
    name = "../models/Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf"
    meta = {"n_ctx_train": 131072, "n_embd": 4096, "n_params": 8030261312, "size": 4912898304}
    props = {
        "default_generation_settings": {"n_ctx": 8192},
        "total_slots": 4,
        "model_path": name,
        "modalities": {"vision": True, "audio": False},
    }
    routes = {
        "/health": answers.respond({"status": "ok"}),
        "/props": answers.respond(props),
        "/v1/models": openai_list("llamacpp", name, meta=meta),
        "/v1/chat/completions": answers.chat,
    }
    found = FoundModel(
        name, CREATED, 8192, parameter_size="8B", size_bytes=4912898304, capabilities=("vision",)
    )
    return FakeServer(routes, (found,))


def sglang() -> FakeServer:
    name = "Qwen/Qwen3-32B"
    routes = {
        "/health": answers.respond(b""),
        "/v1/models": openai_list("sglang", name, root=name, parent=None, max_model_len=40960),
        "/v1/chat/completions": answers.chat,
    }
    return FakeServer(routes, (FoundModel(name, CREATED, 40960),))


def lmdeploy() -> FakeServer:
    name = "internlm/internlm3-8b-instruct"
    routes = {
        "/health": answers.respond(b""),
        "/v1/models": openai_list(
            "lmdeploy", name, root=name, parent=None, permission=[{"id": "modelperm-1"}]
        ),
        "/v1/chat/completions": answers.chat,
    }
    return FakeServer(routes, (FoundModel(name, CREATED),))


def lemonade() -> FakeServer:
    """Its OpenAI routes stand below /api/v1; it mimics Ollama's routes too."""
    name = "Qwen2.5-VL-7B-Instruct-GGUF"
    loaded = [{"model_name": name, "checkpoint": "ggml-org/Qwen2.5-VL", "type": "llm", "device": "gpu"}]
    health = {"status": "ok", "version": "9.1.0", "model_loaded": name, "all_models_loaded": loaded}
    more = {"checkpoint": "ggml-org/Qwen2.5-VL-7B", "recipe": "llamacpp", "labels": ["vision", "hot"]}
    routes = {
        "/api/version": answers.respond({"version": "0.0.0"}),
        "/api/v1/health": answers.respond(health),
        "/api/v1/models": openai_list("lemonade", name, **more),
        "/api/v0/models": openai_list("lemonade", name, **more),
        "/api/v1/chat/completions": answers.chat,
    }
    found = FoundModel(name, CREATED, capabilities=("vision",), loaded=True)
    return FakeServer(routes, (found,), chat_path="/api/v1/chat/completions")


def litellm() -> FakeServer:
    routes = {
        "/health/liveliness": answers.respond(b'"I\'m alive!"'),
        "/health": answers.error(500, "asking every model costs money"),
        "/v1/models": openai_list("openai", "team-default", "gpt-4o-mini"),
        "/v1/chat/completions": answers.chat,
    }
    return FakeServer(routes, (FoundModel("team-default", CREATED), FoundModel("gpt-4o-mini", CREATED)))


def docker_model_runner() -> FakeServer:
    name = "ai/smollm2:360M-Q4_K_M"
    routes = {
        "/": answers.respond(b"Docker Model Runner is running"),
        "/api/version": answers.respond({"version": "0.1.0"}),
        "/engines/v1/models": openai_list("docker", name),
        "/engines/v1/chat/completions": answers.chat,
        "/anthropic/v1/messages": answers.respond({"type": "message"}),
    }
    return FakeServer(routes, (FoundModel(name, CREATED),), chat_path="/engines/v1/chat/completions")


def openai_compatible() -> FakeServer:
    routes = {"/v1/models": openai_list("acme", "acme-large"), "/v1/chat/completions": answers.chat}
    return FakeServer(routes, (FoundModel("acme-large", CREATED),))


BY_TYPE: dict[str, Callable[[], FakeServer]] = {
    "docker-model-runner": docker_model_runner,
    "lemonade": lemonade,
    "litellm": litellm,
    "llamacpp": llamacpp,
    "lm-studio": lm_studio,
    "lmdeploy": lmdeploy,
    "mlx-lm": mlx_lm,
    "ollama": ollama,
    "omlx": omlx,
    "openai-compatible": openai_compatible,
    "sglang": sglang,
    "vllm": vllm,
    "vllm-mlx": vllm_mlx,
}
