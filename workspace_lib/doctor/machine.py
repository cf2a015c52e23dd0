"""The doctor's look at this machine: Python, packages, disk, clock, serial ports, programs."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from workspace_lib.doctor.findings import Finding
from workspace_lib.hostclock import clock_state

PROJECT = "field-workspace"
LOCK = "requirements.lock"
OLDEST_PYTHON = (3, 11)
DISK_NEEDED_BYTES = 500_000_000
DISK_WISHED_BYTES = 5_000_000_000
#: Programs that some jobs or tests use, and Debian's package of each.
OPTIONAL_PROGRAMS = {
    "git": ("git", "runs then do not record the commit"),
    "chromium": ("chromium", "the browser tests need it"),
    "mosquitto": ("mosquitto", "a broker for benches; the MQTT tests need it"),
    "mariadbd": ("mariadb-server", "the tests of the ERP's database need it"),
    "vsftpd": ("vsftpd", "the tests of FTP over TLS need it"),
}
_ENTRY = re.compile(r"([a-z0-9][a-z0-9._-]*)==(\S+?)(?: ; (.+?))? \\?")


@dataclass(frozen=True)
class Pin:
    """A version a lock file names, with the marker that says where it applies."""

    version: str
    marker: str | None = None


def check_python() -> list[Finding]:
    """Check the version of Python."""
    found = f"Python {sys.version.split()[0]} in {sys.prefix}"
    if sys.version_info < OLDEST_PYTHON:
        wanted = ".".join(map(str, OLDEST_PYTHON))
        return [Finding("python", "missing", found, f"Python {wanted} or newer is needed.")]
    return [Finding("python", "ok", found)]


def check_packages(lock: Path) -> list[Finding]:
    """Check what is installed against the project's requirements and against the lock file."""
    try:
        wanted = importlib.metadata.requires(PROJECT) or []
    except importlib.metadata.PackageNotFoundError:
        return [Finding("packages", "missing", f"{PROJECT} is not installed.", "Run: make run")]
    base = [_name(text) for text in wanted if "extra ==" not in text]
    absent = [name for name in base if _installed(name) is None]
    if absent:
        listed = ", ".join(sorted(absent))
        return [Finding("packages", "missing", f"Not installed: {listed}.", "Run: make run")]
    findings = [Finding("packages", "ok", f"{PROJECT} and its {len(base)} base packages")]
    if lock.exists():
        findings.append(_compare_with_lock(read_lock(lock)))
    return findings


def read_lock(path: Path) -> dict[str, list[Pin]]:
    """Return the pins of a lock file by package name."""
    pins: dict[str, list[Pin]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if match := _ENTRY.fullmatch(line):
            pins.setdefault(match[1], []).append(Pin(match[2], match[3]))
    return pins


def check_disk(outputs: Path) -> list[Finding]:
    """Check free space where the site's outputs go, and that they can be written."""
    folder = next(path for path in (outputs, *outputs.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    message = f"{free / 1e9:.1f} GB free for {outputs}"
    findings = []
    if free < DISK_NEEDED_BYTES:
        fix = "Free some: runs fail when nothing can be written."
        findings.append(Finding("disk", "missing", message, fix))
    elif free < DISK_WISHED_BYTES:
        fix = "Free some soon; runs.keep_days and logging.keep_days say how long things are kept."
        findings.append(Finding("disk", "attention", message, fix))
    else:
        findings.append(Finding("disk", "ok", message))
    if not os.access(folder, os.W_OK):
        fix = f"Give it to this user, or set WORKSPACE_OUTPUTS: chown {_user()} {folder}"
        findings.append(Finding("disk", "missing", f"{folder} cannot be written.", fix))
    return findings


def check_clock() -> list[Finding]:
    """Check that the clock is kept in step: stamps of devices are compared with it."""
    state = clock_state()
    if state.synchronized is None:
        return [Finding("clock", "ok", "The system does not say whether its clock is in step.")]
    if not state.synchronized:
        fix = "Start a time service: sudo apt install systemd-timesyncd (or chrony)."
        return [Finding("clock", "attention", "The clock is not kept in step.", fix)]
    return [Finding("clock", "ok", f"In step within {state.max_error_s:.3f} s.")]


def check_serial_ports() -> list[Finding]:
    """List the serial ports of this machine, and whether this user may open them."""
    from serial.tools import list_ports

    findings = []
    for port in sorted(list_ports.comports()):
        if os.name != "nt" and not os.access(port.device, os.R_OK | os.W_OK):
            fix = f"Put the user into the port's group: sudo usermod -aG dialout {_user()}"
            message = f"{port.device} may not be opened."
            findings.append(Finding("serial", "attention", message, fix, needed=False))
        else:
            findings.append(Finding("serial", "ok", f"{port.device} {port.description}"))
    return findings or [Finding("serial", "ok", "No serial port here.", needed=False)]


def check_programs() -> list[Finding]:
    """Look for the optional servers and the browser."""
    findings = []
    for program, (package, why) in OPTIONAL_PROGRAMS.items():
        path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")
        if path:
            findings.append(Finding("programs", "ok", path, needed=False))
        else:
            fix = f"If wanted: sudo apt install {package}"
            message = f"{program} is not installed: {why}."
            findings.append(Finding("programs", "missing", message, fix, needed=False))
    return findings


def _name(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _compare_with_lock(pins: Mapping[str, list[Pin]]) -> Finding:
    found = {name: version for name in pins if (version := _installed(name)) is not None}
    other = [
        f"{name} {version} (locked: {', '.join(pin.version for pin in pins[name])})"
        for name, version in sorted(found.items())
        if version not in {pin.version for pin in pins[name]}
    ]
    if other:
        message = f"{len(other)} packages are not as locked: {'; '.join(other[:5])}"
        fix = "In .venv: remove it and run make run again. In conda: as its solver chose."
        return Finding("packages", "attention", message + (" …" if other[5:] else ""), fix)
    return Finding("packages", "ok", f"{len(found)} packages are as {LOCK} says.")


def _user() -> str:
    return os.environ.get("USER") or os.environ.get("USERNAME") or "$USER"
