"""A server on loopback that speaks the hub's HTTP as far as a download needs it, and breaks it on request."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

COMMIT = "c0ffee" * 6 + "c0ff"
LARGE = ".safetensors"


class Hub(ThreadingHTTPServer):
    """Offers `folder` as house/tiny. `cut_after`: the large file breaks off after so many bytes, each time,
    or stands still there if it `stalls`.

    `ranges` are the Range headers that were sent for it.
    """

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.folder = folder
        self.commit = COMMIT
        self.cut_after: int | None = None
        self.stalls = False
        self.over = threading.Event()
        self.lies_about_hash = False
        self.announced_size: int | None = None
        self.ranges: list[str] = []
        self.tokens: set[str] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> Hub:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.shutdown()
        self.server_close()

    def sha256(self, path: Path) -> str:
        return "0" * 64 if self.lies_about_hash else hashlib.sha256(path.read_bytes()).hexdigest()


class Request(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def log_message(self, *_: object) -> None:
        """No access log."""

    def _answer(self, *, with_body: bool) -> None:
        path = self.path.partition("?")[0]
        if token := self.headers.get("Authorization"):
            self.server.tokens.add(token)
        refusals: dict[str, tuple[int, dict[str, str]]] = {
            "house/private": (401, {"X-Error-Code": "RepoNotFound"}),
            "house/absent": (404, {"X-Error-Code": "RepoNotFound"}),
            "house/gated": (403, {"X-Error-Code": "GatedRepo"}),
            "house/locked": (401, {}),
            "house/busy": (429, {"Retry-After": "7"}),
            "house/broken": (500, {}),
        }
        refused = next((answer for name, answer in refusals.items() if name in path), None)
        if refused is not None:
            self._send(refused[0], b"", refused[1], with_body=with_body)
        elif found := re.fullmatch(rf"/house/tiny/resolve/{self.server.commit}/(.+)", path):
            self._file(found[1], with_body=with_body)
        elif path.startswith("/api/models/house/tiny/revision/gone"):
            self._send(404, b"", {"X-Error-Code": "RevisionNotFound"}, with_body=with_body)
        elif path.startswith("/api/models/house/tiny/tree/"):
            self._send(200, json.dumps(self._tree()).encode(), {}, with_body=with_body)
        elif path.startswith("/api/models/house/tiny"):
            about = {"id": "house/tiny", "sha": self.server.commit, "siblings": []}
            self._send(200, json.dumps(about).encode(), {}, with_body=with_body)
        else:
            self._send(404, b"", {}, with_body=with_body)

    def _file(self, name: str, *, with_body: bool) -> None:
        file = self.server.folder / name
        content = file.read_bytes()
        headers = {
            "ETag": f'"{self._blob(file)}"',
            "X-Repo-Commit": self.server.commit,
            "Accept-Ranges": "bytes",
        }
        status, wanted = 200, self.headers.get("Range", "")
        if with_body and name.endswith(LARGE):
            self.server.ranges.append(wanted)
            if wanted:
                begin = int(wanted.removeprefix("bytes=").rstrip("-"))
                headers["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
                status, content = 206, content[begin:]
        self._send(status, content, headers, with_body=with_body, cut=name.endswith(LARGE))

    def _tree(self) -> list[dict[str, Any]]:
        return [self._entry(file) for file in sorted(self.server.folder.iterdir())]

    def _entry(self, file: Path) -> dict[str, Any]:
        size = file.stat().st_size
        entry: dict[str, Any] = {"type": "file", "path": file.name, "size": size, "oid": _git_id(file)}
        if file.suffix == LARGE:
            size = self.server.announced_size or size
            entry["lfs"] = {"oid": self.server.sha256(file), "size": size, "pointerSize": 134}
        return entry

    def _blob(self, file: Path) -> str:
        return self.server.sha256(file) if file.suffix == LARGE else _git_id(file)

    def _send(
        self, status: int, content: bytes, headers: dict[str, str], *, with_body: bool, cut: bool = False
    ) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if not with_body:
            return
        after = self.server.cut_after if cut else None
        self.wfile.write(content if after is None else content[:after])
        if after is not None and self.server.stalls:
            self.server.over.wait(60)
        self.close_connection = True


def _git_id(file: Path) -> str:
    return hashlib.sha1(file.read_bytes(), usedforsecurity=False).hexdigest()
