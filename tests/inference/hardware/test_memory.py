"""Memory: what a token costs is what the model's caches hold, and no more rows run than fit."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest
from mlx_lm.models.cache import make_prompt_cache

from inference.backend import Backend, build
from inference.cache.kept_state import keeps_every_token
from inference.cache.prompt_cache import PromptCache
from inference.errors import ModelBroken
from inference.generation.pace import ON_CPU
from inference.generation.room import HEADROOM_TOKENS, Limits, Load, Room
from inference.generation.scheduler import Scheduler
from inference.hardware.free_memory import available_memory
from inference.hardware.memory import LEAST_ON_MAC, KvCost, left_on_gpu, set_wired_limit
from inference.http.prompts import completion_prompts
from inference.http.schema import read_completion
from inference.options import ModelOptions
from ollaproject.wire.openai_errors import ApiError
from tests.inference.cache.test_prompt_cache import alone, model_of, row, text
from tests.inference.families import COMMON, FAMILIES, WINDOW

FLOAT32_BYTES = 4
LAYER_TOKEN_BYTES = 2 * COMMON["num_key_value_heads"] * COMMON["head_dim"] * FLOAT32_BYTES


@pytest.mark.parametrize(
    ("family", "whole", "windowed"),
    [("llama", 2, 0), ("qwen3_moe", 2, 0), ("gemma3_text", 2, 2), ("ministral3", 1, 1), ("lfm2", 2, 0)],
)
def test_a_token_costs_what_the_configuration_says(family: str, whole: int, windowed: int) -> None:
    cost = KvCost.of_model(model_of(family))
    assert cost.token_bytes == whole * LAYER_TOKEN_BYTES
    assert cost.windows == (((windowed * LAYER_TOKEN_BYTES, WINDOW),) if windowed else ())


@pytest.mark.parametrize("family", FAMILIES)
def test_the_cost_is_what_the_caches_hold(family: str) -> None:
    model = model_of(family)
    cost = KvCost.of_model(model)
    caches = make_prompt_cache(model)
    for token in range(40):  # one by one: a longer pass leaves more than the window behind
        model(mx.array([[token]]), cache=caches)
    held = sum(_held_bytes(cache) for cache in caches)
    assert cost.of(40) == held


def _held_bytes(cache: Any) -> int:
    if hasattr(cache, "keys"):  # allocated in steps of 256 tokens, used up to its length
        used = min(cache.offset, getattr(cache, "max_size", cache.offset))
        return sum(array.nbytes // array.shape[2] * used for array in (cache.keys, cache.values))
    return int(cache.nbytes)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_longest_that_fits_fits_and_one_more_token_does_not(family: str) -> None:
    cost = KvCost.of_model(model_of(family))
    for nbytes in (10_000, 123_456):
        longest = cost.tokens_within(nbytes)
        if longest is None:
            assert cost.token_bytes == 0
        else:
            assert cost.of(longest) <= nbytes < cost.of(longest + 1)
    assert cost.tokens_within(cost.of(1) - 1) == 0


def test_a_padded_batch_costs_what_its_longest_row_does_for_each() -> None:
    room = Room(KvCost(token_bytes=10), budget_bytes=10**6)
    assert room.needs(Load(((3, 100),), (700, 5))) == 5 * 10 * (700 + HEADROOM_TOKENS)
    assert room.needs(Load((), ())) == 0
    assert room.longest == 10**5 - HEADROOM_TOKENS


def test_rows_that_are_kept_apart_cost_what_they_hold() -> None:
    room = Room(KvCost(token_bytes=10), budget_bytes=10**6, padded_bytes=9_000)
    apart = 10 * (3 * (100 + HEADROOM_TOKENS) + 9_000 + HEADROOM_TOKENS)
    assert room.needs(Load(((3, 100), (1, 9_000)), ())) == apart
    joining = room.needs(Load(((3, 100),), (9_000,)))
    assert joining == apart + 9_000  # those that join may be padded, as far as that goes
    assert room.needs(Load(((2, 10),), (30,))) == 3 * 10 * (30 + HEADROOM_TOKENS)


def scheduler_within(family: str, rows_of: int, tokens: int, *, max_rows: int = 8) -> Scheduler:
    """One that has room for so many rows of so many tokens."""
    model = model_of(family)
    cost = KvCost.of_model(model)
    room = Room(cost, budget_bytes=rows_of * cost.of(tokens + HEADROOM_TOKENS))
    kept = PromptCache(max_bytes=room.budget_bytes // 2, cuts_anywhere=keeps_every_token(model))
    return Scheduler(
        model, prompt_cache=kept, limits=Limits(max_rows=max_rows, chunks=ON_CPU.up_to(64)), room=room
    )


def run(scheduler: Scheduler, rows: list[Any]) -> tuple[dict[Any, list[int]], int]:
    """What each row says, and how many ran at once at the most."""
    said: dict[Any, list[int]] = {one: [] for one in rows}
    most = 0
    for one in rows:
        scheduler.add(one)
    while scheduler.has_work:
        for one, step in scheduler.step():
            assert step.error is None
            if step.token is not None:
                said[one].append(step.token.id)
        most = max(most, scheduler.running)
    return said, most


@pytest.mark.parametrize("family", ["llama", "gemma3_text", "qwen3_next"])
def test_rows_that_do_not_fit_wait_and_say_what_they_would_have_said(family: str) -> None:
    scheduler = scheduler_within(family, 2, 60)
    rows = [row(text(50 + seed, seed=seed)) for seed in range(5)]
    said, most = run(scheduler, rows)
    assert most == 2
    assert all(said[one] == alone(family, one.prompt) for one in rows)
    scheduler.close()


def test_rows_that_grow_too_large_are_set_aside_and_go_on_later() -> None:
    scheduler = scheduler_within("llama", 3, 60)
    rows = [row(text(20, seed=seed), max_tokens=150) for seed in range(3)]
    said, most = run(scheduler, rows)
    assert most == 3
    assert all(said[one] == alone("llama", one.prompt, 150) for one in rows)
    scheduler.close()


def test_the_prompt_cache_gives_its_memory_to_running_rows() -> None:
    scheduler = scheduler_within("llama", 2, 200)
    kept = scheduler._prompt_cache
    for seed in range(12):
        run(scheduler, [row(text(150, seed=seed), max_tokens=2)])
    held = kept.nbytes
    assert held > kept.max_bytes // 2
    for seed in (50, 51):
        scheduler.add(row(text(195, seed=seed), max_tokens=12))
    for _ in range(2):  # both are read in the first one, and kept
        scheduler.step()
    assert scheduler.running == 2
    assert kept.nbytes < held // 2
    while scheduler.has_work:
        scheduler.step()
    scheduler.close()


def build_within(folder: Path, kv_bytes: int) -> Backend:
    return build(ModelOptions(name=str(folder), models_dir=folder, cache_dir=folder, kv_bytes=kv_bytes))


def test_what_never_fits_is_refused_with_the_numbers(tiny_folder: Path) -> None:
    backend = build_within(tiny_folder, 2**19)
    length = backend.chat.context_length
    token_bytes = 4 * 2 * 12 * FLOAT32_BYTES  # 2 layers with 2 heads each, keys and values
    assert length == 2**19 // token_bytes - HEADROOM_TOKENS
    request = read_completion({"model": backend.chat.name, "prompt": [5] * length, "max_tokens": 1})
    with pytest.raises(ApiError) as raised:
        completion_prompts(backend, request)
    message = str(raised.value)
    assert f"at most {length} tokens" in message
    assert "It is memory that limits it: 0.0 GB hold no more; the model reads 2048." in message
    assert raised.value.code == "context_length_exceeded"
    backend.close()


def test_a_model_that_leaves_no_room_for_a_token_is_told(tiny_folder: Path) -> None:
    with pytest.raises(ModelBroken, match="is too large for this machine"):
        build_within(tiny_folder, 1000)


def test_no_memory_is_lost_however_many_rows_come_and_go() -> None:
    scheduler = scheduler_within("llama", 3, 100)
    kept = scheduler._prompt_cache

    def soak(seeds: range) -> int:
        rows = [row(text(10 + 13 * seed % 90, seed=seed), max_tokens=3 + seed % 7) for seed in seeds]
        for place, one in enumerate(rows):
            one.cancelled = place % 5 == 4
        run(scheduler, rows)
        mx.synchronize()
        mx.clear_cache()
        return mx.get_active_memory() - kept.nbytes

    first = soak(range(60))
    later = soak(range(100, 300))
    assert later - first < 64 * 1024
    scheduler.close()


def test_mlx_lm_s_generator_leaves_the_wired_limit_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    generate = import_module("mlx_lm.generate")
    monkeypatch.setattr(generate, "maybe_set_recommended_wired_limit", lambda: 1)  # as on a Mac

    set_wired_limit(wires=False)

    generator = generate.BatchGenerator(model_of("llama"))
    assert generator._old_wired_limit is None
    generator.close()


GB = 10**9
# What MLX says of a Mac with 32 GB, and of an NVIDIA card.
METAL = {"device_name": "Apple M2 Pro", "memory_size": 34 * GB, "max_recommended_working_set_size": 23 * GB}
CUDA = {"device_name": "NVIDIA H200", "total_memory": 150 * GB}


@pytest.mark.parametrize(
    ("device", "free", "left"),
    [
        (METAL, 25 * GB, 18 * GB),  # as much as Metal recommends
        (METAL, 9 * GB, 9 * GB),  # others have the rest
        (METAL, GB // 2, LEAST_ON_MAC),
        (CUDA, 9 * GB, 145 * GB),  # its memory is its own
        ({"device_name": "AMD EPYC"}, 9 * GB, None),
    ],
)
def test_a_gpu_has_left_what_no_other_program_has(
    device: dict[str, str | int], free: int, left: int | None
) -> None:
    assert left_on_gpu(device, active=5 * GB, free=free) == left


def test_what_is_available_is_known_without_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    here = available_memory()
    monkeypatch.setattr("inference.hardware.free_memory.MEMORY_INFO", Path("/no/such/file"))
    assert available_memory() == pytest.approx(here, rel=0.5)
