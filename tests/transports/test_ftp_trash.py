"""Clearing a source: off by default, and only what is proved to be in the archive."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from workspace_lib.cli import main
from workspace_lib.errors import ConfigError
from workspace_lib.settings import Settings
from workspace_lib.store import inventory
from workspace_lib.store.engines import Store, read, write
from workspace_lib.store.migrate import open_store
from workspace_lib.transports import ftp_trash
from workspace_lib.transports.ftp_mirror import mirror
from workspace_lib.transports.ftp_trash import TrashReport, trash

pytestmark = pytest.mark.server
NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)


class Site:
    """A server with three files that are fetched and parsed, and a site that may clear it."""

    def __init__(self, server: Any, plant: Callable[..., Settings]) -> None:
        self.server, self._plant = server, plant
        for n in range(3):
            server.put(f"G1/{n}.txt", b"tips %d" % n)
        self.configure()
        self.store: Store = open_store(self.settings, create=True)
        self.mirror()
        self.parse()

    def configure(self, **more: object) -> None:
        allowed: dict[str, object] = {
            "allow_delete": True,
            "trash_folder": "trash",
            "delete_after_days": 30,
        }
        self.settings = self._plant(self.server, **(allowed | more))

    def mirror(self) -> Any:
        return mirror(
            self.store,
            self.settings,
            "plant",
            device_of=lambda path: path.split("/")[0],
            day_of=lambda path: date(2026, 3, 1),
        )

    def parse(self) -> None:
        with write(self.store.data) as connection:
            rows = inventory.pending(connection, "plant", limit=100)
            inventory.mark_parsed(connection, [row.id for row in rows], NOW)

    def trash(self, days: float = 0) -> TrashReport:
        return trash(self.store, self.settings, "plant", now=NOW + timedelta(days=days))

    def states(self) -> dict[str, str]:
        with read(self.store.data) as connection:
            rows = inventory.list_files(connection, "plant")
        return {f"{row.path} {row.version}": row.state for row in rows}

    def files(self) -> dict[str, bytes]:
        root = self.server.root
        return {
            path.relative_to(root).as_posix(): path.read_bytes()
            for path in root.rglob("*")
            if path.is_file()
        }


@pytest.fixture
def site(ftp_server: Callable[..., Any], plant: Callable[..., Settings]) -> Iterator[Site]:
    made = Site(ftp_server(), plant)
    yield made
    made.store.close()


def test_nothing_happens_unless_the_site_allows_it(site: Site) -> None:
    site.configure(allow_delete=False)
    before = site.files()
    asked = len(site.server.commands)
    assert site.trash() == TrashReport("plant", allowed=False)
    assert site.files() == before
    assert len(site.server.commands) == asked


def test_without_a_trash_folder_nothing_is_cleared(site: Site) -> None:
    site.configure(trash_folder=None)
    with pytest.raises(ConfigError, match="trash_folder"):
        site.trash()


def test_verified_files_move_to_the_trash_of_the_day(site: Site) -> None:
    report = site.trash()
    assert (report.moved, report.removed, report.kept) == (3, 0, [])
    assert site.files() == {f"trash/2026-03-10/G1/{n}.txt": b"tips %d" % n for n in range(3)}
    assert set(site.states().values()) == {"deleted"}
    assert site.mirror().listed == 0
    assert site.trash().moved == 0


def test_what_is_not_parsed_stays(site: Site) -> None:
    site.server.put("G1/new.txt", b"new")
    site.mirror()
    assert site.trash().moved == 3
    assert site.files()["G1/new.txt"] == b"new"


def test_a_file_that_changed_on_the_server_stays(site: Site) -> None:
    site.server.put("G1/1.txt", b"tips 1 and more")
    report = site.trash()
    assert report.moved == 2
    assert report.kept == [("G1/1.txt", "it changed since it was fetched")]


def test_a_file_growing_between_listing_and_move_stays(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    prove = ftp_trash._Clearing._prove

    def prove_and_grow(self: Any, row: Any, item: Any) -> None:
        prove(self, row, item)
        site.server.put(row.path, b"grown meanwhile")

    monkeypatch.setattr(ftp_trash._Clearing, "_prove", prove_and_grow)
    report = site.trash()
    assert report.moved == 0
    assert len(report.kept) == 3
    assert set(site.files()) == {"G1/0.txt", "G1/1.txt", "G1/2.txt"}


def test_a_file_whose_archive_is_damaged_stays(site: Site) -> None:
    (site.store.outputs / "raw/plant/G1/2026/03-01/1.txt").write_bytes(b"tips X")
    report = site.trash()
    assert report.moved == 2
    assert [path for path, _ in report.kept] == ["G1/1.txt"]
    assert site.files()["G1/1.txt"] == b"tips 1"


def test_a_file_whose_archive_is_gone_stays(site: Site) -> None:
    (site.store.outputs / "raw/plant/G1/2026/03-01/1.txt").unlink()
    assert site.trash().moved == 2
    assert "G1/1.txt" in site.files()


def test_a_refused_rename_leaves_the_file_where_it_is(site: Site) -> None:
    site.server.faults.refused = {"RNTO": "550 Rename refused."}
    before = site.files()
    report = site.trash()
    assert (report.moved, len(report.kept)) == (0, 3)
    assert site.files() == before
    assert set(site.states().values()) == {"parsed"}


def test_the_trash_is_emptied_after_its_days_and_not_before(site: Site) -> None:
    site.trash()
    assert site.trash(days=29).removed == 0
    assert len(site.files()) == 3
    assert site.trash(days=30).removed == 3
    assert site.files() == {}


def test_what_others_put_into_the_trash_is_left_alone(site: Site) -> None:
    site.trash()
    site.server.put("trash/2026-03-10/G1/foreign.txt", b"not ours")
    site.server.put("trash/2026-03-10/G1/1.txt", b"replaced by somebody")
    site.server.put("trash/notes.txt", b"not ours")
    report = site.trash(days=40)
    assert report.removed == 2
    assert set(site.files()) == {
        "trash/2026-03-10/G1/foreign.txt",
        "trash/2026-03-10/G1/1.txt",
        "trash/notes.txt",
    }


def test_a_path_that_comes_again_the_same_day_finds_room(site: Site) -> None:
    site.trash()
    site.server.put("G1/1.txt", b"second life", age_s=60)
    site.mirror()
    site.parse()
    assert site.trash().moved == 1
    contents = sorted(site.files().values())
    assert contents == [b"second life", b"tips 0", b"tips 1", b"tips 2"]
    assert site.trash(days=30).removed == 4


def test_a_move_that_was_not_noted_is_noted_by_the_next_run(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(inventory, "mark_deleted", killed)
        with pytest.raises(KeyboardInterrupt):
            site.trash()
    assert len(site.files()) == 3
    assert set(site.states().values()) == {"parsed"}
    site.trash()
    assert set(site.states().values()) == {"deleted"}
    assert all(path.startswith("trash/2026-03-10/") for path in site.files())


def test_the_command_clears_and_says_what_stayed(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORKSPACE_ROOT", str(site.settings.root))
    command = ["--site", "testsite", "clear", "plant"]
    site.configure(allow_delete=False)
    assert main(command) == 0
    assert "allow_delete is not set" in capsys.readouterr().out
    site.configure()
    site.server.put("G1/1.txt", b"tips 1 and more")
    assert main(command) == 1
    said = capsys.readouterr().out
    assert "2 files moved to the trash, 0 removed" in said
    assert "kept G1/1.txt: it changed since it was fetched" in said
