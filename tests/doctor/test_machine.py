"""The doctor's look at the machine."""

from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from workspace_lib import hostclock
from workspace_lib.doctor import machine
from workspace_lib.doctor.findings import Finding, is_well
from workspace_lib.doctor.machine import Pin
from workspace_lib.hostclock import ClockState, clock_state

Usage = namedtuple("Usage", "total used free")


def states(findings: list[Finding]) -> list[str]:
    return [finding.state for finding in findings]


def test_this_python_is_new_enough() -> None:
    assert states(machine.check_python()) == ["ok"]


def test_an_old_python_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "OLDEST_PYTHON", (99, 0))
    (finding,) = machine.check_python()
    assert finding.state == "missing"
    assert finding.fix == "Python 99.0 or newer is needed."


def test_packages_here_are_complete(repository: Path) -> None:
    findings = machine.check_packages(repository / "requirements.lock")
    assert findings[0].state == "ok"
    assert [finding.topic for finding in findings] == ["packages", "packages"]


def test_a_package_that_is_not_installed_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(
        machine.importlib.metadata, "requires", lambda name: ["numpy>=2", "no-such-thing>=1"]
    )
    (finding,) = machine.check_packages(tmp_path / "none.lock")
    assert finding.state == "missing"
    assert "no-such-thing" in finding.message
    assert "numpy" not in finding.message


def test_requirements_of_extras_are_not_needed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wanted = ["numpy>=2", 'no-such-thing>=1; extra == "web"']
    monkeypatch.setattr(machine.importlib.metadata, "requires", lambda name: wanted)
    assert states(machine.check_packages(tmp_path / "none.lock")) == ["ok"]


def test_a_version_that_is_not_the_locked_one_wants_attention(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text("numpy==0.1 \\\n    --hash=sha256:00\nno-such-thing==1.0\n")
    finding = machine.check_packages(lock)[1]
    assert finding.state == "attention"
    assert "numpy" in finding.message
    assert "locked: 0.1" in finding.message
    assert "no-such-thing" not in finding.message


def test_a_lock_is_read_with_its_markers(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text(
        "# made by a tool\n"
        "numpy==2.4.6 ; python_full_version < '3.12' \\\n"
        "    --hash=sha256:aa \\\n"
        "    --hash=sha256:bb\n"
        "numpy==2.5.5 ; python_full_version >= '3.12' \\\n"
        "    --hash=sha256:cc\n"
        "tqdm==4.67 \\\n"
        "    --hash=sha256:dd\n"
    )
    assert machine.read_lock(lock) == {
        "numpy": [
            Pin("2.4.6", "python_full_version < '3.12'"),
            Pin("2.5.5", "python_full_version >= '3.12'"),
        ],
        "tqdm": [Pin("4.67")],
    }


@pytest.mark.parametrize(
    ("free", "state"), [(10**8, "missing"), (2 * 10**9, "attention"), (10**11, "ok")]
)
def test_free_space_decides_on_the_disk(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: int, state: str
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(10**12, 0, free))
    assert states(machine.check_disk(tmp_path / "outputs" / "site")) == [state]


def test_an_unwritable_folder_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine.os, "access", lambda folder, mode: False)
    finding = machine.check_disk(tmp_path)[-1]
    assert finding.state == "missing"
    assert str(tmp_path) in finding.message


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (ClockState(True, 0.012), "ok"),
        (ClockState(False), "attention"),
        (ClockState(None), "ok"),
    ],
)
def test_a_clock_out_of_step_wants_attention(
    monkeypatch: pytest.MonkeyPatch, state: ClockState, expected: str
) -> None:
    monkeypatch.setattr(machine, "clock_state", lambda: state)
    assert states(machine.check_clock()) == [expected]


def test_the_kernel_is_asked_for_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    state = clock_state()
    assert state.synchronized in (True, False, None)
    assert (state.max_error_s is None) == (not state.synchronized)
    monkeypatch.setattr(hostclock.sys, "platform", "win32")
    assert clock_state() == ClockState(None)


def test_serial_ports_are_listed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from serial.tools import list_ports

    device = tmp_path / "ttyUSB7"
    device.touch()
    Port = namedtuple("Port", "device description")
    monkeypatch.setattr(list_ports, "comports", lambda: [Port(str(device), "gateway")])
    (finding,) = machine.check_serial_ports()
    assert (finding.state, finding.message) == ("ok", f"{device} gateway")


def test_a_serial_port_that_may_not_be_opened_wants_attention(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from serial.tools import list_ports

    Port = namedtuple("Port", "device description")
    monkeypatch.setattr(list_ports, "comports", lambda: [Port("/dev/ttyUSB7", "gateway")])
    monkeypatch.setattr(machine.os, "access", lambda path, mode: False)
    (finding,) = machine.check_serial_ports()
    assert finding.state == "attention"
    assert finding.fix is not None
    assert "dialout" in finding.fix


def test_an_optional_program_that_is_missing_is_not_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shutil, "which", lambda *args, **options: None)
    findings = machine.check_programs()
    assert set(states(findings)) == {"missing"}
    assert is_well(findings)


def test_something_needed_that_is_missing_is_not_well() -> None:
    assert not is_well([Finding("disk", "missing", "full")])
    assert is_well([Finding("clock", "attention", "not in step")])
