"""How a request wants to be sampled, and how it is when it does not say: as the model's makers advise.

Those who train a model publish what to sample it with in its `generation_config.json`, which vLLM, too,
takes for whatever a request leaves out. `serve_model --sampling-defaults` says it in their place.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from inference.errors import ModelBroken
from inference.http.fields import Fields, invalid_value, token_ids, unsupported
from inference.loading.model_folder import read_json
from inference.work import Sampling
from ollaproject.wire.openai_errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

logger = logging.getLogger(__name__)

MAX_LOGIT_BIASES = 1024
LARGEST_SEED = 2**63 - 1
LARGEST_COUNT = 2**31 - 1  # more than any vocabulary or context has; what is larger is no number for MLX
ADVICE_FILE = "generation_config.json"
# What such a file may say of sampling; the rest of it is about other things.
ADVICE_NAMES = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
CONTEXT_SIZES = ("frequency_context_size", "presence_context_size", "repetition_context_size")
DEFAULT_NAMES = (
    *(*ADVICE_NAMES, "frequency_penalty", "presence_penalty", *CONTEXT_SIZES),
    *("min_tokens_to_keep", "top_a", "typical_p", "xtc_probability", "xtc_threshold"),
)
OPENAI = Sampling()


def read_sampling(fields: Fields, usual: Sampling = OPENAI) -> Sampling:
    """What the fields say, and `usual` where they say nothing. Raises ApiError with the field named."""
    top_k = fields.integer("top_k", low=-1)
    return Sampling(
        temperature=fields.number("temperature", default=usual.temperature, low=0, high=2),
        top_p=fields.number("top_p", default=usual.top_p, low=0, high=1),
        top_k=usual.top_k if top_k is None else min(max(top_k, 0), LARGEST_COUNT),
        min_p=fields.number("min_p", default=usual.min_p, low=0, high=1),
        min_tokens_to_keep=_count(fields, "min_tokens_to_keep", low=1) or usual.min_tokens_to_keep,
        top_a=fields.number("top_a", default=usual.top_a, low=0, high=1),
        typical_p=fields.number("typical_p", default=usual.typical_p, low=0, high=1),
        xtc_probability=fields.number("xtc_probability", default=usual.xtc_probability, low=0, high=1),
        xtc_threshold=fields.number("xtc_threshold", default=usual.xtc_threshold, low=0, high=0.5),
        seed=fields.integer("seed", low=-LARGEST_SEED, high=LARGEST_SEED),
        frequency_penalty=fields.number("frequency_penalty", default=usual.frequency_penalty, low=-2, high=2),
        presence_penalty=fields.number("presence_penalty", default=usual.presence_penalty, low=-2, high=2),
        repetition_penalty=_repetition_penalty(fields, usual),
        logit_bias=_logit_bias(fields.object("logit_bias")),
        frequency_context_size=_context_size(fields, "frequency_context_size", usual),
        presence_context_size=_context_size(fields, "presence_context_size", usual),
        repetition_context_size=_context_size(fields, "repetition_context_size", usual),
        allowed_token_ids=_allowed(fields.get("allowed_token_ids")),
    )


def _repetition_penalty(fields: Fields, usual: Sampling) -> float:
    """0 is mlx_lm.server's word for none, as 1 is everybody's."""
    name = "repetition_penalty"
    if fields.number(name, default=usual.repetition_penalty, low=0, high=10) == 0:
        return OPENAI.repetition_penalty
    return fields.number(name, default=usual.repetition_penalty, low=0.01, high=10)


def _context_size(fields: Fields, name: str, usual: Sampling) -> int | None:
    given, default = _count(fields, name, low=0), getattr(usual, name)
    return default if given is None else given


def _count(fields: Fields, name: str, *, low: int) -> int | None:
    given = fields.integer(name, low=low)
    return None if given is None else min(given, LARGEST_COUNT)


def _allowed(tokens: Any) -> tuple[int, ...] | None:
    if tokens is None:
        return None
    if not (allowed := token_ids("allowed_token_ids", tokens)):
        raise invalid_value("allowed_token_ids", "'allowed_token_ids' must name at least one token.")
    return tuple(allowed)


def check_defaults(given: Mapping[str, Any]) -> None:
    """Raise ApiError unless `given` can stand in `--sampling-defaults`."""
    if unknown := sorted(set(given) - set(DEFAULT_NAMES)):
        known = ", ".join(DEFAULT_NAMES)
        raise unsupported(unknown[0], f"'{unknown[0]}' has no default. There is one of: {known}.")
    read_sampling(Fields(dict(given)))


def usual_sampling(folder: Path, chosen: Mapping[str, Any] | None) -> Sampling:
    """What a request is sampled with that says nothing: `chosen`, or what the model's folder advises."""
    if chosen is not None:
        return read_sampling(Fields(dict(chosen)))
    usual = OPENAI
    for name, value in _advice(folder).items():
        try:
            advised = read_sampling(Fields({name: value}))
        except ApiError as error:
            logger.warning("%s of the model is passed over: %s", ADVICE_FILE, error.message)
            continue
        usual = replace(usual, **{name: getattr(advised, name)})
    if usual != OPENAI:
        logger.info("Sampled as the model's makers advise where a request does not say: %s", _words(usual))
    return usual


def _advice(folder: Path) -> dict[str, Any]:
    """It need not be there, and the model is as good without it."""
    try:
        said = read_json(folder / ADVICE_FILE) or {}
    except ModelBroken as error:
        logger.warning("What the model's makers advise is passed over: %s", error)
        return {}
    return {name: said[name] for name in ADVICE_NAMES if said.get(name) is not None}


def _words(usual: Sampling) -> str:
    differing = (name for name in ADVICE_NAMES if getattr(usual, name) != getattr(OPENAI, name))
    return ", ".join(f"{name} {getattr(usual, name)}" for name in differing)


def _logit_bias(biases: Fields | None) -> tuple[tuple[int, float], ...]:
    if biases is None:
        return ()
    if len(biases.names()) > MAX_LOGIT_BIASES:
        raise invalid_value("logit_bias", f"'logit_bias' may name at most {MAX_LOGIT_BIASES} tokens.")
    pairs = []
    for token in biases.names():
        if not (token.isascii() and token.isdigit()):
            raise invalid_value("logit_bias", f"The keys of 'logit_bias' must be token ids, not '{token}'.")
        pairs.append((int(token), biases.number(token, default=0.0, low=-100, high=100)))
    return tuple(pairs)
