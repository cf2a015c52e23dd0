"""Process 0 on a real FTP server: each raw file arrives once, whichever way its gauge delivers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
import yaml

from workspace_lib import simulators
from workspace_lib.errors import ConfigError, SourceError
from workspace_lib.rain import copy_run
from workspace_lib.rain.capture import capture
from workspace_lib.rain.copying import copy
from workspace_lib.rain.days import read_rows
from workspace_lib.rain.loggers import LoggerFile, Loggers, SimulatedGauge
from workspace_lib.rain.settings import load_network
from workspace_lib.rain.simulator import RainSimulator
from workspace_lib.settings import Settings, load_settings
from workspace_lib.store import inventory
from workspace_lib.store.engines import Store, read
from workspace_lib.store.migrate import open_store
from workspace_lib.transports.memory_ftp import MemoryFtp, MemoryTree

pytestmark = pytest.mark.server

START = datetime(2026, 11, 1, tzinfo=UTC)
LATER = START + timedelta(days=1)
BASE, TARGET = "divers/Pluvio_Urbain", "divers/copiePluvio"
GAUGES = [
    SimulatedGauge("hydropolis", "Hydropolis", "Hydropolis", "ARCHIEST"),
    SimulatedGauge("polytech", "Polytech", "Polytech", "LOG002"),
    SimulatedGauge("triolet", "Triolet", "Triolet", "LOG003"),
]
Deliver = Callable[..., list[LoggerFile]]


def set_delivery(site: Settings, **ways: str) -> None:
    """Write the list of gauges; the ways of those not named are direct."""
    listed = [
        {
            "id": gauge.id,
            "name": gauge.logger,
            "folder": gauge.folder,
            "delivery": ways.get(gauge.id, "direct"),
        }
        for gauge in GAUGES
    ]
    (site.site_dir / "gauges.yml").write_text(yaml.safe_dump({"gauges": listed}))


@pytest.fixture
def server() -> Iterator[MemoryFtp]:
    pytest.importorskip("pyftpdlib")
    running = MemoryFtp("gauges")
    running.tree.make_folders(BASE)
    running.tree.make_folders(TARGET)
    yield running
    running.stop()


@pytest.fixture
def site(make_site: Callable[..., Settings], server: MemoryFtp) -> Settings:
    """A site that copies rain within one server."""
    where = {
        "host": "simulator://rain",
        "user": "gauges",
        "password": "secret://DEMO_FTP_PASSWORD",
        "wait_s": 0.05,
    }
    settings = make_site(
        {
            "timezone": "Europe/Paris",
            "sources": {
                "rain": {**where, "folder": f"/{TARGET}"},
                "base": {**where, "folder": f"/{BASE}"},
            },
            "wings": {"rain": {"source": "rain", "copy_from": "base"}},
        }
    )
    announce(settings, server)
    return settings


def announce(settings: Settings, server: MemoryFtp) -> None:
    """Start the server and tell the site where it is."""
    endpoint = server.start()
    password = endpoint.pop("password")
    simulators.announce(settings, "rain", endpoint, {"DEMO_FTP_PASSWORD": password})


@pytest.fixture
def rain_store(site: Settings) -> Iterator[Store]:
    with open_store(site, create=True) as opened:
        yield opened


@pytest.fixture
def deliver(server: MemoryFtp) -> Deliver:
    """Let a gauge deliver its files of some five minutes into folders of the server."""
    loggers = Loggers(GAUGES, seed=1, faults=())
    first = loggers.slot_at(int(START.timestamp()) // 60) + 1

    def put(gauge: str, begin: int, end: int, *folders: str) -> list[LoggerFile]:
        number = [one.id for one in GAUGES].index(gauge)
        files = list(loggers.files(number, first + begin, first + end))
        for file in files:
            for folder in folders:
                server.tree.put(f"{folder}/{file.path}", file.content, file.complete_s)
        return files

    return put


def stored(store: Store, gauge: str) -> list[tuple[int, int]]:
    with read(store.data) as connection:
        rows = read_rows(connection, gauge, 0, 2**62)
    return list(zip((rows["t_us"] // 10**6).tolist(), rows["tips"].tolist(), strict=True))


def rows_of(files: list[LoggerFile]) -> list[tuple[int, int]]:
    return [row for file in files for row in file.rows]


def held(tree: MemoryTree, folder: str) -> dict[str, bytes]:
    files = tree.files()
    return {
        path.removeprefix(f"/{folder}/"): content
        for path, content in files.items()
        if path.startswith(f"/{folder}/")
    }


def test_files_of_chosen_gauges_are_copied_and_no_others(
    site: Settings, rain_store: Store, server: MemoryFtp, deliver: Deliver
) -> None:
    set_delivery(site, hydropolis="copied", polytech="copied")
    files = [deliver(gauge.id, 0, 6, BASE) for gauge in GAUGES]
    report = copy(rain_store, site, now=LATER)
    assert (report.copied, report.listed, report.there, report.failed) == (12, 12, 0, ())
    assert report.files_by_gauge == {"hydropolis": 6, "polytech": 6}
    assert held(server.tree, TARGET) == {
        file.path: file.content for mine in files[:2] for file in mine
    }


def test_what_was_copied_becomes_rows_without_being_fetched_again(
    site: Settings, rain_store: Store, deliver: Deliver
) -> None:
    set_delivery(site, polytech="copied")
    files = deliver("polytech", 0, 12, BASE)
    copy(rain_store, site, now=LATER)
    report = capture(rain_store, site, now=LATER)
    assert (report.listed, report.fetched, report.files_parsed) == (12, 0, 12)
    assert stored(rain_store, "polytech") == rows_of(files)


def test_copying_again_changes_nothing(
    site: Settings, rain_store: Store, server: MemoryFtp, deliver: Deliver
) -> None:
    set_delivery(site, polytech="copied")
    files = deliver("polytech", 0, 6, BASE)
    copy(rain_store, site, now=LATER)
    before = [server.tree.get(f"{TARGET}/{file.path}") for file in files]
    report = copy(rain_store, site, now=LATER + timedelta(minutes=5))
    assert (report.new, report.fetched, report.copied, report.there) == (0, 0, 0, 0)
    assert [server.tree.get(f"{TARGET}/{file.path}") for file in files] == before


def test_what_was_cleared_from_the_target_is_not_copied_again(
    site: Settings, rain_store: Store, server: MemoryFtp, deliver: Deliver
) -> None:
    set_delivery(site, polytech="copied")
    files = deliver("polytech", 0, 6, BASE)
    copy(rain_store, site, now=LATER)
    capture(rain_store, site, now=LATER)
    for file in files:
        server.tree.remove(f"{TARGET}/{file.path}")
    deliver("polytech", 0, 6, BASE)  # touched, with the same bytes
    assert copy(rain_store, site, now=LATER + timedelta(days=1)).copied == 0
    assert held(server.tree, TARGET) == {}


def test_a_file_that_is_still_growing_is_left(
    site: Settings, rain_store: Store, server: MemoryFtp, deliver: Deliver
) -> None:
    set_delivery(site, polytech="copied")
    (file,) = deliver("polytech", 0, 1)
    path, written = f"{BASE}/{file.path}", LATER.timestamp()
    server.tree.put(path, file.content[:40], written - 1)
    assert copy(rain_store, site, now=LATER).waiting == 1
    server.tree.put(path, file.content, written + 30)
    assert copy(rain_store, site, now=LATER + timedelta(seconds=60)).waiting == 1
    assert held(server.tree, TARGET) == {}
    report = copy(rain_store, site, now=LATER + timedelta(seconds=90))
    assert (report.waiting, report.copied) == (0, 1)
    assert held(server.tree, TARGET) == {file.path: file.content}


def test_a_file_that_grew_after_it_was_copied_takes_its_own_place(
    site: Settings, rain_store: Store, server: MemoryFtp, deliver: Deliver
) -> None:
    set_delivery(site, polytech="copied")
    (file,) = deliver("polytech", 0, 1)
    lines = file.content.splitlines(keepends=True)
    server.tree.put(f"{BASE}/{file.path}", b"".join(lines[:2]), file.complete_s)
    copy(rain_store, site, now=LATER)
    capture(rain_store, site, now=LATER)
    server.tree.put(f"{BASE}/{file.path}", file.content, file.complete_s + 60)
    report = copy(rain_store, site, now=LATER)
    captured = capture(rain_store, site, now=LATER)
    assert (report.replaced, report.aside) == (1, 0)
    assert held(server.tree, TARGET) == {file.path: file.content}
    assert stored(rain_store, "polytech") == rows_of([file])
    assert (captured.rows, captured.duplicates, captured.conflicts) == (3, 2, 0)


@pytest.mark.parametrize("setting_first", [True, False])
def test_a_gauge_that_turns_to_direct_delivery_leaves_no_gap(
    setting_first: bool,
    site: Settings,
    rain_store: Store,
    server: MemoryFtp,
    deliver: Deliver,
) -> None:
    """Whether the setting or the gauge changes first; some files go both ways."""
    set_delivery(site, polytech="copied")
    files = deliver("polytech", 0, 10, BASE)
    copy(rain_store, site, now=LATER)
    capture(rain_store, site, now=LATER)
    if setting_first:
        set_delivery(site, polytech="direct")
        files += deliver("polytech", 10, 14, BASE)
        files += deliver("polytech", 14, 16, BASE, TARGET)
    else:
        files += deliver("polytech", 10, 14, BASE, TARGET)
        files += deliver("polytech", 14, 16, TARGET)
        copy(rain_store, site, now=LATER)
        set_delivery(site, polytech="direct")
    files += deliver("polytech", 16, 20, TARGET)
    copied = copy(rain_store, site, now=LATER)
    captured = capture(rain_store, site, now=LATER)
    assert stored(rain_store, "polytech") == rows_of(files)
    assert (captured.duplicates, captured.conflicts, captured.quarantined) == (0, 0, ())
    assert held(server.tree, TARGET) == {file.path: file.content for file in files}
    assert copied.handed_over == (4 if setting_first else 0)
    assert copied.aside == 0


@pytest.mark.parametrize("setting_first", [True, False])
def test_a_gauge_that_turns_to_being_copied_leaves_no_gap(
    setting_first: bool,
    site: Settings,
    rain_store: Store,
    server: MemoryFtp,
    deliver: Deliver,
) -> None:
    set_delivery(site, polytech="direct")
    files = deliver("polytech", 0, 10, TARGET)
    capture(rain_store, site, now=LATER)
    for file in files[:5]:
        server.tree.remove(f"{TARGET}/{file.path}")  # cleared long ago
    if setting_first:
        set_delivery(site, polytech="copied")
        files += deliver("polytech", 10, 14, TARGET)
        copy(rain_store, site, now=LATER)
    deliver("polytech", 3, 10, BASE)  # somebody brought some of the past there too
    files += deliver("polytech", 10 if not setting_first else 14, 20, BASE)
    set_delivery(site, polytech="copied")
    copied = copy(rain_store, site, now=LATER)
    captured = capture(rain_store, site, now=LATER)
    assert stored(rain_store, "polytech") == rows_of(files)
    assert (captured.duplicates, captured.conflicts) == (0, 0)
    assert held(server.tree, TARGET) == {file.path: file.content for file in files[5:]}
    assert (copied.there, copied.aside) == (7, 0)


def test_a_gauge_that_never_was_copied_is_not_touched(
    site: Settings, rain_store: Store, server: MemoryFtp, deliver: Deliver
) -> None:
    set_delivery(site, polytech="direct")
    deliver("polytech", 0, 5, BASE)
    report = copy(rain_store, site, now=LATER)
    assert (report.listed, report.copied, report.gauges) == (0, 0, ())
    assert held(server.tree, TARGET) == {}


def test_a_name_that_the_gauge_filled_otherwise_is_not_overwritten(
    site: Settings, rain_store: Store, server: MemoryFtp, deliver: Deliver
) -> None:
    set_delivery(site, polytech="copied")
    (file,) = deliver("polytech", 0, 1, BASE)
    lines = file.content.splitlines(keepends=True)
    server.tree.put(f"{TARGET}/{file.path}", b"".join(lines[1:]), file.complete_s)
    report = copy(rain_store, site, now=LATER)
    assert report.aside == 1
    assert "from_base" in report.trouble
    folder, _, name = file.path.rpartition("/")
    assert held(server.tree, TARGET) == {
        file.path: b"".join(lines[1:]),
        f"{folder}/from_base/{name}": file.content,
    }
    capture(rain_store, site, now=LATER)
    assert stored(rain_store, "polytech") == rows_of([file])
    assert copy(rain_store, site, now=LATER).aside == 0


def test_a_beginning_of_the_file_on_the_target_is_made_whole(
    site: Settings, rain_store: Store, server: MemoryFtp, deliver: Deliver
) -> None:
    """A direct delivery that was cut, or is still under way."""
    set_delivery(site, polytech="copied")
    (file,) = deliver("polytech", 0, 1, BASE)
    server.tree.put(f"{TARGET}/{file.path}", file.content[:50], file.complete_s)
    report = copy(rain_store, site, now=LATER)
    assert (report.replaced, report.aside) == (1, 0)
    assert held(server.tree, TARGET) == {file.path: file.content}


def test_another_folder_name_in_the_base_is_a_setting(
    site: Settings, rain_store: Store, server: MemoryFtp, deliver: Deliver
) -> None:
    listed = [{"id": "polytech", "name": "Polytech", "folder": "A/Polytech"}]
    listed[0] |= {"delivery": "copied", "base_folder": "old/PLT"}
    (site.site_dir / "gauges.yml").write_text(yaml.safe_dump({"gauges": listed}))
    (file,) = deliver("polytech", 0, 1)
    name = file.path.rpartition("/")[2]
    server.tree.put(f"{BASE}/old/PLT/2026/{name}", file.content, file.complete_s)
    assert copy(rain_store, site, now=LATER).copied == 1
    assert held(server.tree, TARGET) == {f"A/Polytech/2026/{name}": file.content}


def test_a_file_that_cannot_be_put_in_place_is_tried_again(
    site: Settings,
    rain_store: Store,
    server: MemoryFtp,
    deliver: Deliver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_delivery(site, polytech="copied")
    files = deliver("polytech", 0, 4, BASE)
    real = copy_run.upload_verified

    def refuse(source: Any, path: str, content: bytes, **more: Any) -> None:
        if path == files[2].path:
            raise SourceError("The disk of the server is full.")
        real(source, path, content, **more)

    monkeypatch.setattr(copy_run, "upload_verified", refuse)
    report = copy(rain_store, site, now=LATER)
    assert (report.copied, [path for path, _ in report.failed]) == (3, [files[2].path])
    assert not report.complete
    monkeypatch.undo()
    assert copy(rain_store, site, now=LATER).copied == 1
    assert held(server.tree, TARGET) == {file.path: file.content for file in files}


def test_what_was_fetched_is_put_in_place_even_if_the_base_is_lost(
    site: Settings, rain_store: Store, server: MemoryFtp, deliver: Deliver
) -> None:
    set_delivery(site, polytech="copied")
    files = deliver("polytech", 0, 3, BASE)
    copy(rain_store, site, now=LATER)
    for file in files:
        server.tree.remove(f"{TARGET}/{file.path}")
    with rain_store.data.begin() as connection:
        connection.execute(inventory.source_files.delete().where(_of_target()))
        inventory.replay(connection, "base", now=LATER)
    for file in files:
        server.tree.remove(f"{BASE}/{file.path}")
    for folder in (f"{BASE}/Polytech", BASE):
        server.tree.remove_folder(folder)
    with pytest.raises(SourceError):
        copy(rain_store, site, now=LATER)
    assert held(server.tree, TARGET) == {file.path: file.content for file in files}


def _of_target() -> Any:
    return inventory.source_files.c.source == "rain"


def test_the_whole_chain_clears_what_was_copied_and_does_not_copy_it_again(
    served_site: Any,
) -> None:
    served_site.configure(allow_delete=True, trash_folder="trash", folder="/raw")
    path = served_site.settings.site_dir / "site.yml"
    content = yaml.safe_load(path.read_text())
    content["sources"]["base"] = {**content["sources"]["rain"], "folder": "/base"}
    content["wings"]["rain"]["copy_from"] = "base"
    path.write_text(yaml.safe_dump(content))
    set_delivery(served_site.settings, hydropolis="copied")
    settings = load_settings(served_site.settings.site, root=served_site.settings.root)
    served_site.settings, store, tree = settings, served_site.store, served_site.tree
    tree.make_folders("/raw")
    name = "Hydropolis/Hydropol_090124_120000.txt"
    tree.put(f"/base/{name}", b"X, 1704801600, 3, 0, 12.2\n", 1.7e9)
    assert copy(store, settings, now=served_site.now).copied == 1
    served_site.capture()
    served_site.calibrate()
    assert served_site.products().complete
    assert served_site.clear().moved == 1
    assert held(tree, f"raw/trash/{served_site.now:%Y-%m-%d}") == {
        name: b"X, 1704801600, 3, 0, 12.2\n"
    }
    assert copy(store, settings, now=served_site.now).copied == 0
    assert list(held(tree, "base")) == [name]
    assert not [path for path in held(tree, "raw") if path.startswith("Hydropolis")]


def test_every_fault_of_the_loggers_comes_through_the_copy(
    site: Settings, rain_store: Store, server: MemoryFtp
) -> None:
    set_delivery(site, hydropolis="copied", polytech="copied")
    gauges = [
        SimulatedGauge(one.id, f"{TARGET}/{one.folder}", one.logger, one.label, base)
        for one in GAUGES
        for base in [None if one.id == "triolet" else f"{BASE}/{one.folder}"]
    ]
    simulator = RainSimulator(gauges, START, 2, seed=76)
    simulator.tree = server.tree
    simulator.advance_to(START + timedelta(days=2))
    truth, later = simulator.truth(), START + timedelta(days=3)
    report = copy(rain_store, site, now=later)
    captured = capture(rain_store, site, now=later)
    assert report.copied > 500
    assert captured.fetched + report.copied == truth.files
    assert captured.rows == sum(len(gauge.stamps) for gauge in truth.gauges.values())
    for gauge, expected in truth.gauges.items():
        found = stored(rain_store, gauge)
        assert [stamp for stamp, _ in found] == expected.stamps.tolist()
        assert [tips for _, tips in found] == expected.tips.tolist()
    assert (captured.conflicts, captured.set_aside) == (truth.conflicts, truth.set_aside)


def test_progress_and_counts_are_told(site: Settings, rain_store: Store, deliver: Deliver) -> None:
    set_delivery(site, polytech="copied")
    files = deliver("polytech", 0, 3, BASE)
    told: list[tuple[str, float]] = []
    counted: Counter[str] = Counter()
    report = copy(
        rain_store,
        site,
        now=LATER,
        progress=lambda fraction, text: told.append((text, fraction)),
        count=lambda **amounts: counted.update(amounts),
    )
    assert told[-1] == ("copying", 1.0)
    assert counted == {"files": 3, "bytes": sum(len(file.content) for file in files)}
    assert report.to_dict()["complete"] is True
    assert report.to_frame().loc["files of polytech", "rain"] == 3


def test_the_days_of_the_base_are_packed(
    site: Settings, rain_store: Store, deliver: Deliver
) -> None:
    set_delivery(site, polytech="copied")
    files = deliver("polytech", 0, 12, BASE)
    assert copy(rain_store, site, now=START + timedelta(days=5)).packed_days == 1
    capture(rain_store, site, now=START + timedelta(days=5))
    assert np.array_equal(stored(rain_store, "polytech"), rows_of(files))


def test_a_gauge_that_is_to_be_copied_from_nowhere_is_a_mistake_of_the_site(
    make_site: Callable[..., Settings],
) -> None:
    settings = make_site({"sources": {"rain": {"host": "localhost"}}}, name="nowhere")
    set_delivery(settings, polytech="copied")
    with pytest.raises(ConfigError, match="polytech are to be copied"):
        load_network(settings)


def test_a_server_that_is_lost_in_the_middle_is_taken_up_again(
    site: Settings,
    rain_store: Store,
    server: MemoryFtp,
    deliver: Deliver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_delivery(site, polytech="copied")
    files = deliver("polytech", 0, 12, BASE)
    real, sent = copy_run.upload_verified, []

    def lose(source: Any, path: str, content: bytes, **more: Any) -> None:
        sent.append(path)
        if len(sent) == 5:
            server.stop()
        real(source, path, content, **more)

    monkeypatch.setattr(copy_run, "upload_verified", lose)
    with pytest.raises(SourceError):
        copy(rain_store, site, now=LATER)
    monkeypatch.undo()
    there = len(held(server.tree, TARGET))
    assert 0 < there < 12
    announce(site, server)
    report = copy(rain_store, site, now=LATER)
    assert (report.fetched, report.failed) == (0, ())
    assert report.copied + report.there + there >= 12
    assert held(server.tree, TARGET) == {file.path: file.content for file in files}
    assert capture(rain_store, site, now=LATER).duplicates == 0
    assert stored(rain_store, "polytech") == rows_of(files)


def test_a_site_without_a_base_says_what_to_set(make_site: Callable[..., Settings]) -> None:
    settings = make_site({"sources": {"rain": {"host": "localhost"}}}, name="plain")
    set_delivery(settings)
    with open_store(settings, create=True) as store, pytest.raises(ConfigError, match="copy_from"):
        copy(store, settings)


@pytest.mark.parametrize(("target", "base"), [("/", "/x"), ("/a", "/a"), ("/a", "/a/b/")])
def test_a_base_within_the_target_is_refused(
    target: str, base: str, make_site: Callable[..., Settings]
) -> None:
    sources = {
        "rain": {"host": "localhost", "folder": target},
        "base": {"host": "localhost", "folder": base},
    }
    wings = {"rain": {"copy_from": "base"}}
    settings = make_site({"sources": sources, "wings": wings}, name="nested")
    set_delivery(settings)
    with open_store(settings, create=True) as store, pytest.raises(ConfigError, match="within"):
        copy(store, settings)
