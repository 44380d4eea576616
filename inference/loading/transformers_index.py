"""Keeps what transformers would find out anew at each start: which of its modules has which names.

To import names only when they are used, transformers 5 reads all the source below `transformers/models`,
2,800 files, whenever it is imported, and does so twice. That is a tenth of what a small model's start takes.
The answer depends on nothing but these files, so it is asked for once and written down.
"""

from __future__ import annotations

import hashlib
import logging
import sys
from importlib import metadata
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from inference.hardware.made_once import made_once

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

    Structure = dict[frozenset[str], dict[str, set[str]]]
    """What names need to be there, the modules that have such names, and these."""

Plain = list[tuple[list[str], dict[str, set[str]]]]
"""The same for JSON, whose keys are strings."""

logger = logging.getLogger(__name__)

PACKAGE = "transformers"
ASKED_MODULE = f"{PACKAGE}.utils.import_utils"
ASKED_FUNCTION = "define_import_structure"
LISTED = f"{PACKAGE}/models/__init__.py"


def keep(cache_dir: Path) -> None:
    """Have transformers ask a file in `cache_dir`. Call it before anything imports transformers.

    Does nothing where transformers' files are not those of its distribution, as in a checkout.
    """
    if PACKAGE in sys.modules or any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    name = _name_of_index()
    if name is not None:
        sys.meta_path.insert(0, _Finder(cache_dir / name))


def _name_of_index() -> str | None:
    """It holds a digest of the digests of all files, which are in the distribution's RECORD."""
    try:
        record = metadata.distribution(PACKAGE).read_text("RECORD")
    except metadata.PackageNotFoundError:
        return None
    if record is None or f"{LISTED}," not in record:
        return None
    return f"{PACKAGE}-{hashlib.sha256(record.encode()).hexdigest()[:16]}.json"


class _Finder(MetaPathFinder):
    """Finds the one module as Python would, and has it loaded by `_Loader`."""

    def __init__(self, index: Path) -> None:
        self._index = index

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != ASKED_MODULE:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self._index)
        return spec


class _Loader(Loader):
    def __init__(self, loader: Loader, index: Path) -> None:
        self._loader = loader
        self._index = index

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        original = getattr(module, ASKED_FUNCTION, None)  # a later version may do without it
        if original is not None and module.__file__ is not None:
            models = Path(module.__file__).parents[1] / "models"
            setattr(module, ASKED_FUNCTION, _from_index(original, models, self._index))


def _from_index(original: Callable[..., Structure], models: Path, index: Path) -> Callable[..., Structure]:
    """`original`, but that what it says of the folder `models` comes from the file `index`."""

    def define_import_structure(module_path: str | Path, prefix: str | None = None) -> Structure:
        folder = Path(module_path)
        if (folder.parent if folder.name == "__init__.py" else folder) != models:
            return original(module_path, prefix)
        start = "" if prefix is None else f"{prefix}."
        return {
            frozenset(needs): {f"{start}{module}": set(names) for module, names in modules.items()}
            for needs, modules in _read(original, models, index)
        }

    return define_import_structure


def _read(original: Callable[..., Structure], models: Path, index: Path) -> Plain:
    try:
        made = made_once(
            index, lambda draft: draft.write_bytes(msgspec.json.encode(_plain(original(models))))
        )
        return msgspec.json.decode(made.read_bytes(), type=Plain)
    except (OSError, msgspec.DecodeError) as error:
        logger.warning("The start takes longer: %s cannot be used, and may be removed (%s).", index, error)
        return _plain(original(models))


def _plain(structure: Structure) -> Plain:
    return [(sorted(needs), modules) for needs, modules in structure.items()]
