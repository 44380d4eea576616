"""Supervisors on several machines, and two on one: who has which model."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from django.conf import settings
from mlx_lm import generate

from inference.loading.loader import load_chat_model
from inference.local import hosts, wishes
from inference.local.choices import State
from inference.local.room import Machine
from tests.e2e.gateway import alive
from tests.inference.local.conftest import Driven, ask, status_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.inference.local.conftest import MakeModel

pytestmark = [pytest.mark.model]


def test_two_machines_run_a_model_together_as_one_endpoint(
    supervisor: Driven, make_model: MakeModel, tiny_folder: Path
) -> None:
    model = make_model("both", spread_over=["127.0.0.1", "127.0.0.1"])
    ready = supervisor.until_state(model, State.READY)
    ranks = psutil.Process(ready.pid).children(recursive=True)
    assert len(ranks) == 2

    question: dict[str, Any] = {"prompt": "One two three", "max_tokens": 12, "temperature": 0}
    alone = load_chat_model(str(tiny_folder), models_dir=tiny_folder)
    expected = generate(alone.model, alone.tokenizer, question["prompt"], max_tokens=12).strip()
    assert [ask("both", question), ask("both", question)] == [expected, expected]
    assert ask("both", {**question, "guided_choice": ["left", "right"]}) in ("left", "right")
    sampled = {"temperature": 1, "xtc_probability": 0.5, "presence_penalty": 1, "presence_context_size": 4}
    banned = {
        "allowed_token_ids": alone.tokenizer.encode(" one two"),
        "bad_words": ["one one", "three"],
        "logit_bias": {"300": 1},
    }
    said = ask("both", {**question, **sampled, **banned}).split()
    assert len(said) == 12
    assert set(said) <= {"one", "two"}
    assert ("one", "one") not in pairwise(said)

    os.kill(ranks[1].pid, signal.SIGKILL)  # one that the other waits for
    supervisor.until(lambda: status_of(model).state == State.FAILED)
    wishes.stop(model)
    supervisor.until_state(model, State.STOPPED)
    supervisor.until(lambda: not any(alive(rank.pid) for rank in ranks))


def test_one_machine_has_it_until_it_is_gone(transactional_db: None, make_model: MakeModel) -> None:
    model = make_model()
    small, large = Machine(total=10, free=1), Machine(total=10, free=5)
    hosts.begin("small", small)
    hosts.begin("large", large)

    assert not hosts.is_mine(model, status_of(model), "small")
    assert hosts.is_mine(model, status_of(model), "large")
    hosts.beat("small", Machine(total=10, free=9))
    assert not hosts.is_mine(model, status_of(model), "small")
    hosts.end("large")
    assert hosts.is_mine(model, status_of(model), "small")
    assert not hosts.is_mine(model, status_of(model), "large")


def test_a_second_supervisor_in_the_same_home_is_refused(supervisor: Driven, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "serve_models"],
        env={**os.environ, "OLLA_HOME": str(tmp_path)},
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr.startswith(f"CommandError: Another supervisor already runs the models of {tmp_path}.")
