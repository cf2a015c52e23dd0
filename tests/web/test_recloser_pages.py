"""Pages of reclosers: the search, one event, a complaint; who may look, in which language."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from types import ModuleType
from typing import get_args
from zoneinfo import ZoneInfo

import pytest
from starlette.testclient import TestClient

from workspace_lib.clock import FakeClock
from workspace_lib.reclosers.analysing import UNREADABLE
from workspace_lib.reclosers.analysis_values import Kind
from workspace_lib.reclosers.keeping import Origin
from workspace_lib.reclosers.queries import RelayState
from workspace_lib.store.engines import write
from workspace_lib.store.migrate import open_store
from workspace_lib.views.texts import Texts, languages
from workspace_lib.web import recloser_pages
from workspace_lib.web.app import create_app
from workspace_lib.web.recloser_event import clock_words
from workspace_lib.web.recloser_search import KINDS, asked, local, moment
from workspace_lib.web.tokens import create_token

HTML = {"Accept": "text/html"}
EVENTS, COMPLAINT = "/reclosers/events", "/reclosers/complaint"
PARIS = ZoneInfo("Europe/Paris")
SPAN = "since=2026-11-20T02:00&until=2026-11-20T07:00"


@pytest.fixture(scope="module")
def pages(recloser_filling: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> TestClient:
    """A front over four events, looked at by somebody who may read."""
    filling = recloser_filling
    settings = filling.make_recloser_site(tmp_path_factory.mktemp("pages"))
    with open_store(settings, create=True) as store:
        filling.fill(settings, store)
        token = create_token(store, "reader", "read", now=filling.NOW)
        app = create_app(settings, store, clock=FakeClock(filling.NOW))
        client = TestClient(app, headers={**HTML, "Authorization": f"Bearer {token}"})
        yield client


def rows(text: str) -> list[str]:
    """Return the lines of a page's tables as words."""
    lines = re.findall(r"<tr[^>]*>(.*?)</tr>", text, re.DOTALL)
    return [" ".join(re.sub(r"<[^>]*>", " ", line).split()) for line in lines]


def event_links(text: str) -> list[str]:
    """Return the events that a page leads to, in its order."""
    return re.findall(rf'href="{EVENTS}/(\d+)"', text)


def test_the_search_shows_the_newest_first_without_being_asked(pages) -> None:
    answer = pages.get(EVENTS)
    assert answer.status_code == 200
    assert event_links(answer.text) == ["4", "3", "2", "1"]
    assert '<option value="LAV-101"' in answer.text
    assert "The outcome is that of each recloser" in answer.text
    assert "4 events" in answer.text


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("recloser=LAV-101&ced=&model=&since=&until=&phases=", ["2", "1"]),
        ("ced=MAT", ["4"]),
        ("model=651R", ["4"]),
        ("since=2026-11-20&until=2026-11-20", ["4", "3", "2", "1"]),
        ("since=2026-11-20T04:30", ["4", "3"]),
        ("since=2026-11-20T09:30:00Z&until=2026-11-20T10:30:00Z", ["3"]),
        ("fault_type=AG", ["2", "1"]),
        ("phases=a", ["4", "2", "1"]),
        ("magnitude_from=1000", ["4", "2", "1"]),
        ("distance_to=5", ["3"]),
        ("outcome=permanent", ["2", "1"]),
        ("state=summary", ["3"]),
        ("text=lav-102", ["3"]),
    ],
)
def test_the_search_finds_what_its_form_asks(pages, query, found) -> None:
    assert event_links(pages.get(f"{EVENTS}?{query}").text) == found


def test_the_form_keeps_what_was_asked(pages) -> None:
    text = pages.get(f"{EVENTS}?recloser=LAV-101&outcome=permanent&since=2026-11-20").text
    assert 'name="recloser" value="LAV-101"' in text
    assert '<option value="permanent" selected>' in text
    assert 'value="2026-11-20T00:00"' in text


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("recloser=NOT-001", "There is no recloser NOT-001."),
        ("since=yesterday", "from: this cannot be understood (yesterday)."),
        ("magnitude_from=<b>", "(&lt;b&gt;)"),
        ("since=2026-11-20&until=2026-11-19", "ends before it begins"),
    ],
)
def test_what_cannot_be_asked_is_told_and_nothing_is_shown(pages, query, said) -> None:
    text = pages.get(f"{EVENTS}?{query}").text
    assert said in text
    assert event_links(text) == []


def test_older_events_are_on_further_pages(pages, monkeypatch) -> None:
    monkeypatch.setattr(recloser_pages, "ROWS", 3)
    first = pages.get(f"{EVENTS}?phases=&ced=").text
    assert event_links(first) == ["4", "3", "2"]
    older = re.search(r'href="([^"]+)" rel="next"', first)
    assert older is not None
    second = pages.get(older[1].replace("&amp;", "&")).text
    assert event_links(second) == ["1"]
    assert "Newest events" in second
    assert event_links(pages.get(f"{EVENTS}?after=nonsense").text) == ["4", "3", "2"]


def test_an_event_is_shown_with_plot_values_phasors_and_files(pages) -> None:
    answer = pages.get(f"{EVENTS}/1")
    assert answer.status_code == 200
    text = answer.text
    assert 'src="/api/v1/events/1/plot.png?language=en"' in text
    assert "img-src 'self' data:" in answer.headers["content-security-policy"]
    lines = rows(text)
    assert any(line.startswith("Fault current 1,4") and "Agrees" in line for line in lines)
    assert any(line.startswith("IA 110 A") for line in lines)
    assert any(line.startswith("Clearing time") for line in lines)
    assert 'href="/api/v1/events/1/raw?kind=cev"' in text
    assert 'href="/api/v1/events/1/comtrade"' in text
    # Its sibling, and what happened around them.
    assert event_links(text) == ["2"]
    assert "/reclosers/complaint?recloser=LAV-101&amp;since=2026-11-20T07%3A45%3A00Z" in text
    assert "fast by 0.4 s" in text


@pytest.mark.parametrize(
    ("off", "said"),
    [
        (0.04, "true within 0.1 s, as read 09:00"),
        (-0.04, "true within 0.1 s, as read 09:00"),
        (-0.2, "slow by 0.2 s, as read 09:00"),
        (None, "never compared"),
    ],
)
def test_a_clock_is_true_where_no_tenth_of_a_second_is_off(off, said) -> None:
    unknown = dict.fromkeys(RelayState.__dataclass_fields__)
    now = datetime(2026, 11, 20, 9, tzinfo=UTC)
    relay = RelayState(**unknown | {"clock_error_s": off, "clock_read": now})
    assert clock_words(Texts("en", ZoneInfo("UTC")), relay, now) == said


def test_everything_an_event_page_leads_to_is_there(pages) -> None:
    text = pages.get(f"{EVENTS}/4").text
    links = {link.replace("&amp;", "&") for link in re.findall(r'(?:href|src)="(/[^"]+)"', text)}
    links -= {link for link in links if link.startswith("/language/")}
    assert len([link for link in links if "/raw" in link]) == 4
    for link in links:
        assert pages.get(link).status_code == 200, link


def test_an_event_that_is_only_listed_says_so(pages) -> None:
    text = pages.get(f"{EVENTS}/3").text
    assert "Only the relay&#x27;s list knows this event" in text
    assert "plot.png" not in text
    assert "No file of this event is kept." in text


@pytest.mark.parametrize("number", ["99", "0", "x", "9" * 30, "1.5", "-1", "²"])
def test_there_is_no_page_of_an_event_that_is_not_there(pages, number) -> None:
    answer = pages.get(f"{EVENTS}/{number}")
    assert answer.status_code == 404
    assert "There is no such page" in answer.text


def test_a_complaint_is_answered_on_one_page(pages) -> None:
    text = pages.get(f"{COMPLAINT}?recloser=LAV-101&ced=&{SPAN}").text
    assert "<h1>LAV-101, 20 Nov 2026 02:00 to 20 Nov 2026 07:00</h1>" in text
    lines = rows(text)
    assert any("Must go" in line and "between LAV-101 and LAV-102" in line for line in lines)
    assert event_links(text) == ["1", "2"]
    # Nothing is cut on paper.
    assert '<table class="ws-table is-whole">' in text


def test_a_complaint_says_whether_something_may_be_missing(pages) -> None:
    late = pages.get(f"{COMPLAINT}?ced=LAV&{SPAN}").text
    assert "Not all relays have answered since then (LAV-101, LAV-102)" in late
    known = pages.get(f"{COMPLAINT}?ced=LAV&since=2026-11-20T02:00&until=2026-11-20T05:30").text
    assert "nothing of that time is missing" in known
    never = pages.get(f"{COMPLAINT}?recloser=MAT-202&{SPAN}").text
    assert "No relay asked for was ever visited" in never
    assert "No event of this time is known." in never


def test_a_complaint_asks_for_a_place_and_a_time(pages) -> None:
    assert "<form" in pages.get(COMPLAINT).text
    said = "Name a recloser or a territory, and both moments."
    assert said not in pages.get(COMPLAINT).text
    assert said in pages.get(f"{COMPLAINT}?{SPAN}").text
    assert said in pages.get(f"{COMPLAINT}?ced=LAV").text
    assert "There is no recloser X." in pages.get(f"{COMPLAINT}?recloser=X&{SPAN}").text


def test_the_pages_speak_french(pages) -> None:
    cookies = {"Cookie": "workspace_language=fr"}
    assert "Événements des disjoncteurs" in pages.get(EVENTS, headers=cookies).text
    text = pages.get(f"{EVENTS}/1", headers=cookies).text
    assert "plot.png?language=fr" in text
    assert "Phaseurs" in text
    assert "Patrouille" in pages.get(f"{COMPLAINT}?ced=LAV&{SPAN}", headers=cookies).text


@pytest.mark.parametrize("path", [EVENTS, f"{EVENTS}/1", COMPLAINT])
def test_whoever_may_not_read_sees_none_of_it(front, path) -> None:
    refused = front.client().get(path, headers=HTML, follow_redirects=False)
    assert refused.status_code == 303
    assert refused.headers["location"].startswith("/login?next=/reclosers/")
    assert front.client("view").get(path, headers=HTML).status_code == 403
    assert front.client("read").get(path, headers=HTML).status_code == 200


def test_a_site_without_reclosers_has_no_such_pages(make_front) -> None:
    client = make_front().client("read")
    for path in (EVENTS, f"{EVENTS}/1", COMPLAINT):
        assert client.get(path, headers=HTML).status_code == 404


def test_text_of_a_relay_cannot_break_a_page(front, recloser_filling) -> None:
    script = "<script>alert(1)</script>"
    with write(front.store.data) as connection:
        number = recloser_filling.add_event(
            connection, "LAV-101", recloser_filling.NOW, script, targets=script, why=script,
            state="damaged",
        )  # fmt: skip
    for path in (
        EVENTS,
        f"{EVENTS}/{number}",
        f"{COMPLAINT}?ced=LAV&since=2026-11-20&until=2026-11-21",
    ):
        assert script not in front.client("read").get(path, headers=HTML).text


def test_an_event_that_waits_for_its_analysis_says_so(front) -> None:
    # Rows without what an analysis computes: another version made them.
    text = front.client("read").get(f"{EVENTS}/1", headers=HTML).text
    assert "has not been analysed yet" in text


@pytest.mark.parametrize(
    ("written", "instant"),
    [
        ("2026-07-01T10:00", datetime(2026, 7, 1, 8, tzinfo=UTC)),
        ("2026-07-01T10:00:00Z", datetime(2026, 7, 1, 10, tzinfo=UTC)),
        ("2026-07-01", datetime(2026, 6, 30, 22, tzinfo=UTC)),
        ("9999-12-31", datetime(2100, 1, 1, tzinfo=UTC)),
        ("0001-01-01", None),
        ("noon", None),
        ("12", None),
    ],
)
def test_a_moment_is_a_day_a_local_time_or_an_instant(written, instant) -> None:
    found = moment(written, PARIS)
    assert found == instant or (instant is None and found == datetime(1990, 1, 1, tzinfo=UTC))


def test_a_day_ends_with_its_last_moment() -> None:
    assert moment("2026-07-01", PARIS, end=True) == datetime(2026, 7, 1, 22, tzinfo=UTC)
    assert moment("9999-12-31", PARIS, end=True) == datetime(2100, 1, 1, tzinfo=UTC)
    assert local(moment("2026-07-01T10:00", PARIS), PARIS) == "2026-07-01T10:00"


@pytest.mark.parametrize("language", ["en", "fr"])
def test_every_kind_and_origin_has_its_word(language) -> None:
    texts = Texts(language, PARIS)
    kinds = {f"recloser_pages.kind.{kind}" for kind in (*get_args(Kind), UNREADABLE)}
    origins = {f"recloser_pages.origin.{origin}" for origin in get_args(Origin)}
    composed = ("recloser_pages.kind.", "recloser_pages.origin.")
    assert {key for key in languages()[language] if key.startswith(composed)} == kinds | origins
    assert all(texts(key) for key in kinds | origins)
    assert set(KINDS) == {key.rpartition(".")[2] for key in kinds}


def test_fields_that_are_empty_ask_nothing() -> None:
    found = asked({"recloser": "  ", "since": "", "other": "x"}, PARIS)
    assert not found.anything
    assert found.wrong == ()


def test_numbers_are_taken_as_people_write_them() -> None:
    found = asked({"distance_from": "1,5", "magnitude_to": "inf", "phases": "a, b"}, PARIS)
    assert found.wanted.distance == (1.5, None)
    assert found.wanted.phases == "AB"
    assert found.wrong == (("magnitude_to", "inf"),)
