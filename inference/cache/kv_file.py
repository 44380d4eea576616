"""What a model knows of a run of tokens as a file: safetensors, with the model's fingerprint and a checksum.

Imports mlx: loaded by the model process only. The format is written and read here, not by mlx, so that
writing needs no thread of its own inside MLX, and so that a damaged file is found out before anything is made
of it.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten
from mlx_lm import __version__ as mlx_lm_version
from mlx_lm.models import cache as kinds

from inference.cache.kept_state import Span, State

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = "olla-kv-1"
LENGTH_BYTES = 8
SAMPLE_BYTES = 1024**2
MOST_HEADER_BYTES = 16 * 1024**2
PRIVATE = 0o600  # what people wrote can be read out of it
# safetensors' names for types, and how numpy holds them: it knows no bfloat16.
TYPES: dict[str, tuple[Any, Any]] = {
    "F32": (mx.float32, np.float32),
    "F16": (mx.float16, np.float16),
    "BF16": (mx.bfloat16, np.uint16),
    "I32": (mx.int32, np.int32),
    "I64": (mx.int64, np.int64),
    "U8": (mx.uint8, np.uint8),
    "U32": (mx.uint32, np.uint32),
    "BOOL": (mx.bool_, np.bool_),
}
NAMES = {mlx_type: name for name, (mlx_type, _) in TYPES.items()}


class BadFile(Exception):
    """The file is not what it should be; the message says in which way."""


@dataclass(frozen=True, slots=True)
class Head:
    """What a file is about: `tokens` from the beginning, of which it holds those from `start` on."""

    tokens: np.ndarray[tuple[int], np.dtype[np.uint32]]
    start: int
    fingerprint: str
    nbytes: int

    @property
    def end(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True, slots=True)
class Contents:
    """Everything that a file will hold, computed already: it may be written on any thread."""

    tokens: np.ndarray[tuple[int], np.dtype[np.uint32]]
    start: int
    arrays: dict[str, Any]  # numpy, as it is stored, by name
    types: dict[str, str]
    state: Any  # JSON

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self.arrays.values())


def contents_of(tokens: Any, start: int, span: Span, state: State | None) -> Contents:
    """For a file of `tokens`, of which `span` holds those from `start` on. It waits for the device."""
    arrays: dict[str, Any] = {}
    for layer, keys, values in span.layers:
        arrays[f"{layer}.keys"], arrays[f"{layer}.values"] = keys, values
    state_json = [] if state is None else [_stateful(layer, cache, arrays) for layer, cache in state.layers]
    types = {name: NAMES[array.dtype] for name, array in arrays.items()}
    stored = {name: _to_numpy(array) for name, array in arrays.items()}
    return Contents(np.asarray(tokens, dtype=np.uint32), start, stored, types, state_json)


def write(path: Path, contents: Contents, fingerprint: str) -> int:
    """Write the file as a whole or not at all; its size in bytes. OSError when it cannot be written."""
    header: dict[str, Any] = {}
    checksum, place = 0, 0
    arrays = {"tokens": contents.tokens, **contents.arrays}
    for name, array in arrays.items():
        checksum = zlib.crc32(array, checksum)
        kind = contents.types.get(name, "U32")
        header[name] = {
            "dtype": kind,
            "shape": list(array.shape),
            "data_offsets": [place, place + array.nbytes],
        }
        place += array.nbytes
    header["__metadata__"] = {
        "format": FORMAT,
        "fingerprint": fingerprint,
        "start": str(contents.start),
        "state": json.dumps(contents.state),
        "checksum": str(checksum),
    }
    head = json.dumps(header).encode()
    partial = path.with_suffix(f".{os.getpid()}.part")
    try:
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE), "wb") as file:  # noqa: PTH123
            file.write(len(head).to_bytes(LENGTH_BYTES, "little") + head)
            for array in arrays.values():
                file.write(array.data)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path.stat().st_size


def read_head(path: Path) -> Head:
    """What the file is about. BadFile or OSError; the arrays are not looked at."""
    with path.open("rb") as file:
        header, begin = _header(file.read(LENGTH_BYTES), file.read)
        first, last = header["tokens"]["data_offsets"]
        file.seek(begin + first)
        tokens = np.frombuffer(file.read(last - first), dtype=np.uint32)
        size = os.fstat(file.fileno()).st_size
    if size != begin + max(entry["data_offsets"][1] for name, entry in header.items() if name[:2] != "__"):
        raise BadFile("it is not as long as its header says")
    metadata = header["__metadata__"]
    return Head(tokens, int(metadata["start"]), metadata["fingerprint"], size)


def read(path: Path) -> tuple[Span, State | None]:
    """The span and the state in the file. BadFile when it is damaged, OSError when it is not there."""
    data = memoryview(path.read_bytes())
    place = LENGTH_BYTES

    def take(count: int) -> bytes:
        nonlocal place
        place += count
        return bytes(data[place - count : place])

    header, begin = _header(bytes(data[:LENGTH_BYTES]), take)
    metadata = header.pop("__metadata__")
    if zlib.crc32(data[begin:]) != int(metadata["checksum"]):
        raise BadFile("its checksum is wrong")
    arrays = {name: _from_bytes(data[begin:], entry) for name, entry in header.items() if name != "tokens"}
    layers = sorted(int(name.split(".")[0]) for name in arrays if name.endswith(".keys"))
    span = Span(tuple((layer, arrays[f"{layer}.keys"], arrays[f"{layer}.values"]) for layer in layers))
    stateful = json.loads(metadata["state"])
    if not stateful:
        return span, None
    caches = [(one["layer"], getattr(kinds, one["kind"]), one["state"]) for one in stateful]
    return span, State(
        tuple((layer, kind.from_state(_decoded(state, arrays))) for layer, kind, state in caches)
    )


def fingerprint_of(folder: Path, model: Any, *, adapter: Path | None = None) -> str:
    """A name for the model in `folder` as it is computed here: its configuration, its weights and those of
    its `adapter` by their sizes and by how they begin and end, the types that they have been given, and what
    computes with them.
    """
    parts = [
        (folder / "config.json").read_bytes(),
        mlx_lm_version.encode(),
        str(mx.default_device()).encode(),
    ]
    leaves: Any = tree_flatten(model.parameters())
    parts.append(json.dumps([[name, str(array.dtype), array.shape] for name, array in leaves]).encode())
    folders = (folder,) if adapter is None else (folder, adapter)
    for file in [file for each in folders for file in sorted(each.glob("*.safetensors"))]:
        size = file.stat().st_size
        with file.open("rb") as weights:
            parts += [f"{file.name} {size}".encode(), weights.read(SAMPLE_BYTES)]
            weights.seek(max(size - SAMPLE_BYTES, 0))
            parts.append(weights.read())
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(LENGTH_BYTES, "little") + part)
    return digest.hexdigest()[:32]


def _header(length: bytes, take: Any) -> tuple[dict[str, Any], int]:
    size = int.from_bytes(length, "little")
    if len(length) < LENGTH_BYTES or not 0 < size <= MOST_HEADER_BYTES:
        raise BadFile("it has no header")
    try:
        header = json.loads(take(size))
        if header["__metadata__"]["format"] != FORMAT:
            raise BadFile("it is of another version")
        int(header["__metadata__"]["start"])
    except (ValueError, KeyError, TypeError) as error:
        raise BadFile("its header is damaged") from error
    return header, LENGTH_BYTES + size


def _to_numpy(array: Any) -> Any:
    _, numpy_type = TYPES[NAMES[array.dtype]]
    plain = array.view(mx.uint16) if array.dtype == mx.bfloat16 else array
    return np.ascontiguousarray(np.asarray(plain, dtype=numpy_type))


def _from_bytes(data: memoryview, entry: dict[str, Any]) -> Any:
    first, last = entry["data_offsets"]
    mlx_type, numpy_type = TYPES[entry["dtype"]]
    array = mx.array(np.frombuffer(data[first:last], dtype=numpy_type).reshape(entry["shape"]))
    return array.view(mx.bfloat16) if mlx_type == mx.bfloat16 else array


def _stateful(layer: int, cache: Any, arrays: dict[str, Any]) -> dict[str, Any]:
    """A cache as JSON; its arrays are put into `arrays`, and named."""

    def encoded(value: Any) -> Any:
        if isinstance(value, mx.array):
            name = f"{layer}.state.{len(arrays)}"
            arrays[name] = value
            return {"array": name}
        if isinstance(value, list | tuple):
            return [encoded(one) for one in value]
        return value  # a number, a word or nothing

    return {"layer": layer, "kind": type(cache).__name__, "state": encoded(cache.state)}


def _decoded(value: Any, arrays: dict[str, Any]) -> Any:
    if isinstance(value, dict):
        return arrays[value["array"]]
    return [_decoded(one, arrays) for one in value] if isinstance(value, list) else value
