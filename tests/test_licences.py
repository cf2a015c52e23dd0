"""Nothing locked forces its licence on who uses the workspace: LGPL is fine, GPL and AGPL not."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

import pytest
from packaging.markers import Marker

from workspace_lib.doctor.machine import read_lock

# What is locked but not installed on every platform, from each project's own licence file.
OF_OTHER_PLATFORMS = {
    "aiohappyeyeballs": "PSF-2.0",
    "aiohttp": "Apache-2.0",
    "aiosignal": "Apache-2.0",
    "appnope": "BSD-2-Clause",
    "colorama": "BSD-3-Clause",
    "frozenlist": "Apache-2.0",
    "httpx2-jsfetch": "BSD-3-Clause",
    "multidict": "Apache-2.0",
    "propcache": "Apache-2.0",
    "pyasynchat": "PSF-2.0",
    "pyasyncore": "PSF-2.0",
    "pywinpty": "MIT",
    "yarl": "Apache-2.0",
}
# Metadata that name no licence; read in the licence file the package brings.
UNSAID = {"pyftpdlib": "MIT"}
# The "lesser" kin of the GPL lets anything be linked to it.
HARMLESS = re.compile(r"LGPL|Lesser General Public", re.IGNORECASE)
FORBIDDEN = re.compile(r"\bA?GPL|GNU (Affero )?General Public", re.IGNORECASE)


def licence_texts(name: str) -> list[str]:
    """Everything the installed package says of its licence."""
    found = metadata(name)
    texts = [found.get("License-Expression"), (found.get("License") or "").split("\n")[0]]
    texts += [text for text in found.get_all("Classifier", []) if text.startswith("License ::")]
    return [text for text in texts if text and text != "UNKNOWN"]


def is_forbidden(texts: list[str]) -> bool:
    """Say whether a GPL is among them; ``MIT OR GPL`` leaves the choice of MIT."""
    return any(
        all(FORBIDDEN.search(HARMLESS.sub("", part)) for part in re.split(r"\s+OR\s+", text))
        for text in texts
    )


@pytest.fixture(scope="module")
def licences(repository: Path) -> dict[str, list[str]]:
    """What each locked package says; the packages of other platforms by the table."""
    found = {}
    for name, pins in read_lock(repository / "requirements-test.lock").items():
        try:
            found[name] = licence_texts(name) or [UNSAID[name]]
        except PackageNotFoundError:
            elsewhere = [pin for pin in pins if pin.marker and not Marker(pin.marker).evaluate()]
            assert elsewhere == pins, f"{name} is locked for this platform but not installed"
            found[name] = [OF_OTHER_PLATFORMS[name]]
    return found


def test_nothing_locked_is_gpl_or_agpl(licences: dict[str, list[str]]) -> None:
    assert {name: texts for name, texts in licences.items() if is_forbidden(texts)} == {}


def test_every_locked_package_says_its_licence(licences: dict[str, list[str]]) -> None:
    assert [name for name, texts in licences.items() if not texts] == []


def test_the_lesser_licences_are_seen_and_pass(licences: dict[str, list[str]]) -> None:
    lesser = {n for n, texts in licences.items() if any(HARMLESS.search(text) for text in texts)}
    assert {"paramiko", "psycopg"} <= lesser


@pytest.mark.parametrize(
    "text",
    [
        "GPL-3.0-or-later",
        "AGPLv3",
        "GPLv2+",
        "License :: OSI Approved :: GNU General Public License v3 (GPLv3)",
        "License :: OSI Approved :: GNU Affero General Public License v3",
    ],
)
def test_a_gpl_is_recognised(text: str) -> None:
    assert is_forbidden([text])


@pytest.mark.parametrize(
    "text",
    [
        "LGPL-3.0-only",
        "License :: OSI Approved :: GNU Lesser General Public License v3 (LGPLv3)",
        "MIT",
        "MIT OR GPL-2.0-or-later",
        "MPL-2.0",
    ],
)
def test_what_is_no_gpl_passes(text: str) -> None:
    assert not is_forbidden([text])


def test_the_project_itself_is_mit(repository: Path) -> None:
    assert (repository / "LICENSE").read_text().startswith("MIT License")
    assert 'license = "MIT"' in (repository / "pyproject.toml").read_text()
