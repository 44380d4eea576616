"""What names of models tell."""

from __future__ import annotations

import pytest

from endpoints.known_models import model_names
from endpoints.known_models.model_details import details_of
from endpoints.models import EndpointModel

# Name, family and variant, size, quantisation, and what it can do beside completing text.
NAMES = """
mlx-community/Llama-3.2-3B-Instruct-4bit             llama 3.2    3B         4bit    chat tools
mlx-community/Qwen3-30B-A3B-4bit                     qwen 3       30B-A3B    4bit    chat tools
mlx-community/Qwen2.5-Coder-14B-Instruct-8bit        qwen 2.5     14B        8bit    chat code tools
mlx-community/Qwen3-4B-4bit-DWQ                      qwen 3       4B         4bit-DWQ chat tools
qwen2.5-coder:7b-instruct-q4_K_M                     qwen 2.5     7B         Q4_K_M  chat code tools
llama3.2:latest                                      llama 3.2    -          -       chat tools
mlx-community/gemma-3-27b-it-qat-4bit                gemma 3      27B        4bit    chat
mlx-community/gemma-3n-E4B-it-lm-4bit                gemma 3      E4B        4bit    chat
mlx-community/Mixtral-8x7B-Instruct-v0.1-hf-4bit-mlx mixtral -    8x7B       4bit    chat tools
mlx-community/DeepSeek-R1-Distill-Qwen-7B-4bit       deepseek -   7B         4bit    chat reasoning
mlx-community/DeepSeek-V3.1-4bit                     deepseek 3.1 -          4bit    chat tools
mlx-community/Phi-3.5-mini-instruct-4bit             phi 3.5      -          4bit    chat
/Users/ada/models/SmolLM2-135M-Instruct              smollm 2     135M       -       chat
mlx-community/SmolVLM-256M-Instruct-bf16             smollm -     256M       BF16    chat vision
mlx-community/Qwen2.5-VL-7B-Instruct-4bit            qwen 2.5     7B         4bit    chat tools vision
mlx-community/GLM-4.5V-4bit                          glm 4.5      -          4bit    chat tools vision
mlx-community/gpt-oss-120b-MXFP4-Q8                  gpt-oss -    120B       MXFP4   chat reasoning tools
mlx-community/CodeLlama-34b-Python-hf-4bit           llama -      34B        4bit    chat code
../models/Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf     llama 3.1    8B         Q4_K_M  chat tools
ai/smollm2:360M-Q4_K_M                               smollm 2     360M       Q4_K_M  chat
unsloth/Qwen3-235B-A22B-Instruct-2507-GGUF           qwen 3       235B-A22B  -       chat tools
TheBloke/Llama-2-13B-chat-AWQ                        llama 2      13B        AWQ     chat
Qwen/Qwen3-Next-80B-A3B-Thinking-FP8                 qwen 3       80B-A3B    FP8     chat reasoning tools
mlx-community/Meta-Llama-3-8B-base                   llama 3      8B         -
m1                                                   unknown -    -          -       chat
"""
ROWS = [line.split(maxsplit=5) for line in NAMES.strip().splitlines()]


@pytest.mark.parametrize(
    ("name", "family", "variant", "size", "quantization", "able"),
    [(*row[:5], row[5] if len(row) > 5 else "") for row in ROWS],
)
def test_a_name_tells(name: str, family: str, variant: str, size: str, quantization: str, able: str) -> None:
    found = model_names.parse(name)
    told = (found.family, found.variant or "-", found.parameter_size or "-", found.quantization or "-")
    assert told == (family, variant, size, quantization)
    assert found.capabilities == {"completion", *able.split()}


@pytest.mark.parametrize(
    ("name", "able"),
    [
        ("nomic-embed-text", "embeddings"),
        ("mlx-community/Qwen3-Embedding-0.6B-4bit-DWQ", "embeddings"),
        ("BAAI/bge-reranker-v2-m3", "rerank"),
        ("mlx-community/whisper-large-v3-turbo", "audio"),
    ],
)
def test_some_models_do_not_write(name: str, able: str) -> None:
    assert model_names.parse(name).capabilities == {able}


@pytest.mark.parametrize(
    ("name", "context"),
    [
        ("mlx-community/Phi-3-mini-128k-instruct-4bit", 131072),
        ("mlx-community/Qwen2.5-7B-Instruct-1M-4bit", 1048576),
        ("HuggingFaceTB/SmolLM2-135M-Instruct", None),
    ],
)
def test_a_context_in_the_name_is_in_tokens(name: str, context: int | None) -> None:
    assert model_names.parse(name).context == context


@pytest.mark.parametrize(
    ("size", "billions"), [("3.2B", 3.2), ("135M", 0.135), ("8x7B", 56.0), ("30B-A3B", 30.0), ("big", None)]
)
def test_sizes_are_counted_in_billions(size: str, billions: float | None) -> None:
    assert model_names.billions_of(size) == billions


def test_what_a_backend_says_wins_over_its_name() -> None:
    said = EndpointModel(
        name="llama3.2:latest",
        max_model_len=4096,
        family="llama",
        parameter_size="3.2B",
        quantization="Q4_K_M",
        size_bytes=2019393189,
        capabilities=["chat", "completion"],
        is_loaded=True,
    )
    found = details_of(said, backend_type="ollama")
    assert (found.family, found.variant, found.parameter_size, found.billions) == (
        "llama",
        "3.2",
        "3.2B",
        3.2,
    )
    assert (found.quantization, found.context, found.loaded) == ("Q4_K_M", 4096, True)
    assert found.capabilities == {"chat", "completion"}
