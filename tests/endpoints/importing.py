"""Endpoint files as tests import them."""

from __future__ import annotations

from io import StringIO
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command

from endpoints.models import Endpoint

if TYPE_CHECKING:
    from pathlib import Path

SEED = """
endpoints:
  - url: "http://192.168.0.100:8000"
    name: "vllm-mlx-server"
    type: "vllm-mlx"
    priority: 80
    model_url: "/v1/models"
    health_check_url: "/health"
    check_interval: 5s
    check_timeout: 2s
"""


class Importer:
    """Runs the command on a text. `out` and `err` hold what it printed."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "endpoints.yaml"
        self.out = self.err = ""

    def run(self, text: str, **options: Any) -> str:
        self.path.write_text(dedent(text).lstrip("\n"))
        out, err = StringIO(), StringIO()
        try:
            call_command("import_endpoints", str(self.path), stdout=out, stderr=err, **options)
        finally:
            self.out, self.err = out.getvalue(), err.getvalue()
        return self.out

    def refused(self, text: str) -> list[str]:
        """The complaints, without the file's path before the line number."""
        with pytest.raises(CommandError, match="Nothing was imported"):
            self.run(text)
        assert not Endpoint.objects.exists()
        return [line.removeprefix(f"{self.path}:") for line in self.err.splitlines()]

    def one(self, more: str) -> str:
        """The only complaint against one endpoint with the lines `more`, which begin in line 4."""
        text = "endpoints:\n- url: http://127.0.0.1:9\n  name: a\n" + "".join(
            f"  {line}\n" for line in dedent(more).strip("\n").splitlines()
        )
        (complaint,) = self.refused(text)
        return complaint
