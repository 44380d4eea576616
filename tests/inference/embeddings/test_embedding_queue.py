"""Embedding jobs that wait together: they share passes, none waits for a large one, and each fails alone."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from inference.embeddings.embedding import EmbeddingQueue
from inference.embeddings.matryoshka import Lengths, cut
from inference.errors import GenerationFailed
from inference.work import EmbeddingJob, Vectors

if TYPE_CHECKING:
    from collections.abc import Sequence

TROUBLE = 999
PASS_TOKENS = 64


class Passes:
    """An encoder whose vectors tell the length of their input; it breaks on one of them."""

    dimensions = 2
    tokens_per_pass = PASS_TOKENS

    def __init__(self) -> None:
        self.seen: list[list[int]] = []
        self.is_broken = False

    def encode(self, batch: Sequence[list[int]]) -> Any:
        self.seen.append([len(tokens) for tokens in batch])
        if self.is_broken or [TROUBLE] in batch:
            raise RuntimeError("broken")
        return np.array([[len(tokens), tokens[0]] for tokens in batch], dtype=np.float32)


def job(*lengths: int, first: int = 1) -> EmbeddingJob:
    return EmbeddingJob(inputs=[[first] * length for length in lengths], deliver=lambda _: None)


def finished(queue: EmbeddingQueue) -> list[tuple[EmbeddingJob, Vectors]]:
    done: list[Any] = []
    while queue.waiting:
        done += queue.step()
    return done


def test_inputs_keep_their_order_and_go_with_others_of_like_length() -> None:
    encoder: Any = Passes()
    queue = EmbeddingQueue(encoder)
    one, other = job(3, 30, 5, 60, 1, first=7), job(29, 4, 2, first=8)
    queue.add(one)
    queue.add(other)

    vectors = {work: message.vectors.tolist() for work, message in finished(queue)}

    assert vectors == {
        one: [[length, 7] for length in (3, 30, 5, 60, 1)],
        other: [[length, 8] for length in (29, 4, 2)],
    }
    assert all(len(lengths) * max(lengths) <= PASS_TOKENS for lengths in encoder.seen)
    assert len(encoder.seen) < 8


def test_inputs_of_like_length_go_together() -> None:
    encoder: Any = Passes()
    queue = EmbeddingQueue(encoder)
    queue.add(job(*(1 + 7 * place % 32 for place in range(32))))

    finished(queue)

    assert all(max(later) <= min(before) for before, later in pairwise(encoder.seen))


def test_many_small_requests_share_one_pass() -> None:
    encoder: Any = Passes()
    queue = EmbeddingQueue(encoder)
    for _ in range(10):
        queue.add(job(6))

    assert len(queue.step()) == 10


def test_a_small_request_does_not_wait_for_a_large_one() -> None:
    queue = EmbeddingQueue(Passes())  # type: ignore[arg-type]
    large, small = job(*[PASS_TOKENS] * 50), job(3)
    queue.add(large)
    queue.step()
    queue.add(small)

    assert [work for _ in range(2) for work, _ in queue.step()] == [small]
    assert [work for work, _ in finished(queue)] == [large]


def test_a_request_that_fails_fails_alone() -> None:
    queue = EmbeddingQueue(Passes())  # type: ignore[arg-type]
    bad, good = EmbeddingJob(inputs=[[TROUBLE]], deliver=lambda _: None), job(1)
    queue.add(bad)
    queue.add(good)

    done = dict(finished(queue))

    assert isinstance(done[bad].error, GenerationFailed)
    assert done[good].vectors.tolist() == [[1, 1]]


def test_after_a_failure_the_model_is_in_doubt_until_it_has_read_a_token() -> None:
    encoder: Any = Passes()
    queue = EmbeddingQueue(encoder)
    doubts = []

    def finish(work: EmbeddingJob) -> None:
        queue.add(work)
        finished(queue)
        doubts.append(queue.in_doubt)

    finish(job(1))
    finish(EmbeddingJob(inputs=[[TROUBLE]], deliver=lambda _: None))
    encoder.is_broken = True
    with pytest.raises(RuntimeError, match="broken"):
        queue.examine()
    doubts.append(queue.in_doubt)
    encoder.is_broken = False
    queue.examine()
    doubts.append(queue.in_doubt)
    assert doubts == [False, True, True, False]


def test_a_request_that_nobody_waits_for_is_dropped() -> None:
    queue = EmbeddingQueue(Passes())  # type: ignore[arg-type]
    gone = job(1)
    gone.cancelled = True
    queue.add(gone)

    assert queue.step() == []
    assert queue.waiting == 0


@pytest.mark.parametrize(
    ("config", "allowed", "refused", "said"),
    [
        ({}, (8,), (4, 9), "8"),
        ({"is_matryoshka": True}, (1, 4, 8), (9,), "1 to 8"),
        ({"matryoshka_dimensions": [2, 4]}, (2, 4, 8), (3, 9), "2 or 4 or 8"),
        ({"matryoshka_dimensions": "all"}, (8,), (4,), "8"),
    ],
)
def test_vectors_are_cut_only_as_the_models_own_files_allow(
    config: dict[str, Any], allowed: tuple[int, ...], refused: tuple[int, ...], said: str
) -> None:
    lengths = Lengths.from_config(config, whole=8)

    assert lengths.allow(None)
    assert all(map(lengths.allow, allowed))
    assert not any(map(lengths.allow, refused))
    assert str(lengths) == said


def test_a_cut_vector_has_the_length_one() -> None:
    vectors = np.array([[3, 4, 12], [0, 0, 1]], dtype=np.float32)

    assert cut(vectors, None) is vectors
    assert cut(vectors, 2)[0].tolist() == pytest.approx([0.6, 0.8])
    assert cut(vectors, 2)[1].tolist() == [0, 0]
