"""Files that people fetched by hand are taken in once, as if the relay had given them."""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import delete, select

from workspace_lib.cli import main
from workspace_lib.errors import FormatError, ParameterError
from workspace_lib.reclosers.archive import Archive, open_archive
from workspace_lib.reclosers.cev import parse_cev
from workspace_lib.reclosers.comtrade_write import to_cff, write_comtrade
from workspace_lib.reclosers.import_report import ImportReport
from workspace_lib.reclosers.importing import import_folder
from workspace_lib.reclosers.keeping import keep_event, known_keys
from workspace_lib.reclosers.relay import Manners
from workspace_lib.reclosers.relay_capture import visit_relay
from workspace_lib.reclosers.relay_commands import Command
from workspace_lib.reclosers.relay_plan import FetchedEvent
from workspace_lib.reclosers.settings import Recloser, load_fleet
from workspace_lib.reclosers.simulator import RelaySpec, make_events
from workspace_lib.reclosers.tables import recloser_events, recloser_files
from workspace_lib.settings import Settings
from workspace_lib.store.engines import read, write
from workspace_lib.store.migrate import open_store

NOW = datetime(2026, 3, 2, tzinfo=UTC)
FLEET = [
    {"id": "LAV-101", "ced": "LAV", "name": "Boulevard north", "remote": False},
    {"id": "LAV-102", "ced": "LAV", "name": "Île Jésus", "remote": False},
    {"id": "MAT-7", "ced": "MAT", "name": "STATION A", "remote": False},
]
EVENTS = make_events("351R", 4)
Take = Callable[..., ImportReport]


class Hands:
    """A site, and a folder that somebody filled by hand."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings, self.folder = settings, folder
        folder.mkdir()
        reclosers = settings.site_dir / "reclosers.yml"
        reclosers.write_text(yaml.safe_dump({"reclosers": FLEET}, allow_unicode=True))
        self.store = open_store(settings, create=True)

    @property
    def archive(self) -> Archive:
        """The site's archive."""
        return open_archive(self.settings)

    def recloser(self, name: str = "LAV-101") -> Recloser:
        """A recloser of the site."""
        return load_fleet(self.settings).recloser(name)

    def put(self, path: str, content: bytes | str) -> Path:
        """Put a file into the folder."""
        place = self.folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content.encode() if isinstance(content, str) else content)
        return place

    def take(self, **options: Any) -> ImportReport:
        """Import the folder."""
        return import_folder(self.store, self.settings, self.folder, **{"now": NOW, **options})

    def rows(self, table: Any = recloser_events) -> list[dict[str, Any]]:
        """Every row of a table, in the order of its key."""
        with read(self.store.data) as connection:
            found = connection.execute(select(table).order_by(*table.primary_key.columns))
            return [dict(row._mapping) for row in found]

    def everything(self) -> dict[str, Any]:
        """All that is kept: rows, and the files of the archive with their bytes."""
        return {
            "events": self.rows(),
            "files": self.rows(recloser_files),
            "archive": tree(self.archive.root),
        }


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its bytes."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def hands(make_site: Callable[..., Settings], tmp_path: Path) -> Iterator[Hands]:
    """A site with three reclosers, and an empty folder."""
    made = Hands(make_site({"timezone": "America/Toronto"}), tmp_path / "by hand")
    yield made
    made.store.close()


def test_a_report_in_the_folder_of_its_recloser_is_taken_in(hands: Hands) -> None:
    event = EVENTS[0]
    hands.put("MAT-7/Event 1.CEV", event.cev_of("C"))
    report = hands.take()
    assert (report.count("taken"), report.complete) == (1, True)
    (row,) = hands.rows()
    assert (row["recloser"], row["state"], row["origin"]) == ("MAT-7", "whole", "import")
    assert (row["event"], row["model"]) == (event.type, "SEL-351R")
    assert row["location"] == event.location
    assert row["targets"] == (event.targets or None)
    (file,) = hands.rows(recloser_files)
    assert file["name"] == "Event 1.CEV"
    assert hands.archive.read(file["path"], file["sha256"]) == event.cev_of("C")


def test_doing_it_twice_changes_nothing(hands: Hands) -> None:
    for number, event in enumerate(EVENTS):
        hands.put(f"MAT-7/{number}.cev", event.cev_of("C"))
    hands.take()
    before, originals = hands.everything(), tree(hands.folder)
    again = hands.take(now=datetime(2026, 3, 3, tzinfo=UTC))
    assert (again.count("taken"), again.count("known"), again.complete) == (0, 4, True)
    assert hands.everything() == before
    assert tree(hands.folder) == originals


def test_the_relay_is_not_asked_for_what_was_fetched_by_hand(
    hands: Hands, reach: Callable[..., Any], patient: Manners
) -> None:
    relay = reach(RelaySpec(events=list(EVENTS)))
    for number, event in enumerate(EVENTS[:2]):
        hands.put(f"MAT-7/{number}.cev", event.cev_of("C"))
    lines = ["#,DATE,TIME,EVENT"]
    lines += [f"1,{one.time:%m/%d/%y},{one.key[0][11:]},{one.type}" for one in EVENTS[2:]]
    hands.put("MAT-7/Events.csv", "\n".join(lines))
    assert hands.take().complete
    with relay.line() as line:
        visit = visit_relay(
            line, known_keys(hands.store, "MAT-7"), password=lambda: "OTTER", manners=patient
        )
    assert (visit.outcome, visit.known, visit.events) == ("done", len(EVENTS), [])
    said = relay.simulator.truth().commands
    assert not any(command.startswith("CEV") for command in said)


def test_what_a_relay_gave_is_known_to_an_import(
    hands: Hands, reach: Callable[..., Any], patient: Manners
) -> None:
    relay = reach(RelaySpec(events=list(EVENTS)))
    recloser = hands.recloser("MAT-7")

    def keep(event: FetchedEvent) -> None:
        keep_event(hands.store, hands.archive, recloser, event, now=NOW)

    with relay.line() as line:
        visit_relay(
            line,
            (),
            password=lambda: "OTTER",
            manners=patient,
            keep=keep,
        )
    before = hands.everything()
    for number, event in enumerate(EVENTS):
        hands.put(f"MAT-7/{number}.cev", event.cev_of("C"))
        hands.put(f"MAT-7/other {number}.cev", event.cev_of("S4"))
    report = hands.take()
    assert (report.count("taken"), report.complete) == (0, True)
    assert hands.everything() == before


def test_it_says_the_same_of_an_event_as_the_relays_list(
    hands: Hands, reach: Callable[..., Any], patient: Manners
) -> None:
    relay = reach(RelaySpec(events=list(EVENTS)))
    recloser = hands.recloser("MAT-7")

    def keep(event: FetchedEvent) -> None:
        keep_event(hands.store, hands.archive, recloser, event, now=NOW)

    with relay.line() as line:
        visit_relay(line, (), password=lambda: "OTTER", manners=patient, keep=keep)
    for number, event in enumerate(EVENTS):
        hands.put(f"LAV-101/{number}.cev", event.cev_of("C"))
    hands.take(recloser="LAV-101")
    told = (
        "device_us", "event", "triggered", "state", "model", "fid", "location", "current_a",
        "frequency_hz", "shot", "targets",
    )  # fmt: skip
    rows: dict[str, list[list[Any]]] = {}
    for row in sorted(hands.rows(), key=lambda row: row["device_us"]):
        rows.setdefault(row["recloser"], []).append([row[name] for name in told])
    assert rows["LAV-101"] == rows["MAT-7"]


@pytest.mark.parametrize(
    "path",
    [
        "MAT-7/1.cev",
        "mat 7/1.cev",
        "MAT-7_2026-03-01.cev",
        "260301,075000000,-5,Somewhere,MAT-7,Utility.cev",
        "Station A/deep/er/1.cev",
        "MAT/7/1.cev",
        "MAT/7.cev",
        "1.cev",
    ],
)
def test_folders_names_or_the_content_tell_the_recloser(hands: Hands, path: str) -> None:
    hands.put(path, EVENTS[0].cev_of("C"))
    assert hands.take().complete
    assert hands.rows()[0]["recloser"] == "MAT-7"


def test_accents_and_capitals_make_no_difference(hands: Hands) -> None:
    hands.put("ILE JESUS/Events.csv", "DATE,TIME,EVENT\n3/1/26,07:50:00.123,AG T\n")
    assert hands.take().complete
    assert hands.rows()[0]["recloser"] == "LAV-102"


def test_a_file_of_nobody_is_told_and_not_taken_in(hands: Hands) -> None:
    hands.put("somewhere/1.csv", "DATE,TIME,EVENT\n3/1/26,07:50:00.123,AG T\n")
    report = hands.take()
    assert not report.complete
    assert "somewhere/1.csv" in report.text()
    assert hands.rows() == []


def test_a_folder_and_a_content_that_disagree_are_told(hands: Hands) -> None:
    hands.put("LAV-101/1.cev", EVENTS[0].cev_of("C"))
    report = hands.take()
    (line,) = report.of("unclear")
    assert "LAV-101" in line.why
    assert "MAT-7" in line.why
    assert hands.rows() == []


def test_who_says_the_recloser_is_believed(hands: Hands) -> None:
    hands.put("anywhere/1.cev", EVENTS[0].cev_of("C"))
    assert hands.take(recloser="LAV-101").complete
    assert hands.rows()[0]["recloser"] == "LAV-101"


def test_only_reclosers_of_the_territory_are_meant(hands: Hands) -> None:
    hands.put("MAT-7/1.csv", "DATE,TIME,EVENT\n3/1/26,07:50:00.123,AG T\n")
    assert hands.take(ced="LAV").count("unclear") == 1
    with pytest.raises(ParameterError, match="no territory 'XYZ'"):
        hands.take(ced="XYZ")


def test_a_damaged_file_lies_in_quarantine_and_the_relay_is_asked_for_it(hands: Hands) -> None:
    content = EVENTS[0].cev_of("C").replace(b"INST", b"INSX", 1)
    path = hands.put("MAT-7/1.cev", content)
    report = hands.take()
    (line,) = report.of("damaged")
    assert "checksum" in line.why
    assert not report.complete
    assert path.read_bytes() == content
    assert [name for name in tree(hands.archive.root) if "quarantine" in name]
    assert known_keys(hands.store, "MAT-7") == frozenset()
    before = hands.everything()
    hands.take()
    assert hands.everything() == before


def test_a_report_that_was_cut_is_damaged(hands: Hands) -> None:
    content = EVENTS[0].cev_of("C")
    hands.put("MAT-7/1.cev", content[: len(content) // 2])
    assert hands.take().count("damaged") == 1


def test_what_a_terminal_puts_around_a_report_does_no_harm(hands: Hands) -> None:
    content = EVENTS[0].cev_of("C").replace(b"\r\n", b"\n")
    hands.put("MAT-7/capture.txt", b"CEV 1\n\x02" + content + b"\x03\n=>\n=>QUI\n")
    report = hands.take()
    assert report.complete, report.text()
    assert hands.rows()[0]["state"] == "whole"


def test_files_of_a_record_are_one_event_with_the_report(hands: Hands) -> None:
    event = EVENTS[0]
    hands.put("MAT-7/1.cev", event.cev_of("C"))
    write_comtrade(parse_cev(event.cev_of("C")).data, hands.folder / "MAT-7", "HR_10001")
    assert hands.take().complete
    (row,) = hands.rows()
    assert row["event"] == event.type
    assert {file["kind"] for file in hands.rows(recloser_files)} == {"cev", "cfg", "dat"}
    assert hands.take().count("known") == 2


def test_a_record_that_comes_later_joins_its_report(hands: Hands) -> None:
    event = EVENTS[0]
    hands.put("MAT-7/1.cev", event.cev_of("C"))
    hands.take()
    write_comtrade(parse_cev(event.cev_of("C")).data, hands.folder / "MAT-7", "HR_10001")
    assert hands.take().complete
    assert len(hands.rows()) == 1
    assert [file["kind"] for file in hands.rows(recloser_files)] == ["cev", "cfg", "dat"]


def test_a_record_without_a_type_gets_it_from_the_relay(hands: Hands) -> None:
    event = EVENTS[0]
    record = parse_cev(event.cev_of("C")).data
    hands.put("MAT-7/1.cff", to_cff(record))
    assert hands.take().complete
    assert [row["event"] for row in hands.rows()] == [""]
    hands.put("MAT-7/1.cev", event.cev_of("C"))
    hands.take()
    (row,) = hands.rows()
    assert row["event"] == event.type
    assert {file["kind"] for file in hands.rows(recloser_files)} == {"cev", "cff"}


def test_a_record_without_samples_is_told(hands: Hands) -> None:
    record = parse_cev(EVENTS[0].cev_of("C")).data
    _, dat = write_comtrade(record, hands.folder, "MAT-7_1")
    dat.rename(dat.with_name("elsewhere.dat"))
    report = hands.take()
    assert {line.path for line in report.of("unclear")} == {"MAT-7_1.cfg", "elsewhere.dat"}
    assert hands.rows() == []


def test_a_list_makes_events_known_without_files(hands: Hands) -> None:
    hands.put(
        "LAV-101/Events.csv",
        "\ufeffNo;Date;Heure;Type;Courant;Cibles\r\n"
        "1;25/12/2025;23:59:59,999;BG T;1480,5;INST 51\r\n"
        "2;24/12/2025;01:02:03,004;ER;;\r\n",
    )
    report = hands.take()
    assert (report.count("listed"), report.complete) == (2, True)
    first, second = sorted(hands.rows(), key=lambda row: row["device_us"], reverse=True)
    assert (first["state"], first["event"], first["current_a"]) == ("summary", "BG T", 1480.5)
    assert first["triggered"] == datetime(2025, 12, 26, 4, 59, 59, 999_000, tzinfo=UTC)
    assert second["targets"] is None
    assert known_keys(hands.store, "LAV-101") == {
        ("2025-12-25T23:59:59.999", "BG T"),
        ("2025-12-24T01:02:03.004", "ER"),
    }


def test_one_list_may_be_of_many_reclosers(hands: Hands) -> None:
    hands.put(
        "all.csv",
        "LCLCL,DATE,TIME,EVENT\nLAV-101,3/1/26,07:50:00.123,AG T\n"
        "Ile Jesus,3/1/26,07:50:00.125,AG T\nXYZ,3/1/26,07:50:00.127,AG T\n",
    )
    report = hands.take()
    assert [row["recloser"] for row in hands.rows()] == ["LAV-101", "LAV-102"]
    (line,) = report.of("unclear")
    assert "line 4" in line.why


def test_a_time_without_milliseconds_is_told_and_not_taken_in(hands: Hands) -> None:
    hands.put("LAV-101/Events.csv", "DATE,TIME,EVENT\n3/1/26,07:50:00,AG T\n")
    (line,) = hands.take().of("unclear")
    assert "milliseconds" in line.why
    assert hands.rows() == []


def test_answers_to_his_and_chi_are_lists_too(hands: Hands, reach: Callable[..., Any]) -> None:
    relay = reach(RelaySpec(events=list(EVENTS)))
    with relay.session() as session:
        for verb, path in (("HIS", "MAT-7/his.txt"), ("CHI", "MAT-7/chi.txt")):
            hands.put(path, session.ask(Command(verb)).content)
    report = hands.take()
    assert report.complete, report.text()
    assert report.count("listed") == len(EVENTS)
    assert known_keys(hands.store, "MAT-7") == {event.key for event in EVENTS}


def test_rows_of_a_list_that_came_damaged_are_told(hands: Hands, reach: Callable[..., Any]) -> None:
    relay = reach(RelaySpec(events=list(EVENTS)))
    with relay.session() as session:
        content = session.ask(Command("CHI")).content
    kind = EVENTS[0].type.encode()
    hands.put("MAT-7/chi.txt", content.replace(kind, b"X" + kind[1:], 1))
    report = hands.take()
    (line,) = report.of("unclear")
    assert "checksum" in line.why
    assert report.count("listed") == len(EVENTS) - 1


def test_a_file_that_changes_meanwhile_is_left_for_the_next_time(
    hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = hands.put("MAT-7/1.cev", EVENTS[0].cev_of("C"))
    reads = Path.read_bytes

    def read_and_change(self: Path) -> bytes:
        content = reads(self)
        if self == path:
            path.write_bytes(content + b"\r\n")
        return content

    monkeypatch.setattr(Path, "read_bytes", read_and_change)
    (line,) = hands.take().of("unclear")
    assert "changed meanwhile" in line.why
    monkeypatch.undo()
    assert hands.take().count("taken") == 1


def test_hostile_files_end_as_events_as_damage_or_as_told(hands: Hands) -> None:
    dice = random.Random(7)
    table = b"DATE;TIME;EVENT\r\n25/12/2025;23:59:59.007;BG T\r\n" * 3
    sources = [(".cev", EVENTS[0].cev_of("S4")), (".csv", table)]
    cfg, dat = write_comtrade(parse_cev(EVENTS[0].cev_of("S4")).data, hands.folder, "whole")
    sources += [(".cfg", cfg.read_bytes()), (".cff", to_cff(parse_cev(sources[0][1]).data))]
    for one in (cfg, dat):
        one.unlink()
    for number in range(120):
        ending, content = dice.choice(sources)
        damaged = bytearray(content)
        for _ in range(dice.randint(1, 8)):
            at = dice.randrange(len(damaged))
            damaged[at : at + dice.choice((0, 1, 60))] = dice.choice(
                (b"", b'"', b",", b"9" * 30, b"\x00", b"\r", bytes(damaged[:90]))
            )
        hands.put(f"MAT-7/{number}{ending}", bytes(damaged))
    report = hands.take()
    assert {line.path.partition(".")[0] for line in report.lines} <= {
        f"MAT-7/{number}" for number in range(120)
    }
    assert len({line.path for line in report.lines}) + report.ignored == 120
    before = hands.everything()
    hands.take()
    assert hands.everything() == before


def test_real_files_are_taken_in_once(hands: Hands, real_data: Path) -> None:
    def take() -> ImportReport:
        folder = real_data / "recloser"
        return import_folder(hands.store, hands.settings, folder, recloser="LAV-101", now=NOW)

    first = take()
    damaged = {line.path for line in first.of("damaged")}
    unclear = {line.path.partition("/")[0]: line.why for line in first.of("unclear")}
    assert "zs_cff_2013/ascii_cff_2013.cff" in damaged  # 186 of 45,600 samples are there
    assert "trigger is not known" in unclear["plotxy_bad_date"]
    assert "DAT" in unclear["pc_sample_utf8"]
    assert first.count("taken") >= 20
    before = hands.everything()
    again = take()
    assert again.count("taken") == again.count("listed") == 0
    assert {line.path for line in again.of("damaged")} == damaged
    assert hands.everything() == before


def test_the_archives_own_folder_makes_a_lost_store_anew(
    hands: Hands, make_site: Callable[..., Settings], tmp_path: Path
) -> None:
    for number, event in enumerate(EVENTS[:3]):
        hands.put(f"MAT-7/{number}.cev", event.cev_of("C"))
    hands.put("LAV-101/Events.csv", "DATE,TIME,EVENT\n3/1/26,07:50:00.123,=AG T\n")
    hands.take()
    before, root = hands.everything(), hands.archive.root
    hands.store.close()
    for name in ("control", "data"):
        for file in hands.settings.outputs_dir.glob(f"{name}.db*"):
            file.unlink()
    hands.store = open_store(hands.settings, create=True)
    report = import_folder(hands.store, hands.settings, root, now=NOW)
    assert report.complete, report.text()
    after = hands.everything()

    def told(kept: dict[str, Any]) -> set[tuple[Any, ...]]:
        wanted = ("recloser", "device_us", "event", "state", "location", "targets")
        return {tuple(row[name] for name in wanted) for row in kept["events"]}

    assert after["archive"] == before["archive"]
    assert told(after) == told(before)


def test_files_of_the_archive_stay_where_they_are_when_names_have_changed(hands: Hands) -> None:
    hands.put("MAT-7/1.cev", EVENTS[0].cev_of("C"))
    hands.put("MAT-7/2.cev", EVENTS[1].cev_of("C").replace(b"INST", b"INSX", 1))
    hands.take()
    before, root = tree(hands.archive.root), hands.archive.root
    with write(hands.store.data) as connection:
        connection.execute(delete(recloser_files))
        connection.execute(delete(recloser_events))
    text = yaml.safe_dump({"reclosers": [FLEET[2] | {"name": "Another name"}]})
    (hands.settings.site_dir / "reclosers.yml").write_text(text)
    report = import_folder(hands.store, hands.settings, root, recloser="MAT-7", now=NOW)
    assert (report.count("taken"), report.count("damaged")) == (1, 1)
    assert tree(hands.archive.root) == before


def test_a_dry_run_tells_and_changes_nothing(hands: Hands) -> None:
    hands.put("MAT-7/1.cev", EVENTS[0].cev_of("C"))
    report = hands.take(dry_run=True)
    assert report.count("taken") == 1
    assert "Nothing was changed" in report.text()
    assert hands.rows() == []
    assert not hands.archive.root.exists()


@pytest.mark.server
def test_it_is_the_same_on_postgresql(
    make_site: Callable[..., Settings], tmp_path: Path, postgres_store_url: str
) -> None:
    site = {"timezone": "America/Toronto", "store": {"url": postgres_store_url}}
    made = Hands(make_site(site), tmp_path / "by hand")
    for number, event in enumerate(EVENTS):
        made.put(f"MAT-7/{number}.cev", event.cev_of("C"))
    made.put("LAV-101/Events.csv", "DATE,TIME,EVENT\n3/1/26,07:50:00.123,AG T\n")
    first = made.take()
    assert (first.count("taken"), first.count("listed"), first.complete) == (4, 1, True)
    before = made.everything()
    assert made.take().count("known") == 5
    assert made.everything() == before
    made.store.close()


def test_a_folder_that_is_none_is_told(hands: Hands) -> None:
    with pytest.raises(FormatError, match="no such folder"):
        import_folder(hands.store, hands.settings, hands.folder / "none", now=NOW)
    file = hands.folder / "one.cev"
    file.touch()
    with pytest.raises(FormatError, match="Name the folder"):
        import_folder(hands.store, hands.settings, file, now=NOW)


def test_files_that_are_no_events_are_told_or_left(hands: Hands) -> None:
    hands.put("MAT-7/photo.jpg", b"\xff\xd8\xff\xe0 picture")
    hands.put("MAT-7/.hidden", b"x")
    hands.put("MAT-7/id.txt", b'"FID=SEL-351R-R115-V0-Z002002-D20030418","0933"\r\n')
    report = hands.take()
    assert [line.path for line in report.of("unclear")] == ["MAT-7/photo.jpg"]
    assert report.ignored == 1


def test_the_table_of_the_recloser_tells_what_was_taken_in(hands: Hands) -> None:
    hands.put("MAT-7/1.cev", EVENTS[0].cev_of("C"))
    hands.take()
    text = (hands.archive.root / "MAT/MAT-7/Events.csv").read_text("utf-8-sig")
    (row,) = csv.DictReader(io.StringIO(text))
    assert (row["EVENT"], row["STATE"]) == (EVENTS[0].type, "whole")
    assert row["FILES"].endswith(".cev")


def test_the_command_tells_by_its_exit_code(
    hands: Hands, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(hands.settings.root)
    hands.put("MAT-7/1.cev", EVENTS[0].cev_of("C"))
    command = ["--site", str(hands.settings.site_dir), "reclosers", "import", str(hands.folder)]
    assert main(command) == 0
    assert "1 events taken in." in capsys.readouterr().out
    hands.put("nobody.csv", "DATE,TIME,EVENT\n3/1/26,07:50:00.123,AG T\n")
    assert main(command) == 3
    assert "nobody.csv" in capsys.readouterr().out
