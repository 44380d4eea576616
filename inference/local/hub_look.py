"""A look at a model on Hugging Face before it is downloaded: what it is, its size, what of it is here."""

from __future__ import annotations

import fnmatch
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import constants, hf_hub_download

from inference.errors import ModelBroken
from inference.loading import footprint, model_folder
from inference.loading.footprint import Footprint
from inference.local import hub
from inference.local.progress import Progress

BITS_PER_BYTE = 8
# The scale and the offset that each group of quantised weights has beside it: two half floats.
SCALE_BITS = 32
USUAL_GROUP = 64
CONFIG = "config.json"


@dataclass(frozen=True, slots=True)
class HubLook:
    """`missing_bytes` is what is still to be downloaded."""

    config: dict[str, Any]
    footprint: Footprint
    missing_bytes: int


def look(repo: str, *, revision: str, token: str) -> HubLook:
    """Ask the hub (or, offline, its cache here). Raises as inference.local.hub.fetch does."""
    wanted = revision or constants.DEFAULT_REVISION
    if constants.HF_HUB_OFFLINE:
        folder = hub.fetch(repo, revision=revision, token=token, progress=Progress(lambda _: None)).folder
        return HubLook(model_folder.read_config(folder), footprint.of_folder(folder), 0)
    with hub.sentences(repo, wanted):
        listing = hub.list_files(repo, wanted, token or None)
        config = _config(repo, listing.commit, token or None)
    weights = [file for file in listing.large if fnmatch.fnmatch(file.name, model_folder.WEIGHT_FILES)]
    if not weights:
        raise ModelBroken(
            f"{repo} has no {model_folder.WEIGHT_FILES}: only models in safetensors are served. Look for one "
            "in MLX format, such as those of mlx-community."
        )
    size = sum(file.size for file in weights)
    found = Footprint(size, _dense_bytes(size, config), footprint.kv_values_per_token(config))
    return HubLook(config, found, listing.missing_bytes)


def _config(repo: str, commit: str, token: str | None) -> dict[str, Any]:
    file = Path(hf_hub_download(repo, CONFIG, revision=commit, token=token))
    content = json.loads(file.read_bytes())
    if not isinstance(content, dict) or not isinstance(content.get("model_type"), str):
        raise ModelBroken(f"{CONFIG} of {repo} does not say which model_type it is.")
    return content


def _dense_bytes(size: int, config: dict[str, Any]) -> int:
    """What the weights take as float32, from how many bits each has in the file."""
    quantization = config.get("quantization") or {}
    if quantization:
        bits = int(quantization.get("bits") or footprint.DEFAULT_BITS)
        bits_each = bits + SCALE_BITS / int(quantization.get("group_size") or USUAL_GROUP)
    else:
        text = config.get("text_config") or config
        kind = text.get("torch_dtype") or text.get("dtype") or "bfloat16"
        bits_each = BITS_PER_BYTE * (footprint.FLOAT32_BYTES if kind == "float32" else footprint.HALF_BYTES)
    return round(size * BITS_PER_BYTE / bits_each) * footprint.FLOAT32_BYTES
