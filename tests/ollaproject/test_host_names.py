"""What a machine is called: what it is told by its network, and what a Mac's owner calls it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.conf import settings

from inference.local.site import this_host
from ollaproject import host_names

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("system", "given", "names"),
    [
        ("gateway", "", ["gateway", "gateway.local"]),
        ("Studio.local", "Studio", ["studio", "studio.local"]),
        # FRITZ!Box and many others give a name of their own to whoever asks for an address.
        (
            "studio.fritz.box",
            "Studio",
            ["studio", "studio.local", "studio.fritz.box", "studio.fritz.box.local"],
        ),
        (
            "dhcp-17.example.com",
            "Adas-Mac-mini",
            [
                *("adas-mac-mini", "adas-mac-mini.local"),
                *("dhcp-17.example.com", "dhcp-17.example.com.local"),
                *("dhcp-17", "dhcp-17.local"),
            ],
        ),
        ("gw.example.com", "", ["gw.example.com", "gw.example.com.local", "gw", "gw.local"]),
    ],
)
def test_a_machine_is_known_by_what_its_owner_and_its_network_call_it(
    system: str, given: str, names: list[str]
) -> None:
    assert list(host_names.names_of(system, given)) == names


def test_the_gateway_answers_to_all_of_them_and_models_run_on_the_first() -> None:
    assert set(host_names.names()) <= set(settings.OLLA_ALLOWED_HOSTS)
    assert this_host() == host_names.names()[0]


@pytest.mark.parametrize(
    ("script", "name"), [("echo Adas-Mac-mini", "Adas-Mac-mini"), ("echo LocalHostName: not set; exit 1", "")]
)
def test_macos_is_asked_what_bonjour_announces(
    script: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scutil = tmp_path / "scutil"
    scutil.write_text(f'#!/bin/sh\n[ "$*" = "--get LocalHostName" ] && {{ {script}; }}\n')
    scutil.chmod(0o755)
    monkeypatch.setattr(host_names, "SCUTIL", scutil)

    assert host_names._name_for_bonjour() == name
