"""Parameters that other servers honour and this one does not: refused, lest they be ignored silently."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inference.fields import unsupported

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inference.fields import Fields

# Fields that would change the answer if they were honoured, with the values that ask for nothing: OpenAI's,
# vLLM's and those of mlx_lm.server.
REFUSED_EVERYWHERE: Mapping[str, tuple[Any, ...]] = {
    "adapters": (),
    "allowed_token_ids": ([],),
    "bad_words": ([],),
    "draft_model": (),
    "early_stopping": (False,),
    "include_stop_str_in_output": (False,),
    "length_penalty": (1,),
    "logits_processors": ([],),
    "min_tokens_to_keep": (),
    "priority": (0,),
    "prompt_logprobs": (0,),
    "repetition_context_size": (),
    "return_token_ids": (False,),
    "return_tokens_as_token_ids": (False,),
    "skip_special_tokens": (True,),
    "spaces_between_special_tokens": (True,),
    "thinking_token_budget": (),
    "top_a": (0,),
    "truncate_prompt_tokens": (),
    "typical_p": (1,),
    "use_beam_search": (False,),
    "xtc_probability": (0,),
}
REFUSED: Mapping[str, tuple[Any, ...]] = {
    **REFUSED_EVERYWHERE,
    "audio": (),
    "best_of": (1,),
    "chat_template": (),
    "documents": ([],),
    "echo": (False,),
    "function_call": ("none",),
    "functions": ([],),
    "modalities": (["text"],),
    "prediction": (),
    "store": (False,),
    "verbosity": (),
    "web_search_options": (),
}
REFUSED_ON_COMPLETIONS: Mapping[str, tuple[Any, ...]] = {
    **REFUSED_EVERYWHERE,
    "prompt_embeds": (),
    "suffix": ("",),
}


def refuse(fields: Fields, refused: Mapping[str, tuple[Any, ...]]) -> None:
    """ApiError when one of `refused` asks for something."""
    for name, harmless in refused.items():
        value = fields.get(name)
        if value is not None and value not in harmless:
            raise unsupported(name, f"'{name}' is not supported by this server. Leave it out.")
