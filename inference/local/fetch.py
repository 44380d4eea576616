"""A process of its own that gets a model's files and finds them whole: `python -m inference.local.fetch`.

It reads its job as JSON from standard input, so that no process list shows a token, and writes lines of JSON:
how far it is, and at last `folders` with what is in them, or `failed` with a sentence.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inference.errors import DownloadInterrupted, ModelError, ModelNotFound
from inference.loading import footprint, model_folder
from inference.loading.demo import demo_chat_model, demo_embedding_model
from inference.local.fetch_words import EMBEDDING, Failed, Fetched, Job
from inference.local.progress import DOWNLOADING, VERIFYING, Progress
from ollaproject.parent import end_with_parent

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST_RETRY_AFTER_SECONDS = 5.0


def fetch(job: Job, progress: Progress) -> Fetched:
    """Raises ModelError with a sentence that says what to try."""
    fetched = Fetched(folders={}, facts={}, commit="")
    for role, source in job.sources.items():
        folder, commit = _folder(job, role, source, progress)
        progress.begin(VERIFYING, 0, lambda: 0)
        config = model_folder.read_config(folder)
        model_folder.check_role(config, embeds=role == EMBEDDING, name=folder.name)
        model_folder.check_tokenizer(folder)
        fetched["facts"][role] = footprint.of_folder(folder).as_json()
        fetched["folders"][role] = str(folder)
        fetched["commit"] = fetched["commit"] or commit
    return fetched


def _folder(job: Job, role: str, source: str, progress: Progress) -> tuple[Path, str]:
    if source == model_folder.DEMO:
        progress.begin(DOWNLOADING, 0, lambda: 0)
        demo = demo_embedding_model if role == EMBEDDING else demo_chat_model
        return demo(Path(job.models_dir), progress.count), ""
    path = Path(source).expanduser()
    if path.is_absolute():
        if not path.is_dir():
            raise ModelNotFound(f"There is no folder {source} on this machine.")
        return path, ""
    from inference.local import hub  # noqa: PLC0415 -- half a second that the others spare

    first = next(iter(job.sources)) == role
    found = hub.fetch(
        source,
        revision=job.revision if first else "",
        token=job.token,
        progress=progress,
        with_code=job.with_code and first,
    )
    return found.folder, found.commit


def outcome(job: Job, tell: Callable[[dict[str, Any]], None]) -> Fetched | Failed:
    """As `fetch`, with a failure as a value."""
    try:
        with Progress(tell) as progress:
            return fetch(job, progress)
    except DownloadInterrupted as error:
        return Failed(failed=str(error), again=error.retry_after_seconds or FIRST_RETRY_AFTER_SECONDS)
    except ModelError as error:
        return Failed(failed=str(error), again=None)
    except OSError as error:
        return Failed(failed=f"The files could not be read or stored: {error}.", again=None)


def main() -> None:
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    end_with_parent()
    job = Job(**json.load(sys.stdin))
    print_line(outcome(job, print_line))


def print_line(content: Any) -> None:
    sys.stdout.write(json.dumps(content) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
