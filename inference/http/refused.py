"""Parameters that other servers honour and this one does not: refused, lest they be ignored silently."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inference.http.fields import unsupported

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inference.http.fields import Fields

# Fields that would change the answer if they were honoured, with the values that ask for nothing: OpenAI's,
# vLLM's and those of mlx_lm.server.
REFUSED_EVERYWHERE: Mapping[str, tuple[Any, ...]] = {
    "adapters": (),
    "cache_salt": (),
    "draft_model": (),
    "early_stopping": (False,),
    "guided_whitespace_pattern": (),
    "length_penalty": (1,),
    "logits_processors": ([],),
    "logprob_token_ids": (),
    "moderation": (),
    "priority": (0,),
    "repetition_detection": (),
    "use_beam_search": (False,),
    "vllm_xargs": ({},),
    "watermarking": (False,),
}
REFUSED: Mapping[str, tuple[Any, ...]] = {
    **REFUSED_EVERYWHERE,
    "add_special_tokens": (False,),
    "audio": (),
    "best_of": (1,),
    "chat_template": (),
    "documents": ([],),
    "echo": (False,),
    "include_reasoning": (True,),
    "modalities": (["text"],),
    "prediction": (),
    "role_mapping": (),
    "verbosity": ("medium",),
    "web_search_options": (),
}
REFUSED_ON_COMPLETIONS: Mapping[str, tuple[Any, ...]] = {
    **REFUSED_EVERYWHERE,
    "prompt_embeds": (),
    "suffix": ("",),
}
REFUSED_ON_EMBEDDINGS: Mapping[str, tuple[Any, ...]] = {
    "add_special_tokens": (True,),
    "chat_template": (),
    "embed_dtype": ("float32",),
    "endianness": ("native", "little"),
    "messages": (),
    "normalize": (),
    "priority": (0,),
    "truncate_prompt_tokens": (),
    "use_activation": (),
}
REFUSED_ON_TOKENIZE: Mapping[str, tuple[Any, ...]] = {
    "chat_template": (),
    "documents": ([],),
}


def refuse(fields: Fields, refused: Mapping[str, tuple[Any, ...]]) -> None:
    """ApiError when one of `refused` asks for something."""
    for name, harmless in refused.items():
        value = fields.get(name)
        if value is not None and value not in harmless:
            raise unsupported(name, f"'{name}' is not supported by this server. Leave it out.")
