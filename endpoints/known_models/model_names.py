"""What the name of a model tells: publisher, family, variant, size, quantisation, context, what it can do.

Names are a custom, not a standard: `mlx-community/Llama-3.2-3B-Instruct-4bit`, `qwen3:30b-a3b-q4_K_M`. What a
backend says itself always wins over what is guessed here (endpoints.known_models.model_details).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

# Of several words in a name the leftmost counts; at one place, what stands first here.
FAMILIES: tuple[tuple[str, str], ...] = (
    (r"deepseek", "deepseek"),
    (r"gpt[-_]?oss", "gpt-oss"),
    (r"(?:code)?qwen|qwq|qvq", "qwen"),
    (r"smol[-_]?v?lm", "smollm"),
    (r"tiny[-_]?llama|code[-_]?llama|llama", "llama"),
    (r"llava|bakllava", "llava"),
    (r"mixtral", "mixtral"),
    (r"ministral|codestral|devstral|magistral|mistral|pixtral|voxtral", "mistral"),
    (r"(?:code|med|pali)?gemma", "gemma"),
    (r"phi(?=[-_\d.]|$)", "phi"),
    (r"nemotron", "nemotron"),
    (r"granite", "granite"),
    (r"command[-_]?[ar]|c4ai|aya", "command"),
    (r"glm|chatglm", "glm"),
    (r"kimi", "kimi"),
    (r"minimax", "minimax"),
    (r"ernie", "ernie"),
    (r"hunyuan", "hunyuan"),
    (r"internlm|internvl", "internlm"),
    (r"exaone", "exaone"),
    (r"falcon", "falcon"),
    (r"olmoe?", "olmo"),
    (r"lfm", "lfm"),
    (r"starcoder", "starcoder"),
    (r"stablelm", "stablelm"),
    (r"yi(?=[-_\d.]|$)", "yi"),
    (r"hermes", "hermes"),
    (r"whisper", "whisper"),
    (r"kokoro", "kokoro"),
    (r"nomic", "nomic"),
    (r"mxbai", "mxbai"),
    (r"bge", "bge"),
    (r"gte", "gte"),
    (r"e5", "e5"),
    (r"minilm", "minilm"),
    (r"jina", "jina"),
    (r"modernbert|bert", "bert"),
    (r"claude", "claude"),
    (r"gemini", "gemini"),
    (r"gpt|o[134](?=[-_]|$)|text-embedding", "gpt"),
)
COMPILED = tuple(
    (re.compile(rf"(?<![a-z])(?:{pattern})", re.IGNORECASE), family) for pattern, family in FAMILIES
)
UNKNOWN = "unknown"
# How makers write the names of families that are not merely capitalised.
SPELLED = {
    "deepseek": "DeepSeek",
    "gpt-oss": "gpt-oss",
    "smollm": "SmolLM",
    "llava": "LLaVA",
    "glm": "GLM",
    "minimax": "MiniMax",
    "ernie": "ERNIE",
    "internlm": "InternLM",
    "exaone": "EXAONE",
    "olmo": "OLMo",
    "lfm": "LFM",
    "starcoder": "StarCoder",
    "stablelm": "StableLM",
    "mxbai": "mxbai",
    "bge": "BGE",
    "gte": "GTE",
    "minilm": "MiniLM",
    "bert": "BERT",
    "gpt": "GPT",
}

BEGIN, END = r"(?<![A-Za-z0-9.])", r"(?![A-Za-z0-9])"
# 3B, 0.5B, 8x7B, 30B-A3B (of which 3 billion are active), 135M, 1T, E4B (an effective size).
SIZE = re.compile(
    rf"{BEGIN}(?P<size>(?:(?P<experts>\d{{1,3}})x)?(?:E)?(?P<number>\d{{1,4}}(?:\.\d{{1,3}})?)(?P<unit>[BMT])"
    rf"(?:-A(?P<active>\d{{1,3}}(?:\.\d{{1,2}})?)B)?){END}",
    re.IGNORECASE,
)
QUANTIZATION = re.compile(
    rf"{BEGIN}(?:(?P<bits>[2-8])-?bit(?P<dwq>-DWQ)?"
    r"|(?P<word>(?:UD-)?I?Q[1-8](?:_[A-Z0-9]{1,3}){0,3}|DWQ|MXFP[468]|NVFP4|FP[48]|INT[48]|BF16|FP?(?:16|32)"
    rf"|W[48]A(?:8|16)|AWQ|GPTQ|EXL[23])){END}",
    re.IGNORECASE,
)
CONTEXT = re.compile(rf"{BEGIN}(?P<number>\d{{1,4}})(?P<unit>[KM])(?:-ctx|-context)?{END}", re.IGNORECASE)
MIN_CONTEXT_THOUSANDS = 4
KIBI = 1024
VERSION = re.compile(
    r"[-_ ]?v?(?P<version>\d{1,2}(?:\.\d{1,2})?)(?![\d.]*[BMT](?![A-Za-z]))(?!x\d)", re.IGNORECASE
)

# A word in the name says what the model is.
KINDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"re-?rank", ("rerank",)),
    (r"embed|(?<![a-z])(?:bge|gte|e5|minilm|mxbai)(?![a-z])", ("embeddings",)),
    (r"whisper|parakeet|kokoro|(?<![a-z])(?:tts|asr)(?![a-z])", ("audio",)),
)
# And these, what one that writes can do besides.
ABILITIES: tuple[tuple[str, str], ...] = (
    (r"vision|llava|pixtral|moondream|smolvlm|paligemma|internvl", "vision"),
    (r"(?<![a-z])vl(?![a-z])|(?<=\d)v(?![a-z\d])", "vision"),
    (r"omni|audio|voxtral", "audio"),
    (r"coder?|codestral|devstral|starcoder|codegemma|codellama", "code"),
    (r"(?<![a-z])(?:r1|o[134])(?![a-z\d])|qwq|qvq|thinking|reason|magistral|gpt-?oss", "reasoning"),
)
CHAT = re.compile(r"instruct|chat|(?<![a-z])it(?![a-z])|assistant|hermes|zephyr", re.IGNORECASE)
BASE = re.compile(r"(?<![a-z])(?:base|pretrain(?:ed)?|pt)(?![a-z])", re.IGNORECASE)
# Families whose chat templates take tools, from this version on; without a version in the name, from 0 on.
TOOLS: dict[str, float] = {
    "qwen": 2.5,
    "llama": 3.1,
    "mistral": 0,
    "mixtral": 0,
    "gpt-oss": 0,
    "command": 0,
    "granite": 3,
    "glm": 4,
    "kimi": 0,
    "minimax": 0,
    "hermes": 0,
    "nemotron": 0,
    "deepseek": 3,
    "claude": 0,
    "gemini": 0,
    "gpt": 0,
}


@dataclass(frozen=True, slots=True)
class ModelName:
    """The parts of a name. `variant` is the version of the family (`3.2`), `billions` counts all parameters.

    What the name does not tell is empty or None; an unknown family is `unknown`.
    """

    publisher: str
    family: str
    variant: str
    parameter_size: str
    billions: float | None
    quantization: str
    context: int | None
    capabilities: frozenset[str]


@lru_cache(maxsize=4096)
def parse(name: str) -> ModelName:
    """What `name` tells, from a repository's id, an Ollama tag or the path of a file."""
    publisher, short = _split(name)
    family, version = _family(short)
    size = SIZE.search(short)
    return ModelName(
        publisher=publisher,
        family=family,
        variant=version,
        parameter_size=_size_text(size),
        billions=_billions(size),
        quantization=_quantization(short),
        context=_context(short),
        capabilities=_capabilities(short, family, version),
    )


def billions_of(parameter_size: str) -> float | None:
    """How many billions of parameters a size such as `3.2B` or `135M` is, None when it is no size."""
    return _billions(SIZE.fullmatch(parameter_size.strip()))


def _split(name: str) -> tuple[str, str]:
    """Publisher and name proper: of a path, the last two parts, without the ending of a file."""
    parts = [part for part in name.replace("\\", "/").split("/") if part]
    short = parts[-1] if parts else name
    short = re.sub(r"\.(?:gguf|safetensors|bin)$", "", short, flags=re.IGNORECASE)
    is_path = name.startswith(("/", ".", "~")) or len(parts) > 2  # noqa: PLR2004 - publisher and name
    return ("" if is_path or len(parts) < 2 else parts[-2]), short  # noqa: PLR2004


def _family(short: str) -> tuple[str, str]:
    found = [
        (match.start(), order, match, family)
        for order, (pattern, family) in enumerate(COMPILED)
        if (match := pattern.search(short))
    ]
    if not found:
        return UNKNOWN, ""
    _, _, match, family = min(found, key=lambda each: (each[0], each[1]))
    version = VERSION.match(short[match.end() :])
    return family, version["version"] if version else ""


def _size_text(size: re.Match[str] | None) -> str:
    if size is None:
        return ""
    return size["size"].upper().replace("X", "x")


def _billions(size: re.Match[str] | None) -> float | None:
    if size is None:
        return None
    scale = {"B": 1.0, "M": 0.001, "T": 1000.0}[size["unit"].upper()]
    return float(size["number"]) * int(size["experts"] or 1) * scale


def _quantization(short: str) -> str:
    match = QUANTIZATION.search(short)
    if match is None:
        return ""
    if match["bits"]:
        return f"{match['bits']}bit" + ("-DWQ" if match["dwq"] else "")
    return match["word"].upper()


def _context(short: str) -> int | None:
    for match in CONTEXT.finditer(short):
        thousands = int(match["number"]) * (KIBI if match["unit"].upper() == "M" else 1)
        if match["unit"].upper() == "K" and thousands >= MIN_CONTEXT_THOUSANDS:
            return thousands * KIBI
        if match["unit"].upper() == "M" and int(match["number"]) in (1, 2, 4, 10):
            return thousands * KIBI
    return None


def _capabilities(short: str, family: str, version: str) -> frozenset[str]:
    for pattern, able in KINDS:
        if re.search(pattern, short, re.IGNORECASE):
            return frozenset(able)
    found = {word for pattern, word in ABILITIES if re.search(pattern, short, re.IGNORECASE)}
    found.add("completion")
    if CHAT.search(short) or not BASE.search(short):
        found.add("chat")
        if family in TOOLS and float(version or 0) >= TOOLS[family]:
            found.add("tools")
    return frozenset(found)
