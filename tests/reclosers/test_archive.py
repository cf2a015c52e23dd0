"""The archive's folder: readable by people, never replacing anything, whole after any crash."""

from __future__ import annotations

import errno
import os
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from workspace_lib.errors import ParameterError, StoreError
from workspace_lib.files import sha256_bytes
from workspace_lib.reclosers import archive as archives
from workspace_lib.reclosers.archive import Archive, open_archive
from workspace_lib.reclosers.record import device_time
from workspace_lib.reclosers.settings import Recloser
from workspace_lib.settings import Settings
from workspace_lib.store import raw

LAV_101 = Recloser(id="LAV-101", ced="LAV", name="Boulevard north", remote=False)
BASE = "260802,111007260,-4,Boulevard-north,LAV-101,,AG-T"


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    """An empty archive of relays that keep the time of Montréal."""
    return Archive(tmp_path / "events", zone=ZoneInfo("America/Toronto"))


def files_of(archive: Archive) -> dict[str, bytes]:
    """Every file under the archive's root."""
    return {
        path.relative_to(archive.root).as_posix(): path.read_bytes()
        for path in sorted(archive.root.rglob("*"))
        if path.is_file()
    }


def test_a_file_lies_under_territory_recloser_and_year(archive: Archive) -> None:
    kept = archive.put(LAV_101, 2026, f"{BASE}.cev", b"event")
    assert kept.path == f"LAV/LAV-101/2026/{BASE}.cev"
    assert (kept.size, kept.sha256) == (5, sha256_bytes(b"event"))
    assert archive.read(kept.path, kept.sha256) == b"event"


def test_the_name_tells_when_where_and_what(archive: Archive) -> None:
    when = device_time(datetime(2026, 8, 2, 11, 10, 7), 260_000_000, 3)
    assert archive.base_name(LAV_101, when, "AG T") == BASE


def test_a_recloser_may_keep_a_zone_of_its_own(archive: Archive) -> None:
    far = Recloser(id="X1", ced="EST", remote=False, timezone="America/St_Johns")
    when = device_time(datetime(2026, 1, 2, 3, 4, 5), 0, 3)
    assert archive.base_name(far, when, "") == "260102,030405000,-3h30,EST,X1,"


def test_an_hour_that_comes_twice_is_taken_as_its_first(archive: Archive) -> None:
    twice = device_time(datetime(2026, 11, 1, 1, 30), 0, 3)
    assert archive.instant(LAV_101, twice) == datetime(2026, 11, 1, 5, 30, tzinfo=UTC)


def test_an_hour_that_is_left_out_goes_on_as_before(archive: Archive) -> None:
    never = device_time(datetime(2026, 3, 8, 2, 30), 0, 3)
    assert archive.instant(LAV_101, never) == datetime(2026, 3, 8, 7, 30, tzinfo=UTC)


def test_the_same_content_twice_is_one_file(archive: Archive) -> None:
    first = archive.put(LAV_101, 2026, f"{BASE}.cev", b"event")
    assert archive.put(LAV_101, 2026, f"{BASE}.cev", b"event") == first
    assert len(files_of(archive)) == 1


def test_other_content_gets_a_second_name_and_replaces_nothing(archive: Archive) -> None:
    first = archive.put(LAV_101, 2026, f"{BASE}.cev", b"event")
    second = archive.put(LAV_101, 2026, f"{BASE}.cev", b"another")
    assert second.path.startswith(f"LAV/LAV-101/2026/{BASE}~")
    assert archive.read(first.path, first.sha256) == b"event"
    assert archive.put(LAV_101, 2026, f"{BASE}.cev", b"another") == second


def test_files_of_one_event_keep_one_base_name(archive: Archive) -> None:
    archive.put(LAV_101, 2026, f"{BASE}.dat", b"of another event")
    kept = archive.put_set(
        LAV_101, 2026, BASE, [("cfg", b"channels"), ("dat", b"samples"), ("hdr", b"summary")]
    )
    bases = {one.path.rpartition(".")[0] for one in kept}
    assert len(bases) == 1
    assert bases != {f"LAV/LAV-101/2026/{BASE}"}


def test_the_configuration_of_a_record_appears_last(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    named: list[str] = []
    move = raw.move_new

    def watched(part: Path, target: Path) -> bool:
        named.append(target.suffix)
        return move(part, target)

    monkeypatch.setattr(archives, "move_new", watched)
    archive.put_set(LAV_101, 2026, BASE, [("cfg", b"c"), ("dat", b"d"), ("hdr", b"h")])
    assert named[-1] == ".cfg"


def test_what_never_came_whole_lies_apart(archive: Archive) -> None:
    tries = [archive.quarantine(LAV_101, BASE, [("cev", bad)]) for bad in (b"1", b"2", b"1")]
    assert tries[0] == tries[2] != tries[1]
    assert all(one.path.startswith("LAV/LAV-101/quarantine/") for (one,) in tries)
    assert len(files_of(archive)) == 2


def test_a_changed_file_is_noticed(archive: Archive) -> None:
    kept = archive.put(LAV_101, 2026, f"{BASE}.cev", b"event")
    (archive.root / kept.path).write_bytes(b"EVENT")
    with pytest.raises(StoreError, match="was changed"):
        archive.read(kept.path, kept.sha256)


def test_a_missing_file_is_told(archive: Archive) -> None:
    with pytest.raises(StoreError, match="cannot be read"):
        archive.read("LAV/LAV-101/2026/none.cev", "0" * 64)


def test_no_path_leads_out_of_the_archive(archive: Archive) -> None:
    with pytest.raises(ParameterError):
        archive.read("../secret", "0" * 64)


def test_a_changed_file_is_never_replaced(archive: Archive) -> None:
    kept = archive.put(LAV_101, 2026, f"{BASE}.cev", b"event")
    (archive.root / kept.path).write_bytes(b"changed by somebody")
    again = archive.put(LAV_101, 2026, f"{BASE}.cev", b"event")
    assert again.path != kept.path
    assert set(files_of(archive).values()) == {b"changed by somebody", b"event"}
    (archive.root / again.path).write_bytes(b"that one too")
    with pytest.raises(StoreError, match="was changed"):
        archive.put(LAV_101, 2026, f"{BASE}.cev", b"event")


def test_a_share_without_hard_links_serves_as_well(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(errno.ENOTSUP, "no hard links here")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    first = archive.put(LAV_101, 2026, f"{BASE}.cev", b"event")
    second = archive.put(LAV_101, 2026, f"{BASE}.cev", b"another")
    assert files_of(archive) == {first.path: b"event", second.path: b"another"}


def test_a_share_whose_folders_cannot_be_flushed_serves_as_well(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path) -> None:
        raise OSError(errno.EINVAL, "not a folder to flush")

    monkeypatch.setattr(archives, "fsync_directory", refuse)
    assert archive.put(LAV_101, 2026, f"{BASE}.cev", b"event").size == 5


def test_a_share_that_is_away_is_told(tmp_path: Path) -> None:
    (tmp_path / "events").write_text("in the way")
    with pytest.raises(StoreError, match="cannot be written"):
        Archive(tmp_path / "events").put(LAV_101, 2026, f"{BASE}.cev", b"event")


def test_a_full_disk_leaves_nothing_half(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(paths: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(archives, "flush", full)
    with pytest.raises(StoreError, match="No space"):
        archive.put(LAV_101, 2026, f"{BASE}.cev", b"event")
    assert files_of(archive) == {}


def test_what_a_crash_left_is_swept_and_what_is_being_written_stays(archive: Archive) -> None:
    kept = archive.put(LAV_101, 2026, f"{BASE}.cev", b"event")
    folder = (archive.root / kept.path).parent
    old, fresh = folder / ".0.aaaaaaaa.part", folder / ".0.bbbbbbbb.part"
    for part in (old, fresh):
        part.write_bytes(b"half")
    os.utime(old, (0, 0))
    assert archive.sweep(LAV_101) == 1
    assert set(files_of(archive)) == {kept.path, fresh.relative_to(archive.root).as_posix()}


def test_nothing_is_swept_where_nothing_is_yet(archive: Archive) -> None:
    assert archive.sweep(LAV_101) == 0


def test_the_root_is_a_setting(settings: Settings, tmp_path: Path) -> None:
    assert open_archive(settings).root == settings.outputs_dir / "raw" / "reclosers"


def test_the_root_may_be_on_a_share_which_is_never_made_where_it_is_away(
    make_site: object, tmp_path: Path
) -> None:
    share = tmp_path / "share"
    site = {
        "timezone": "America/Toronto",
        "wings": {"reclosers": {"archive": str(share), "company": "Utility"}},
    }
    found = open_archive(make_site(site))  # type: ignore[operator]
    assert (found.root, found.company, str(found.zone)) == (share, "Utility", "America/Toronto")
    with pytest.raises(StoreError, match="is not there"):
        found.put(LAV_101, 2026, f"{BASE}.cev", b"event")
    assert not share.exists()
    share.mkdir()
    assert found.put(LAV_101, 2026, f"{BASE}.cev", b"event").size == 5
