"""What a request leaves open is sampled as the model's makers advise, or as the operator says."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from inference.http.sampling_fields import usual_sampling
from inference.http.schema import read_chat
from inference.server_arguments import Unreadable, check
from inference.work import Sampling

CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
ADVICE = {"do_sample": True, "temperature": 0.6, "top_k": 20, "top_p": 0.95, "eos_token_id": 2}


def advised(folder: Path, advice: object) -> Path:
    (folder / "generation_config.json").write_text(json.dumps(advice))
    return folder


def test_a_request_that_says_nothing_is_sampled_as_the_model_advises(tmp_path: Path) -> None:
    usual = usual_sampling(advised(tmp_path, ADVICE), None)

    assert read_chat(CHAT, usual).generating.sampling == Sampling(temperature=0.6, top_k=20, top_p=0.95)


def test_what_a_request_says_wins(tmp_path: Path) -> None:
    usual = usual_sampling(advised(tmp_path, ADVICE), None)

    asked = read_chat({**CHAT, "temperature": 0, "top_k": -1, "top_p": None}, usual).generating.sampling

    assert asked == Sampling(temperature=0, top_k=0, top_p=0.95)


def test_the_operator_wins_over_the_model(tmp_path: Path) -> None:
    folder = advised(tmp_path, ADVICE)

    assert usual_sampling(folder, {"temperature": 0.2}) == Sampling(temperature=0.2)
    assert usual_sampling(folder, {}) == Sampling()


def test_the_operator_may_have_all_answers_sampled_as_mlx_lm_does() -> None:
    usual = usual_sampling(Path(), {"xtc_probability": 0.5, "repetition_context_size": 20, "top_a": 0.1})

    assert usual == Sampling(xtc_probability=0.5, repetition_context_size=20, top_a=0.1)
    asked = {**CHAT, "xtc_probability": 0, "repetition_context_size": 0}
    assert read_chat(asked, usual).generating.sampling == Sampling(repetition_context_size=0, top_a=0.1)


@pytest.mark.parametrize("advice", [None, [1], {"temperature": None, "max_new_tokens": 5}])
def test_a_model_that_advises_nothing_is_sampled_as_openai_does(tmp_path: Path, advice: object) -> None:
    folder = tmp_path if advice is None else advised(tmp_path, advice)

    assert usual_sampling(folder, None) == Sampling()


def test_advice_that_cannot_be_followed_is_passed_over_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "inference"):
        usual = usual_sampling(advised(tmp_path, {"temperature": "hot", "top_p": 0.9}), None)

    assert usual == Sampling(top_p=0.9)
    assert "'temperature'" in caplog.text


def test_advice_that_cannot_be_read_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "generation_config.json").write_text('{"temperature": 0.6')
    with caplog.at_level(logging.WARNING, "inference"):
        assert usual_sampling(tmp_path, None) == Sampling()
    assert str(tmp_path / "generation_config.json") in caplog.text


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ('{"seed": 1}', "'seed' has no default"),
        ('{"top_p": 2}', "'top_p'"),
        ("[]", "must be a JSON object"),
        ("{bad", "must be a JSON object"),
    ],
)
def test_defaults_that_are_none_are_refused_before_anything_is_loaded(given: str, problem: str) -> None:
    with pytest.raises(Unreadable, match=problem):
        check(["--sampling-defaults", given])


@pytest.mark.parametrize("size", ["8GiB", "8 GB", "1000000"])
def test_memory_is_given_as_sizes_are_elsewhere(size: str) -> None:
    check(["--kv-cache-bytes", size, "--prompt-cache-bytes", "0"])


def test_a_size_that_is_none_is_told() -> None:
    with pytest.raises(Unreadable, match="'much' is no size such as 100MiB"):
        check(["--kv-cache-bytes", "much"])
