"""Pages: what a visitor, a viewer and a reader see, and what none of them can reach."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from starlette.testclient import TestClient

from workspace_lib.views.access import announcement
from workspace_lib.views.twins import make_twins

HTML = {"Accept": "text/html"}
BOARD = """
from workspace_lib.views.board import open_board
board = open_board("rain", language="")
board.header("rain.total")
"""


@pytest.fixture
def shown(front):
    """The front with one dashboard, `rain`, whose twins are made."""
    settings = front.app.state.settings
    folder = settings.notebooks_dir / "dashboards"
    folder.mkdir(parents=True)
    cells = [{"cell_type": "code", "metadata": {}, "source": BOARD}]
    (folder / "rain.ipynb").write_text(json.dumps({"cells": cells}))
    make_twins(settings, clock=front.clock)
    return front


@pytest.fixture
def closed(make_front, make_site):
    """A front that asks for a token also for its pages, with a dashboard."""
    front = make_front(web={"require_token": True})
    folder = front.app.state.settings.notebooks_dir / "dashboards"
    folder.mkdir(parents=True)
    (folder / "rain.ipynb").write_text(json.dumps({"cells": []}))
    make_twins(front.app.state.settings, clock=front.clock)
    return front


def notebook_of(front, run_id: str = "run-1") -> None:
    """Lay the output notebook of a run where the runner leaves it."""
    path = front.store.outputs / "runs" / run_id / "1" / "output.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    outputs = [new_output("stream", name="stdout", text="42 tips <script>x</script>")]
    nbformat.write(new_notebook(cells=[new_code_cell("1", outputs=outputs)]), path)


def test_the_gallery_shows_each_dashboard_with_the_age_of_its_data(shown) -> None:
    answer = shown.client().get("/", headers=HTML)
    assert answer.status_code == 200
    assert 'href="/d/rain"' in answer.text
    assert "Up to date" in answer.text
    shown.clock.advance(3600)
    assert "Stale" in shown.client().get("/", headers=HTML).text


def test_a_twin_is_sent_packed_and_only_once(shown) -> None:
    client = shown.client()
    first = client.get("/d/rain", headers={"Accept-Encoding": "gzip"})
    assert first.headers["content-encoding"] == "gzip"
    assert "<h1>Rain</h1>" in first.text
    again = client.get("/d/rain", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    plain = client.get("/d/rain", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.text == first.text


def test_a_twin_that_was_made_again_is_sent_anew(shown) -> None:
    client = shown.client()
    first = client.get("/d/rain")
    shown.clock.advance(60)
    make_twins(shown.app.state.settings, clock=shown.clock)
    again = client.get("/d/rain", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 200
    assert again.headers["x-workspace-made"] > first.headers["x-workspace-made"]


def test_a_twin_may_run_its_own_script_and_nothing_else(shown) -> None:
    policy = shown.client().get("/d/rain").headers["content-security-policy"]
    assert "script-src 'sha256-" in policy
    assert "unsafe-inline" not in policy.split("script-src")[1].split(";")[0]
    assert "default-src 'none'" in policy


def test_the_reader_chooses_the_language(shown) -> None:
    client = shown.client()
    client.get("/language/fr", headers={"Referer": "http://testserver/d/rain"})
    assert "<h1>Pluie</h1>" in client.get("/d/rain").text
    client.get("/language/xx")
    assert "<h1>Pluie</h1>" in client.get("/d/rain").text


def test_a_board_that_reads_the_store_itself_says_its_age_and_goes_stale(shown) -> None:
    settings = shown.app.state.settings
    cells = [{"cell_type": "code", "metadata": {}, "source": BOARD.replace('"rain.total"', "")}]
    (settings.notebooks_dir / "dashboards" / "rain.ipynb").write_text(json.dumps({"cells": cells}))
    make_twins(settings, clock=shown.clock)
    shown.clock.advance(600)
    page = shown.client().get("/", headers=HTML).text
    assert "Read" in page
    assert "10 min ago" in page
    assert "Up to date" in page
    shown.clock.advance(301)
    assert "Stale" in shown.client().get("/", headers=HTML).text


def announce_live(front, pid: int, host: str = "127.0.0.1") -> None:
    """Say that live dashboards are served, as their server does."""
    said = {"address": "http://127.0.0.1:8866/", "host": host, "port": 8866, "pid": pid}
    announcement(front.app.state.settings).write_text(json.dumps(said))


def test_explore_live_leads_to_the_server_of_live_dashboards(shown) -> None:
    announce_live(shown, os.getpid())
    assert 'href="/live/rain"' in shown.client().get("/", headers=HTML).text
    answer = shown.client().get("/live/rain", follow_redirects=False)
    assert answer.status_code == 303
    assert answer.headers["location"] == "http://127.0.0.1:8866/rain?language=en"
    assert shown.client().get("/live/absent", headers=HTML).status_code == 404


def test_live_dashboards_on_every_address_are_reached_by_the_name_the_reader_used(shown) -> None:
    announce_live(shown, os.getpid(), host="0.0.0.0")
    answer = shown.client().get("/live/rain", follow_redirects=False)
    assert answer.headers["location"] == "http://testserver:8866/rain?language=en"


def test_explore_live_goes_on_in_the_language_of_the_reader(shown) -> None:
    announce_live(shown, os.getpid())
    client = shown.client()
    client.get("/language/fr")
    answer = client.get("/live/rain", follow_redirects=False)
    assert answer.headers["location"].endswith("/rain?language=fr")


def test_where_no_live_dashboards_run_the_link_says_so(shown) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    announce_live(shown, ended.pid)
    answer = shown.client().get("/live/rain", headers=HTML)
    assert answer.status_code == 503
    assert "not running" in answer.text
    assert 'href="/live/rain"' not in shown.client().get("/", headers=HTML).text


def test_choosing_a_language_keeps_where_logging_in_leads(closed) -> None:
    answer = closed.client().get(
        "/language/fr",
        headers={"Referer": "http://testserver/login?next=/d/rain"},
        follow_redirects=False,
    )
    assert answer.headers["location"] == "/login?next=/d/rain"


def test_the_gallery_offers_the_other_language_and_a_way_out_only_to_who_came_in(closed) -> None:
    program = closed.client("view").get("/", headers=HTML).text
    assert 'href="/language/fr"' in program
    assert 'action="/logout"' not in program
    person = TestClient(closed.app, cookies={"workspace_token": closed.tokens["view"]})
    assert 'action="/logout"' in person.get("/", headers=HTML).text


def test_a_dashboard_that_was_not_made_says_when_it_will_be(shown) -> None:
    folder = shown.app.state.settings.notebooks_dir / "dashboards"
    (folder / "late.ipynb").write_text(json.dumps({"cells": []}))
    answer = shown.client().get("/d/late", headers=HTML)
    assert answer.status_code == 503
    assert "dashboard_twins" in answer.text


@pytest.mark.parametrize("path", ["/d/absent", "/d/..%2f..%2fcontrol", "/nowhere", "/d/rain.html"])
def test_what_is_not_there_is_a_page_for_people(shown, path: str) -> None:
    answer = shown.client().get(path, headers=HTML)
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")


def test_an_output_notebook_needs_a_token_even_where_pages_are_open(shown) -> None:
    notebook_of(shown)
    assert shown.client().get("/runs/run-1/notebook").status_code == 401
    assert shown.client("view").get("/runs/run-1/notebook").status_code == 403
    answer = shown.client("read").get("/runs/run-1/notebook")
    assert "42 tips" in answer.text
    assert "<script>x" not in answer.text


def test_a_run_without_a_notebook_says_so(shown) -> None:
    answer = shown.client("read").get("/runs/run-2/notebook", headers=HTML)
    assert answer.status_code == 404
    assert "notebook is gone" in answer.text


def test_a_notebook_that_cannot_be_read_is_a_sentence_for_people(shown) -> None:
    notebook_of(shown)
    (shown.store.outputs / "runs" / "run-1" / "1" / "output.ipynb").write_text("{}")
    answer = shown.client("read").get("/runs/run-1/notebook", headers=HTML)
    assert answer.status_code == 422
    assert answer.headers["content-type"].startswith("text/html")
    assert "The file is no notebook." in answer.text


def test_a_closed_front_sends_people_to_log_in_and_back(closed) -> None:
    client = closed.client()
    answer = client.get("/d/rain", headers=HTML, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=/d/rain")
    answer = client.post(
        "/login", data={"token": closed.tokens["view"], "next": "/d/rain"}, follow_redirects=False
    )
    assert (answer.status_code, answer.headers["location"]) == (303, "/d/rain")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert client.get("/d/rain", headers=HTML).status_code == 200


def test_a_wrong_token_is_told_and_guessing_is_slowed(closed) -> None:
    client = closed.client()
    statuses = [client.post("/login", data={"token": f"fw_{n}"}).status_code for n in range(12)]
    assert statuses == [401] * 10 + [429] * 2


@pytest.mark.parametrize("target", ["https://elsewhere.example", "//elsewhere.example", "/\\x"])
def test_logging_in_never_leads_elsewhere(closed, target: str) -> None:
    answer = closed.client().post(
        "/login", data={"token": closed.tokens["view"], "next": target}, follow_redirects=False
    )
    assert answer.headers["location"] == "/"


def test_a_page_of_another_site_cannot_write_with_the_readers_cookie(closed) -> None:
    client = TestClient(closed.app, cookies={"workspace_token": closed.tokens["write"]})
    body = {"target": "t", "kind": "note", "value": "x"}
    foreign = client.post(
        "/api/v1/annotations", json=body, headers={"Origin": "https://elsewhere.example"}
    )
    own = client.post("/api/v1/annotations", json=body, headers={"Origin": "http://testserver"})
    assert (foreign.status_code, own.status_code) == (403, 201)


@pytest.mark.parametrize(
    "path",
    [
        "/runs/run-1/notebook",
        "/api/v1/publications",
        "/api/v1/publications/rain.total/data",
        "/api/v1/runs",
        "/metrics",
        "/outputs/testsite/control.db",
        "/d/../control.db",
        "/dashboards/rain.en.json",
        "/notebooks/dashboards/rain.ipynb",
        "/api/kernels",
    ],
)
def test_a_token_that_may_only_view_reads_no_notebook_no_data_and_no_file(shown, path: str) -> None:
    notebook_of(shown)
    answer = shown.client("view").get(path)
    assert answer.status_code in {403, 404}
    assert "42 tips" not in answer.text


def test_the_description_of_the_api_comes_from_files_that_came_along(front) -> None:
    client = front.client()
    page = client.get("/docs")
    assert "http" not in page.text.replace("http-equiv", "")
    for name in ("swagger-ui.css", "swagger-ui-bundle.js", "start.js"):
        assert client.get(f"/docs/{name}").status_code == 200
    assert client.get("/docs/LICENSE").status_code == 404
