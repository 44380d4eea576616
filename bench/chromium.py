"""The Chromium of this machine, for what a test or a picture needs a browser for."""

from __future__ import annotations

import shutil

COMMANDS = ("chromium", "chromium-browser", "google-chrome")
ON_MACOS = (
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)


def chromium() -> str | None:
    """Its path, None when it is not installed."""
    return next((path for name in (*COMMANDS, *ON_MACOS) if (path := shutil.which(name))), None)
