"""The reclosers wing's routes, over a store of analysed events and an archive with their files."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote

import pytest
from sqlalchemy import update
from starlette.testclient import TestClient

from workspace_lib.clock import FakeClock
from workspace_lib.files import sha256_bytes
from workspace_lib.reclosers import exports
from workspace_lib.reclosers.comtrade import parse_comtrade, split_cff
from workspace_lib.reclosers.tables import recloser_files
from workspace_lib.settings import Settings, load_settings
from workspace_lib.store.engines import Store, write
from workspace_lib.store.migrate import open_store
from workspace_lib.web.app import create_app
from workspace_lib.web.tokens import create_token

API = "/api/v1"


def served(settings: Settings, store: Store, now: datetime) -> TestClient:
    """A client of a front that may read."""
    token = create_token(store, "reader", "read", now=now)
    app = create_app(settings, store, clock=FakeClock(now))
    return TestClient(app, headers={"Authorization": f"Bearer {token}"})


@pytest.fixture(scope="module")
def client(filling: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """Events with files of each kind, one that is only listed; no test changes them."""
    settings = filling.make_recloser_site(tmp_path_factory.mktemp("reclosers"))
    with open_store(settings, create=True) as store:
        filling.fill(settings, store)
        yield served(settings, store, filling.NOW)


@pytest.fixture
def own(filling: ModuleType, tmp_path: Path) -> Iterator[Store]:
    """The store of a site with the same events, which a test may change."""
    settings = filling.make_recloser_site(tmp_path)
    with open_store(settings, create=True) as store:
        filling.fill(settings, store)
        yield store


@pytest.fixture
def own_client(filling: ModuleType, tmp_path: Path, own: Store) -> TestClient:
    """A client of that site."""
    return served(load_settings("plant", root=tmp_path), own, filling.NOW)


def items(answer: Any) -> list[dict[str, Any]]:
    """The rows of a page."""
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


def numbers(client: TestClient, query: str = "") -> list[int]:
    """Numbers of the events that a search finds."""
    return [one["id"] for one in items(client.get(f"{API}/events?{query}"))]


def test_reclosers_are_listed_with_what_is_known_of_them(client) -> None:
    found = {one["id"]: one for one in items(client.get(f"{API}/reclosers"))}
    assert list(found) == ["LAV-101", "LAV-102", "MAT-201", "MAT-202"]
    assert found["LAV-101"]["clock"] == "good"
    assert found["LAV-101"]["events"] == 2
    assert found["MAT-202"]["visited"] is None
    assert found["LAV-102"]["upstream"] == ["LAV-101"]


def test_reclosers_come_page_by_page_and_by_territory(client) -> None:
    first = client.get(f"{API}/reclosers?limit=3").json()
    assert first["next"]
    rest = items(client.get(f"{API}/reclosers?limit=3&cursor={first['next']}"))
    assert [one["id"] for one in rest] == ["MAT-202"]
    assert len(items(client.get(f"{API}/reclosers?ced=LAV"))) == 2


def test_one_recloser_or_none(client) -> None:
    assert client.get(f"{API}/reclosers/LAV-101").json()["model"] == "351R"
    assert client.get(f"{API}/reclosers/NOT-001").status_code == 404


def test_those_that_trip_again_and_again_are_ranked(client) -> None:
    worst, *others = client.get(f"{API}/reclosers/offenders?least=1").json()
    assert (worst["recloser"], worst["permanent"], worst["operations"]) == ("LAV-101", 1, 2)
    assert worst["share"] == pytest.approx(1 / 3)
    assert [one["recloser"] for one in others] == ["MAT-201", "LAV-102"]
    assert client.get(f"{API}/reclosers/offenders?least=2").json() == []


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", [4, 3, 2, 1]),
        ("ced=LAV", [3, 2, 1]),
        ("recloser=LAV-101&recloser=MAT-201", [4, 2, 1]),
        ("fault_type=AG&phases=A", [2, 1]),
        ("state=summary", [3]),
        ("outcome=permanent", [2, 1]),
        ("magnitude_from=1e9", []),
        ("kind=fault&model=651", [4]),
        ("text=lav-102", [3]),
        ("from=2026-11-20T09:00:00Z&to=2026-11-20T11:00:00Z", [3]),
        ("from=2026-11-20T04:00:00-05:00", [4, 3]),
    ],
)
def test_events_are_searched(client, query, found) -> None:
    assert numbers(client, query) == found


def test_pages_of_events_follow_each_other_and_are_counted(client) -> None:
    first = client.get(f"{API}/events?limit=3&total=true").json()
    assert (len(first["items"]), first["total"]) == (3, 4)
    second = client.get(f"{API}/events?limit=3&cursor={first['next']}").json()
    assert [one["id"] for one in second["items"]] == [1]
    assert (second["next"], second["total"]) == (None, None)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("recloser=NOT-001", 404),
        ("cursor=nonsense", 404),
        ("from=2026-11-20T10:00:00Z&to=2026-11-20T09:00:00Z", 404),
        ("from=2026-11-20T10:00:00", 422),
        ("magnitude_from=nan", 422),
        ("phases=AX", 422),
        ("fault=AG", 422),
    ],
)
def test_a_wrong_search_is_refused(client, query, status) -> None:
    assert client.get(f"{API}/events?{query}").status_code == status


def test_an_event_is_told_with_its_files_and_all_that_was_computed(client) -> None:
    told = client.get(f"{API}/events/1").json()
    assert told["relay_time"] == "2026-11-20T03:00:00.000"
    assert told["triggered"] == "2026-11-20T08:00:00Z"
    assert told["siblings"] == [1, 2]
    assert [one["kind"] for one in told["kept"]] == ["cev"]
    assert told["analysis"]["kind"] == "fault"
    assert told["analysis_source"] == "cev"
    listed = client.get(f"{API}/events/3").json()
    assert (listed["kept"], listed["analysis"]) == ([], None)
    assert client.get(f"{API}/events/999").status_code == 404


def test_the_relays_own_bytes_are_sent_under_their_standard_name(client, filling) -> None:
    answer = client.get(f"{API}/events/1/raw")
    assert answer.content == filling.report()
    assert answer.headers["content-type"].startswith("text/plain")
    name = unquote(answer.headers["content-disposition"]).partition("''")[2]
    assert name.startswith("261120,030000000,-5,")
    assert name.endswith(",LAV-101,,AG-T.cev")
    assert answer.headers["etag"] == f'"{sha256_bytes(answer.content)}"'


def test_a_part_of_a_file_and_what_is_known_already(client, filling) -> None:
    part = client.get(f"{API}/events/1/raw", headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, filling.report()[10:20])
    etag = part.headers["etag"]
    again = client.get(f"{API}/events/1/raw", headers={"If-None-Match": etag})
    assert (again.status_code, again.content) == (304, b"")


def test_several_files_come_as_a_zip_or_one_by_one(client) -> None:
    answer = client.get(f"{API}/events/4/raw")
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as found:
        assert sorted(name.rpartition(".")[2] for name in found.namelist()) == ["cfg", "dat", "hdr"]
        config = found.read(next(name for name in found.namelist() if name.endswith("cfg")))
    assert client.get(f"{API}/events/4/raw?kind=cfg").content == config
    missing = client.get(f"{API}/events/4/raw?kind=cev")
    assert (missing.status_code, "cfg, dat, hdr" in missing.json()["detail"]) == (404, True)


def test_an_event_that_is_only_listed_has_nothing_to_send(client) -> None:
    for route in ("raw", "comtrade", "plot.png"):
        answer = client.get(f"{API}/events/3/{route}")
        assert answer.status_code == 404
        assert "only the relay's list knows it" in answer.json()["detail"]


@pytest.mark.parametrize("event", [1, 4])
def test_any_event_is_sent_as_comtrade(client, event) -> None:
    answer = client.get(f"{API}/events/{event}/comtrade")
    assert ".cff" in answer.headers["content-disposition"]
    record = parse_comtrade(split_cff(answer.content)[0]).data
    assert record.samples > 50
    assert {"IA", "IB", "IC"} <= {channel.name for channel in record.analog}
    packed = client.get(f"{API}/events/{event}/comtrade?format=zip")
    with zipfile.ZipFile(io.BytesIO(packed.content)) as found:
        assert sorted(name.rpartition(".")[2] for name in found.namelist()) == ["cfg", "dat"]


def test_a_picture_is_drawn_once(client, monkeypatch) -> None:
    first = client.get(f"{API}/events/1/plot.png")
    assert first.content.startswith(b"\x89PNG")
    assert "content-disposition" not in first.headers
    # Whoever asks again is sent what was made.
    monkeypatch.setattr(exports, "read_record", None)
    again = client.get(f"{API}/events/1/plot.png")
    assert (again.status_code, again.content) == (200, first.content)
    known = {"If-None-Match": first.headers["etag"]}
    assert client.get(f"{API}/events/1/plot.png", headers=known).status_code == 304
    monkeypatch.undo()
    french = client.get(f"{API}/events/1/plot.png?language=fr")
    assert french.content != first.content


def test_what_nobody_asks_for_makes_room(own_client, own, monkeypatch) -> None:
    monkeypatch.setattr(exports, "MOST", 2)
    for event in (1, 2, 4):
        assert own_client.get(f"{API}/events/{event}/comtrade").status_code == 200
    assert len(list((own.outputs / exports.FOLDER).iterdir())) == 1
    assert own_client.get(f"{API}/events/1/comtrade").status_code == 200


def test_a_file_that_is_gone_or_was_changed_is_told(own_client, own) -> None:
    client, root = own_client, own.outputs / "raw" / "reclosers"
    for path in root.rglob("*.dat"):
        path.write_bytes(b"changed")
    changed = client.get(f"{API}/events/4/comtrade")
    assert changed.status_code == 503
    assert str(root) not in changed.text
    for path in root.rglob("*.cev"):
        path.unlink()
    assert client.get(f"{API}/events/1/raw").status_code == 404


def test_a_file_that_is_no_event_is_told(own_client, own) -> None:
    client = own_client
    with write(own.data) as connection:
        rows = recloser_files.update().where(recloser_files.c.event_id == 4)
        connection.execute(rows.where(recloser_files.c.kind == "cfg").values(kind="txt"))
    answer = client.get(f"{API}/events/4/comtrade")
    assert answer.status_code == 422
    assert "No file of this event can be read" in answer.json()["detail"]
    with write(own.data) as connection:
        connection.execute(update(recloser_files).values(state="quarantined"))
    assert client.get(f"{API}/events/1/raw").status_code == 404


def test_incidents_and_disturbances_are_listed(client) -> None:
    (own, other) = sorted(items(client.get(f"{API}/incidents")), key=lambda one: one["id"])[:2]
    assert (own["id"], own["operations"], own["outcome"]) == (1, 2, "permanent")
    assert other["recloser"] == "LAV-102"
    found = items(client.get(f"{API}/incidents?outcome=permanent&recloser=LAV-101&phases=A"))
    assert [one["id"] for one in found] == [1]
    wide = items(client.get(f"{API}/disturbances?outcome=permanent"))
    assert [one["patrol"] for one in wide] == ["yes"]
    of_it = items(client.get(f"{API}/incidents?disturbance={wide[0]['id']}"))
    assert [one["id"] for one in of_it] == [1]


def test_incidents_come_page_by_page(client) -> None:
    for route in ("incidents", "disturbances"):
        first = client.get(f"{API}/{route}?limit=1").json()
        seen, page = [one["id"] for one in first["items"]], first
        while page["next"]:
            page = client.get(f"{API}/{route}?limit=1&cursor={page['next']}").json()
            seen += [one["id"] for one in page["items"]]
        assert len(set(seen)) == len(seen) >= 2


def test_a_site_without_reclosers_has_none(make_site, filling) -> None:
    settings = make_site({"wings": {}})
    with open_store(settings, create=True) as empty:
        token = create_token(empty, "reader", "read", now=filling.NOW)
        client = TestClient(
            create_app(settings, empty), headers={"Authorization": f"Bearer {token}"}
        )
        for path in ("reclosers", "reclosers/LAV-101", "events", "events/1", "incidents",
                     "events/1/raw", "disturbances", "reclosers/offenders"):  # fmt: skip
            assert client.get(f"{API}/{path}").status_code == 404


def test_many_search_and_download_at_once(client, filling) -> None:
    def work(number: int) -> set[int]:
        event = (1, 2, 4)[number % 3]
        paths = ("events?fault_type=AG", f"events/{event}", f"events/{event}/raw",
                 f"events/{event}/comtrade", f"events/{event}/plot.png")  # fmt: skip
        return {client.get(f"{API}/{path}").status_code for path in paths}

    with ThreadPoolExecutor(10) as pool:
        assert set().union(*pool.map(work, range(10))) == {200}
