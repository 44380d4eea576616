"""The machine that a supervisor runs on: its name, where its models listen, and where their files lie."""

from __future__ import annotations

import json
import os
import shlex
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings

from inference.local import run
from inference.local.choices import Kind
from inference.local.model_process import Launch
from inference.local.room import room_for_answers
from ollaproject import host_names

if TYPE_CHECKING:
    from inference.models import LocalModel, LocalModelStatus

ANY_ADDRESS = frozenset({"0.0.0.0", "::"})  # noqa: S104
LOOPBACK = "127.0.0.1"
MEGABYTE = 1024**2


@dataclass(frozen=True, slots=True)
class Site:
    """`bind` is where model servers listen, `address` how the gateway reaches them."""

    name: str
    bind: str = LOOPBACK
    address: str = LOOPBACK

    @property
    def run_folder(self) -> Path:
        return settings.OLLA_HOME / "run"

    @property
    def lock(self) -> Path:
        return self.run_folder / "models.lock"

    def run_file(self, model_id: int, port: int) -> Path:
        return self.run_folder / f"model-{model_id}-{port}.json"

    @property
    def is_remote(self) -> bool:
        """Whether the gateway may be on another machine, which cannot read files of this one."""
        return self.address != LOOPBACK

    @property
    def here(self) -> str:
        """Where this machine itself reaches what listens."""
        return LOOPBACK if self.bind in ANY_ADDRESS else self.bind

    def url(self, port: int) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"http://{host}:{port}"

    def launch(self, model: LocalModel, status: LocalModelStatus, *, port: int, key: str) -> Launch:
        folder = status.folder or status.embedding_folder
        command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "serve_model", folder]
        command += ["--port", str(port), "--host", self.bind, "--served-model-name", model.name]
        if model.kind == Kind.EMBEDDING:
            command.append("--embeddings-only")
        elif model.kind == Kind.BOTH:
            command += ["--embedding-model", status.embedding_folder]
            command += ["--served-embedding-name", embedding_name(model, status)]
        command += [*_character(model, status), *_limits(model, status)]
        environment = {
            "OLLA_PROCESS": f"model {model.name}",
            "OLLA_MODEL_API_KEY": key,
            "OLLA_MODEL_API_KEY_FILE": "",
            "HF_HUB_OFFLINE": "1",  # its files are here: it has nothing to ask anyone
            run.FILE_VARIABLE: str(self.run_file(model.pk, port)),
            run.LOCK_VARIABLE: str(self.lock),
        }
        words = [*command, *shlex.split(model.server_options)]
        if model.spread_over:
            words = [*self._together(model, port), "--", *words, "--together", model.spread_through]
        return Launch(tuple(words), environment, log_of(model.pk))

    def _together(self, model: LocalModel, port: int) -> list[str]:
        """What starts the same command on all machines of a model."""
        words = [sys.executable, "-m", "inference.local.spread", "--machines", ",".join(model.spread_over)]
        words += ["--backend", model.spread_through, "--starting-port", str(free_port(self.bind))]
        words += ["--file", str(self.run_folder / f"hosts-{model.pk}-{port}.json")]
        return [*words, *(["--hostfile", model.spread_hostfile] if model.spread_hostfile else [])]


def _character(model: LocalModel, status: LocalModelStatus) -> list[str]:
    """Options that say how the model is to be loaded and spoken to."""
    words: list[str] = []
    if status.draft_folder:
        words += ["--draft-model", status.draft_folder]
    if model.adapter_path:
        words += ["--adapter", str(Path(model.adapter_path).expanduser())]
    if model.chat_template_options:
        words += ["--chat-template-options", json.dumps(model.chat_template_options)]
    if model.runs_own_code:
        words.append("--runs-own-code")
    return words


def _limits(model: LocalModel, status: LocalModelStatus) -> list[str]:
    """Options that say how much it may have of what."""
    found: dict[str, int | None] = {
        "--max-batch-size": model.max_concurrent,
        "--context-length": model.context_limit,
        "--kv-cache-bytes": room_for_answers(model, status) if model.memory_megabytes else None,
        "--disk-cache-bytes": (model.disk_cache_megabytes or 0) * MEGABYTE,
    }
    words = [word for name, value in found.items() if value for word in (name, str(value))]
    if model.prompt_cache_megabytes is not None:
        words += ["--prompt-cache-bytes", str(model.prompt_cache_megabytes * MEGABYTE)]
    if model.disk_cache_megabytes:
        words += ["--disk-cache-dir", str(settings.OLLA_HOME / "prompts" / f"model-{model.pk}")]
    return words


def embedding_name(model: LocalModel, status: LocalModelStatus) -> str:
    """What clients call the embedding model beside a chat model."""
    if model.embedding_source.count("/") == 1 and not os.path.isabs(model.embedding_source):  # noqa: PTH117
        return model.embedding_source
    return status.embedding_folder.rstrip("/").rpartition("/")[2]


def log_of(model_id: int) -> Path:
    """Where the model's server writes. Requests are numbers there, never content."""
    return settings.OLLA_HOME / "logs" / f"model-{model_id}.log"


def fetch_log_of(model_id: int) -> Path:
    return settings.OLLA_HOME / "logs" / f"fetch-{model_id}.log"


def this_host() -> str:
    return host_names.names()[0]


def port_for(at: Site, status: LocalModelStatus) -> int:
    """The one it had, so that its endpoint stays as it was, or any that is free."""
    if status.port and is_free(at.bind, status.port):
        return status.port
    return free_port(at.bind)


def free_port(bind: str) -> int:
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((bind, 0))
        return int(probe.getsockname()[1])


def is_free(bind: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((bind, port))
        except OSError:
            return False
    return True
