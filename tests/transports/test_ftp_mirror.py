"""Mirroring: what is taken when, what is left, and what the archive holds in the end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from workspace_lib.errors import ConfigError, SourceError, StoreError
from workspace_lib.settings import Settings
from workspace_lib.store import inventory, raw
from workspace_lib.store.engines import Store, read
from workspace_lib.store.migrate import open_store
from workspace_lib.transports import fetching, ftp_mirror
from workspace_lib.transports.file_source import FileSource, SourceUnreachable, open_source
from workspace_lib.transports.ftp_mirror import (
    MirrorReport,
    mirror,
    only_mirror,
    pack_closed_days,
    upload,
)

pytestmark = pytest.mark.server
Start = Callable[..., Any]
Plant = Callable[..., Settings]
Run = Callable[..., MirrorReport]
DAY = date(2026, 3, 1)


class Site:
    """A server, a site that points to it, and its store."""

    def __init__(self, server: Any, plant: Plant) -> None:
        self.server, self._plant = server, plant
        self.configure()
        self.store: Store = open_store(self.settings, create=True)

    def configure(self, **more: object) -> None:
        """Change settings of the source."""
        self.settings = self._plant(self.server, **more)

    def mirror(self, **more: Any) -> MirrorReport:
        options = {"device_of": lambda path: path.split("/")[0], "day_of": lambda path: DAY}
        return mirror(self.store, self.settings, "plant", **(options | more))

    def held(self) -> dict[str, bytes]:
        """What the archive holds, by path, read back."""
        with read(self.store.data) as connection:
            rows = inventory.pending(connection, "plant", limit=100_000)
        assert len({row.path for row in rows}) == len(rows)
        return {row.path: raw.get(self.store, str(row.raw_ref)) for row in rows}

    def served(self) -> dict[str, bytes]:
        """What the server holds, by path."""
        root = self.server.root
        files = (path for path in root.rglob("*") if path.is_file())
        return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


@pytest.fixture
def site(ftp_server: Start, plant: Plant) -> Iterator[Site]:
    made = Site(ftp_server(), plant)
    yield made
    made.store.close()


def fill(site: Site, number: int) -> None:
    for n in range(number):
        site.server.put(f"G{n % 3}/A0 {n:04}é.txt", b"tips %d" % n)


def test_all_files_come_and_come_once(site: Site) -> None:
    fill(site, 30)
    first = site.mirror()
    assert (first.listed, first.new, first.fetched, first.left) == (30, 30, 30, 0)
    assert first.bytes == sum(len(content) for content in site.served().values())
    assert site.held() == site.served()
    second = site.mirror()
    assert (second.listed, second.known, second.fetched) == (30, 30, 0)
    assert site.server.count("RETR") == 30


def test_the_archive_knows_device_and_day(site: Site) -> None:
    site.server.put("G7/a.txt", b"1")
    site.mirror()
    assert (site.store.outputs / "raw/plant/G7/2026/03-01/a.txt").read_bytes() == b"1"


def test_a_site_on_postgresql_is_filled_the_same_way(
    ftp_server: Start, make_site: Callable[..., Settings], postgres_url: str
) -> None:
    server = ftp_server()

    def on_postgresql(server: Any, **more: object) -> Settings:
        return make_site(server.site(**more) | {"store": {"url": postgres_url}})

    site = Site(server, on_postgresql)
    with site.store:
        fill(site, 30)
        assert site.mirror().fetched == 30
        assert site.mirror().known == 30
        assert site.held() == site.served()


@pytest.mark.parametrize("connections", [1, 4])
def test_a_source_gets_as_many_connections_as_it_allows(
    site: Site, monkeypatch: pytest.MonkeyPatch, connections: int
) -> None:
    opened: list[str] = []

    def counted(settings: Settings, name: str, **more: Any) -> FileSource:
        opened.append(name)
        return open_source(settings, name, **more)

    for module in (ftp_mirror, fetching):
        monkeypatch.setattr(module, "open_source", counted)
    site.configure(connections=connections)
    fill(site, 60)
    assert site.mirror().fetched == 60
    assert len(opened) == 1 + connections
    assert site.server.most_sessions <= connections
    assert site.held() == site.served()


def test_a_fresh_file_waits_until_it_stands_still(site: Site) -> None:
    site.configure(stable_after_s=600)
    path = site.server.put("G1/a.txt", b"half", age_s=5)
    report = site.mirror()
    assert (report.waiting, report.fetched) == (1, 0)
    path.write_bytes(b"half and whole")
    assert site.mirror().waiting == 1
    assert site.mirror().fetched == 1
    assert site.held() == {"G1/a.txt": b"half and whole"}


def test_an_old_file_is_taken_at_once(site: Site) -> None:
    site.configure(stable_after_s=600)
    site.server.put("G1/a.txt", b"1", age_s=1200)
    assert site.mirror().fetched == 1


def test_a_changed_file_comes_as_a_new_version(site: Site) -> None:
    site.server.put("G1/a.txt", b"one", age_s=7200)
    site.mirror()
    site.server.put("G1/a.txt", b"one and two", age_s=3600)
    report = site.mirror()
    assert (report.new, report.fetched) == (1, 1)
    with read(site.store.data) as connection:
        rows = inventory.list_files(connection, "plant")
    assert [raw.get(site.store, str(row.raw_ref)) for row in rows] == [b"one", b"one and two"]


@pytest.mark.parametrize(
    "name", ["G1/a.part", "G1/a.txt.tmp", "G1/.hidden", "G1/a.filepart", "G1/a.incomplete"]
)
def test_unfinished_files_are_left_alone(site: Site, name: str) -> None:
    site.server.put(name, b"1")
    report = site.mirror()
    assert (report.listed, report.ignored, report.fetched) == (0, 1, 0)


def test_only_what_is_selected_is_taken(site: Site) -> None:
    fill(site, 9)
    report = site.mirror(select=lambda path: path.startswith("G1/"))
    assert (report.fetched, report.ignored) == (3, 6)
    assert site.mirror(folder="G2").fetched == 3
    assert set(site.held()) == {path for path in site.served() if not path.startswith("G0/")}


def test_our_own_uploads_and_trash_are_not_taken(site: Site) -> None:
    site.configure(upload_folder="results", trash_folder="/trash")
    for path in ("results/a.txt", "trash/2026-01-01/b.txt", "G1/c.txt"):
        site.server.put(path, b"1")
    assert site.mirror().listed == 1


def test_a_run_is_bounded_and_the_next_goes_on(site: Site) -> None:
    fill(site, 25)
    site.configure(slice_files=10)
    assert [(report.fetched, report.left) for report in (site.mirror() for _ in range(4))] == [
        (10, 15),
        (10, 5),
        (5, 0),
        (0, 0),
    ]
    assert site.held() == site.served()


def test_large_files_come_by_a_part_file(site: Site) -> None:
    content = bytes(range(256)) * 12_000
    site.server.put("G1/big.log", content)
    site.server.faults.cuts["big.log"] = [1_000_000]
    site.server.faults.cut_ends = "dies"
    assert site.mirror().bytes == len(content)
    assert site.held() == {"G1/big.log": content}
    assert list((site.store.outputs / "incoming" / "plant").iterdir()) == []


def test_empty_files_come_too(site: Site) -> None:
    site.server.put("G1/empty.txt", b"")
    assert site.mirror().fetched == 1
    assert site.held() == {"G1/empty.txt": b""}


@pytest.mark.parametrize("ends", ["lies", "says", "dies"])
def test_a_file_that_always_breaks_does_not_hold_the_others(site: Site, ends: str) -> None:
    fill(site, 12)
    site.server.faults.cut_ends = ends
    site.server.faults.cuts["A0 0004é.txt"] = [2, 0, 0]
    report = site.mirror()
    assert report.fetched == 11
    assert [path for path, _ in report.failed] == ["G1/A0 0004é.txt"]
    assert report.left == 0
    assert "G1/A0 0004é.txt" not in site.held()
    assert site.mirror().fetched == 1
    assert site.held() == site.served()


def test_a_file_that_vanished_since_the_listing_is_told(site: Site) -> None:
    fill(site, 3)
    gone = site.server.root / "G1" / "A0 0001é.txt"
    site.server.faults.before_retr = lambda path: gone.unlink(missing_ok=True)
    report = site.mirror()
    assert report.fetched == 2
    assert [path for path, _ in report.failed] == ["G1/A0 0001é.txt"]


def test_a_file_that_grows_while_it_is_read_waits(site: Site) -> None:
    path = site.server.put("G1/a.log", b"x" * 5000)

    def grow(path: Path) -> None:
        with path.open("ab") as stream:
            stream.write(b"more")

    site.server.faults.during_retr = grow
    report = site.mirror()
    assert (report.fetched, report.waiting, report.failed) == (0, 1, [])
    assert site.held() == {}
    site.server.faults.during_retr = None
    assert site.mirror().fetched == 1
    assert site.held() == {"G1/a.log": path.read_bytes()}


def test_a_folder_that_cannot_be_listed_is_told_and_nothing_is_forgotten(site: Site) -> None:
    fill(site, 6)
    site.mirror()
    for path in (site.server.root / "G1").iterdir():
        path.unlink()
    site.server.faults.empty_is_550 = "550 Permission denied."
    report = site.mirror()
    assert [path for path, _ in report.failed] == ["G1"]
    assert len(site.held()) == 6


def test_fewer_connections_where_the_server_is_full(ftp_server: Start, plant: Plant) -> None:
    site = Site(ftp_server(per_client=2), plant)
    site.configure(connections=5, attempts=30)
    with site.store:
        fill(site, 40)
        assert site.mirror().fetched == 40
        assert site.held() == site.served()


def test_a_source_that_breaks_again_and_again_ends_the_run(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "GIVE_UP_AFTER", 5)
    site.configure(connections=1, attempts=1)
    fill(site, 30)
    for path in site.served():
        site.server.faults.cuts[path.split("/")[1]] = [0]
    with pytest.raises(SourceUnreachable, match="5 transfers broke"):
        site.mirror()
    assert site.server.count("RETR") < 15
    site.server.faults.cuts.clear()
    assert site.mirror().fetched == 30


def test_what_arrived_before_the_server_died_is_kept(site: Site) -> None:
    site.configure(connections=1)
    fill(site, 30)
    taken = 0

    def die(path: Path) -> None:
        nonlocal taken
        taken += 1
        if taken == 10:
            site.server.faults.refused = {"USER": "421 Going down."}
            site.server.faults.cut_ends = "dies"
            site.server.faults.cuts[path.name] = [0]

    site.server.faults.before_retr = die
    with pytest.raises(SourceError):
        site.mirror()
    assert len(site.held()) == 9
    site.server.faults.refused = {}
    site.server.faults.before_retr = None
    assert site.mirror().fetched == 21
    assert site.held() == site.served()


def test_stopping_ends_between_two_files_and_the_next_run_goes_on(site: Site) -> None:
    site.configure(connections=1)
    fill(site, 20)
    stop = threading.Event()
    seen = 0

    def halt(path: Path) -> None:
        nonlocal seen
        seen += 1
        if seen == 5:
            stop.set()

    site.server.faults.before_retr = halt
    report = site.mirror(stop=stop)
    assert report.stopped
    assert report.fetched < 20
    assert report.fetched + report.left == 20
    assert site.mirror().fetched == report.left
    assert site.held() == site.served()


class Bar:
    """What tqdm offers, as far as it is needed."""

    def __init__(self) -> None:
        self.total: float | None = None
        self.seen = 0.0
        self.threads: set[int] = set()

    def update(self, n: float | None = 1) -> None:
        self.seen += n or 0
        self.threads.add(threading.get_ident())


def test_progress_counts_all_bytes_in_the_calling_thread(site: Site) -> None:
    fill(site, 20)
    site.server.put("G1/big.log", b"x" * 3_000_000)
    bar = Bar()
    report = site.mirror(progress=bar)
    assert bar.total == bar.seen == report.bytes
    assert bar.threads == {threading.get_ident()}


def test_a_tqdm_bar_is_a_progress(site: Site) -> None:
    from tqdm import tqdm

    fill(site, 3)
    with tqdm(unit="B", disable=False, file=Path("/dev/null").open("w")) as bar:
        site.mirror(progress=bar)
        assert bar.n == bar.total > 0


def test_two_mirrors_of_one_source_do_not_mix(site: Site) -> None:
    with only_mirror(site.store.outputs, "plant"), pytest.raises(SourceError, match="another"):
        site.mirror()
    assert site.mirror().listed == 0


def test_leftovers_of_an_earlier_run_are_cleared(site: Site) -> None:
    leftover = site.store.outputs / "incoming" / "plant" / "x.part"
    leftover.parent.mkdir(parents=True)
    leftover.write_bytes(b"half")
    site.mirror()
    assert not leftover.exists()


def test_a_disk_that_takes_nothing_ends_the_run_and_loses_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(site, 5)

    def full(*args: object) -> list[str]:
        raise StoreError("The raw archive cannot be written: no space.")

    with monkeypatch.context() as patch:
        patch.setattr(raw, "put_many", full)
        with pytest.raises(StoreError, match="no space"):
            site.mirror()
    assert site.mirror().fetched == 5
    assert site.held() == site.served()


def test_a_missing_root_folder_is_an_error(site: Site) -> None:
    site.configure(folder="/nowhere")
    with pytest.raises(SourceError, match="cannot be listed"):
        site.mirror()


@pytest.mark.slow
def test_of_ten_thousand_files_in_a_folder_a_slice_comes_in_batches(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(10_000):
        (site.server.root / f"{n:05}.txt").write_bytes(b"tips %d" % n)
    site.configure(slice_files=1200)
    batches: list[int] = []
    register = inventory.register_fetched

    def counted(connection: Any, source: str, fetched: Any, now: datetime) -> int:
        batches.append(len(fetched))
        return register(connection, source, fetched, now)

    monkeypatch.setattr(inventory, "register_fetched", counted)
    report = site.mirror(device_of=lambda path: "G1")
    assert (report.listed, report.fetched, report.left) == (10_000, 1200, 8800)
    assert site.server.count("MLSD") == 1
    assert sum(batches) == 1200
    assert max(batches) <= 500
    served = site.served()
    assert site.held() == {path: served[path] for path in sorted(served)[:1200]}


def test_closed_days_are_packed_and_open_ones_are_not(site: Site) -> None:
    fill(site, 6)
    site.mirror()
    midnight = datetime(2026, 3, 2, tzinfo=UTC)
    assert pack_closed_days(site.store, "plant", midnight + timedelta(hours=35)) == []
    packed = pack_closed_days(site.store, "plant", midnight + timedelta(hours=36))
    assert len(packed) == 3
    assert site.held() == site.served()


def test_uploads_arrive_under_the_upload_folder(site: Site) -> None:
    site.configure(upload_folder="results")
    bar = Bar()
    done = upload(site.settings, "plant", {"2026/sums.csv": b"1;2", "b.csv": b""}, progress=bar)
    assert done == ["results/2026/sums.csv", "results/b.csv"]
    assert site.served() == {"results/2026/sums.csv": b"1;2", "results/b.csv": b""}
    assert bar.total == bar.seen == 3


def test_a_source_without_an_upload_folder_takes_none(site: Site) -> None:
    with pytest.raises(ConfigError, match="upload_folder"):
        upload(site.settings, "plant", {"a": b"1"})
