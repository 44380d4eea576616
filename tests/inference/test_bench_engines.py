"""The benchmark of engines: it runs without Django, and compares what it says it compares."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
WITHOUT_DJANGO = """
import runpy, sys
for name in ("django", "channels", "uvicorn", "llguidance", "msgspec", "httpx"):
    sys.modules[name] = None
sys.argv = ["bench.inference", *sys.argv[1:]]
runpy.run_module("bench.inference", run_name="__main__")
"""


def test_random_weights_need_mlx_and_mlx_lm_only_and_give_a_table(tmp_path: Path) -> None:
    size = [
        "--random-weights",
        "tiny",
        "--rounds",
        "1",
        "--rows",
        "1",
        "2",
        "--steps",
        "4",
        "--long-tokens",
        "600",
    ]
    command = [sys.executable, "-c", WITHOUT_DJANGO, *size, "--json", str(tmp_path / "figures.json")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    rates = re.findall(
        r"^\| (\d) rows, greedy, tok/s \| ([\d.e+]+) \| ([\d.e+]+) \| ([\d.e+]+) \|",
        done.stdout,
        re.MULTILINE,
    )
    assert [rows for rows, *_ in rates] == ["1", "2"]
    assert all(float(value) > 0 for _, *values in rates for value in values)
    figures = json.loads((tmp_path / "figures.json").read_text())["figures"]
    assert figures["2 rows, greedy, tok/s"].keys() == {"bare step", "ours", "mlx-lm"}
    assert "| first token, 500 tokens, repeated, s |" in done.stdout
    assert "| worst gap while 600 tokens are read, s |" in done.stdout
