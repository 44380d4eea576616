"""Downloads a model from Hugging Face into Hugging Face's own cache: pinned, checked, and resumable.

huggingface_hub says what there is and moves the bytes. Its own snapshot download begins a file anew after a
cut, so large files are fetched here into a part that stays, and enter the cache when their hash is right.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from huggingface_hub import HfApi, constants, hf_hub_url, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import http_get, repo_folder_name
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils._headers import build_hf_headers
from huggingface_hub.utils._paths import filter_repo_objects

from inference.errors import DownloadInterrupted, ModelBroken, ModelError, ModelNotFound
from inference.loading.model_folder import DISK_FULL, HUB_IGNORED, HUB_PATTERNS, disk_full
from inference.local.progress import DOWNLOADING, VERIFYING
from ollaproject.wire.sizes import size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inference.local.progress import Progress

CODE_PATTERNS = ("*.py",)
HASH_PIECE_BYTES = 4 * 1024**2
SPARE_DISK_BYTES = 256 * 1024**2
HTTP_UNAUTHORIZED, HTTP_TOO_MANY = 401, 429
SERVER_FAULTS = range(500, 600)
NUMBER_OF_ERROR = re.compile(r"^\[Errno -?\d+\] ")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A model's files at one commit."""

    folder: Path
    commit: str


@dataclass(frozen=True, slots=True)
class LargeFile:
    """A file that the hub names by its SHA-256. `part` is where it grows, `blob` where it belongs."""

    name: str
    size: int
    sha256: str
    blob: Path

    @property
    def part(self) -> Path:
        return self.blob.with_name(f"{self.sha256}.part")

    @property
    def here(self) -> int:
        """How many of its bytes are on the disk."""
        for path in (self.blob, self.part):
            with contextlib.suppress(OSError):
                return path.stat().st_size
        return 0


@dataclass(frozen=True, slots=True)
class Listing:
    """A model's large files at one commit, and the folder of the cache that is theirs."""

    commit: str
    large: list[LargeFile]
    storage: Path

    @property
    def large_bytes(self) -> int:
        return sum(file.size for file in self.large)

    @property
    def missing_bytes(self) -> int:
        return self.large_bytes - sum(file.here for file in self.large)


def fetch(repo: str, *, revision: str, token: str, progress: Progress, with_code: bool = False) -> Snapshot:
    """The files of `repo` at `revision` (empty: main), downloaded as far as they are not here.

    Python files are among them only `with_code`.

    Raises DownloadInterrupted for what may pass by itself, ModelNotFound and ModelBroken for the rest.
    """
    with sentences(repo, revision):
        patterns = [*HUB_PATTERNS, *(CODE_PATTERNS if with_code else ())]
        return _fetch(repo, revision or constants.DEFAULT_REVISION, token or None, progress, patterns)


def _fetch(repo: str, revision: str, token: str | None, progress: Progress, patterns: list[str]) -> Snapshot:
    if constants.HF_HUB_OFFLINE:
        return _what_is_here(repo, revision, patterns)
    listing = list_files(repo, revision, token)
    large = listing.large
    _check_disk(repo, listing.missing_bytes, listing.storage)
    progress.begin(DOWNLOADING, listing.large_bytes, lambda: sum(file.here for file in large))
    for file in large:
        _download(file, hf_hub_url(repo, file.name, revision=listing.commit), token)
    _verify(large, progress)
    folder = snapshot_download(
        repo,
        revision=listing.commit,
        allow_patterns=patterns,
        ignore_patterns=HUB_IGNORED,
        token=token,
    )
    branch = listing.storage / "refs" / revision  # offline, this is how the commit is found again
    branch.parent.mkdir(parents=True, exist_ok=True)
    branch.write_text(listing.commit)
    return Snapshot(Path(folder), listing.commit)


def list_files(repo: str, revision: str, token: str | None) -> Listing:
    """What a model consists of at `revision`, and what of it is here. Raises what the hub's library does."""
    api = HfApi(token=token)
    commit = str(api.model_info(repo, revision=revision).sha)
    files = [
        entry
        for entry in api.list_repo_tree(repo, revision=commit, recursive=True)
        if isinstance(entry, RepoFile)
    ]
    wanted = filter_repo_objects(
        files, allow_patterns=HUB_PATTERNS, ignore_patterns=HUB_IGNORED, key=lambda each: each.path
    )
    storage = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repo, repo_type="model")
    return Listing(commit, [_large(file, storage) for file in wanted if file.lfs is not None], storage)


def _what_is_here(repo: str, revision: str, patterns: list[str]) -> Snapshot:
    folder = Path(
        snapshot_download(
            repo,
            revision=revision,
            allow_patterns=patterns,
            ignore_patterns=HUB_IGNORED,
            local_files_only=True,
        )
    )
    return Snapshot(folder, folder.name)


def _large(file: RepoFile, storage: Path) -> LargeFile:
    about: Any = file.lfs
    return LargeFile(file.path, int(about.size), about.sha256, storage / "blobs" / about.sha256)


def _check_disk(repo: str, missing: int, storage: Path) -> None:
    storage.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(storage).free
    if missing > 0 and missing + SPARE_DISK_BYTES > free:
        raise ModelNotFound(
            f"{repo} needs {size(missing)} more on the disk of {storage.parent}, beside "
            f"{size(SPARE_DISK_BYTES)} to spare, and {size(free)} are free. Make room there, or set HF_HOME "
            "to a folder on another disk."
        )


def _download(file: LargeFile, url: str, token: str | None) -> None:
    if file.blob.exists():
        return
    file.part.parent.mkdir(parents=True, exist_ok=True)
    if file.here > file.size:
        file.part.unlink()
    with file.part.open("ab") as part:
        http_get(
            url,
            part,
            resume_size=file.here,
            headers=build_hf_headers(token=token),
            expected_size=file.size,
            displayed_filename=file.name,
        )


def _verify(files: list[LargeFile], progress: Progress) -> None:
    """Hash every large file, those that others have put into the cache too, and let the new ones in."""
    hashed = 0
    progress.begin(VERIFYING, sum(file.size for file in files), lambda: hashed)
    for file in files:
        path = file.blob if file.blob.exists() else file.part
        digest = hashlib.sha256()
        with path.open("rb") as content:
            while piece := content.read(HASH_PIECE_BYTES):
                digest.update(piece)
                hashed += len(piece)
        if digest.hexdigest() != file.sha256:
            path.unlink()
            raise ModelBroken(
                f"{file.name} is not what Hugging Face announces: its SHA-256 is {digest.hexdigest()[:12]}…, "
                f"not {file.sha256[:12]}…. It was removed. Start again to download it anew."
            )
        path.rename(file.blob)


@contextlib.contextmanager
def sentences(repo: str, revision: str) -> Iterator[None]:
    """What the hub's library raises, as errors of ours that say what to do."""
    try:
        yield
    except ModelError:
        raise
    except HfHubHTTPError as error:
        raise _refusal(repo, revision, error) from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        raise ModelNotFound(
            f"{repo} is not on this machine, and HF_HUB_OFFLINE keeps it from being downloaded."
        ) from error
    except Exception as error:  # errors of the hub's HTTP library, and which library that is varies
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            raise disk_full(repo, constants.HF_HUB_CACHE, error) from error
        if isinstance(error, OSError) and error.filename:
            raise ModelNotFound(
                f"{repo} could not be stored: {error.strerror} ({error.filename})."
            ) from error
        what = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
        raise DownloadInterrupted(
            f"The download of {repo} from {urlsplit(constants.ENDPOINT).hostname} was interrupted: "
            f"{NUMBER_OF_ERROR.sub('', what)}."
        ) from error


def _refusal(repo: str, revision: str, error: HfHubHTTPError) -> ModelNotFound:
    status = error.response.status_code
    if status == HTTP_TOO_MANY:
        asked = error.response.headers.get("retry-after", "")
        return DownloadInterrupted(
            f"Hugging Face limits our requests for {repo} at present.",
            retry_after_seconds=float(asked) if asked.isdigit() else None,
        )
    if status in SERVER_FAULTS:
        return DownloadInterrupted(f"Hugging Face answers {status} for {repo}.")
    sentences: tuple[tuple[type[HfHubHTTPError], str], ...] = (
        (
            GatedRepoError,
            f"{repo} asks for permission: accept its terms on its Hugging Face page, then give the token "
            "of that account.",
        ),
        (
            RepositoryNotFoundError,
            f"There is no model {repo} on Hugging Face, or it is private and the token does not open it.",
        ),
        (RevisionNotFoundError, f"{repo} has no revision {revision!r}. Look at its branches and tags."),
    )
    said = next((sentence for kind, sentence in sentences if isinstance(error, kind)), None)
    if said is None and status == HTTP_UNAUTHORIZED:
        said = f"Hugging Face does not accept the token for {repo}. Enter another one."
    return ModelNotFound(said or f"Hugging Face refuses {repo} with status {status}.")
