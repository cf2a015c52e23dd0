"""Twins in memory: what is sent is what lies on the disk, also while it is written anew."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from workspace_lib.views.twins import make_twins, twin_path

BOARD = 'from workspace_lib.views.html import tag\ntag("p", "{text}")'


@pytest.fixture
def shown(front):
    """The front with one dashboard, `rain`, whose twins are made."""
    write_dashboard(front, "first")
    return front


def write_dashboard(front, text: str) -> None:
    """Write the dashboard anew, saying ``text``, and make its twins."""
    folder: Path = front.app.state.settings.notebooks_dir / "dashboards"
    folder.mkdir(parents=True, exist_ok=True)
    cells = [{"cell_type": "code", "metadata": {}, "source": BOARD.format(text=text)}]
    (folder / "rain.ipynb").write_text(json.dumps({"cells": cells}))
    make_twins(front.app.state.settings, clock=front.clock)


def test_a_twin_is_read_from_the_disk_once(shown, monkeypatch: pytest.MonkeyPatch) -> None:
    client = shown.client()
    first = client.get("/d/rain")
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail(f"{path} was read again"))
    again = client.get("/d/rain")
    assert "first" in again.text
    assert again.headers["etag"] == first.headers["etag"]


def test_a_twin_that_was_made_again_replaces_the_one_in_memory(shown) -> None:
    client = shown.client()
    assert "first" in client.get("/d/rain").text
    write_dashboard(shown, "second")
    assert "second" in client.get("/d/rain").text
    assert "second" in client.get("/d/rain", headers={"Accept-Encoding": "identity"}).text


def test_a_twin_whose_files_do_not_belong_together_yet_leaves_the_one_before(shown) -> None:
    client = shown.client()
    before = client.get("/d/rain")
    facts = twin_path(shown.app.state.settings, "rain", "en").with_suffix(".json")
    facts.write_text(facts.read_text().replace(before.headers["etag"].strip('"'), "0" * 64))
    again = client.get("/d/rain")
    assert (again.status_code, again.content) == (200, before.content)


def test_a_broken_twin_counts_as_not_made(shown) -> None:
    packed = twin_path(shown.app.state.settings, "rain", "en").with_suffix(".html.gz")
    packed.write_bytes(b"\x1f\x8b cut")
    assert shown.client().get("/d/rain").status_code == 503


def test_a_dashboard_that_was_removed_is_gone_with_its_twin(shown) -> None:
    client = shown.client()
    assert client.get("/d/rain").status_code == 200
    (shown.app.state.settings.notebooks_dir / "dashboards" / "rain.ipynb").unlink()
    assert client.get("/d/rain", headers={"Accept": "text/html"}).status_code == 404


def test_a_look_at_a_twin_is_counted_and_closed_like_any_page(make_front) -> None:
    closed = make_front(web={"require_token": True, "requests_per_minute": 2})
    write_dashboard(closed, "first")
    assert closed.client().get("/d/rain").status_code == 401
    viewer = closed.client("view")
    answers = [viewer.get("/d/rain") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[0].headers["ratelimit-remaining"] == "1"
    assert "retry-after" in answers[2].headers


def test_only_looking_is_possible(shown) -> None:
    assert shown.client("admin").post("/d/rain").status_code == 405
    head = shown.client().head("/d/rain")
    assert head.status_code == 200
    assert "x-workspace-made" in head.headers
