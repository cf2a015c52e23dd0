"""People are told of failures, recoveries and stale publications: each once, also when it fails."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from workspace_lib.clock import FakeClock
from workspace_lib.runs import ledger
from workspace_lib.runs.job_spec import JobSpec
from workspace_lib.runs.notify import (
    TRY_AGAIN_S,
    AppriseNotifier,
    Message,
    notify_changes,
)
from workspace_lib.runs.scheduler import Scheduler
from workspace_lib.runs.states import Cause, Claim, Outcome, State
from workspace_lib.settings import Settings
from workspace_lib.store import alarms, publications
from workspace_lib.store.engines import Store, write

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
EndRun = Callable[..., None]


class Telltale:
    """A notifier that remembers what it was told, and may be deaf."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.deaf = False

    def tell(self, message: Message) -> bool:
        if not self.deaf:
            self.messages.append(message)
        return not self.deaf


@pytest.fixture
def telltale() -> Telltale:
    return Telltale()


@pytest.fixture
def end_run(any_store: Store) -> EndRun:
    """Write a run that ended into the ledger."""

    def end(
        job: str, state: State, at: datetime, cause: Cause | None = None, message: str | None = None
    ) -> None:
        with write(any_store.control) as connection:
            run_id = ledger.create_run(connection, JobSpec(job, notebook=job), at, due=at, now=at)
        assert run_id is not None
        claim = ledger.claim_one(any_store, run_id, owner="test", now=at)
        assert claim is not None
        ledger.begin(any_store, run_id, 1, host="h", pid=1, now=at)
        assert ledger.finish(any_store, run_id, 1, Outcome(state, cause, message), at)

    return end


@pytest.fixture
def look(make_site: Callable[..., Settings], any_store: Store, telltale: Telltale) -> Any:
    """Look for changes at an instant and return what is told then."""
    site = {"timezone": "Europe/Paris", "title": "Plant", "notify": {"repeat_after": "6h"}}
    if not any_store.control.url.drivername.startswith("sqlite"):
        site["store"] = {"url": any_store.control.url.render_as_string(hide_password=False)}
    settings = make_site(site)
    return lambda at: notify_changes(any_store, settings, at, notifier=telltale)


def test_a_failing_job_is_told_once_and_again_when_it_works(
    look: Any, end_run: EndRun, telltale: Telltale
) -> None:
    end_run("rain", "failed", START, "source_unavailable", "The server is away.")
    look(START + timedelta(seconds=5))
    look(START + timedelta(seconds=10))
    end_run("rain", "failed", START + timedelta(minutes=15), "source_unavailable", "Still away.")
    look(START + timedelta(minutes=16))
    assert [m.kind for m in telltale.messages] == ["failure"]
    assert telltale.messages[0].title == "Plant: trouble (1)"
    assert "The job rain failed: The server is away." in telltale.messages[0].body
    assert "since 2026-03-01 13:00" in telltale.messages[0].body

    end_run("rain", "succeeded", START + timedelta(minutes=30))
    look(START + timedelta(minutes=31))
    look(START + timedelta(minutes=32))
    assert [m.kind for m in telltale.messages] == ["failure", "recovery"]


def test_what_goes_on_failing_is_repeated(look: Any, end_run: EndRun, telltale: Telltale) -> None:
    end_run("rain", "timed_out", START, "run_timeout")
    for hours in (0, 1, 5, 7, 8):
        look(START + timedelta(hours=hours, seconds=5))
    assert len(telltale.messages) == 2
    assert "since 2026-03-01 13:00" in telltale.messages[1].body


def test_a_success_after_a_failure_unseen_is_not_told(
    look: Any, end_run: EndRun, telltale: Telltale
) -> None:
    end_run("rain", "failed", START, "notebook_error")
    end_run("rain", "succeeded", START + timedelta(seconds=1))
    look(START + timedelta(seconds=5))
    assert telltale.messages == []


def test_skipped_and_cancelled_runs_are_no_failures(
    look: Any, end_run: EndRun, telltale: Telltale
) -> None:
    end_run("rain", "cancelled", START, "cancelled")
    look(START + timedelta(seconds=5))
    assert telltale.messages == []


def test_what_was_not_delivered_is_told_later(
    look: Any, end_run: EndRun, telltale: Telltale
) -> None:
    telltale.deaf = True
    end_run("rain", "failed", START, "notebook_error")
    look(START + timedelta(seconds=5))
    telltale.deaf = False
    look(START + timedelta(seconds=10))
    assert telltale.messages == [], "a dead mail server is not asked again at once"
    look(START + timedelta(seconds=10 + TRY_AGAIN_S))
    look(START + timedelta(seconds=20 + TRY_AGAIN_S))
    assert [m.kind for m in telltale.messages] == ["failure"]


def test_a_stale_publication_is_told_once_and_again_when_fresh(
    look: Any, any_store: Store, telltale: Telltale
) -> None:
    def publish(run: str, at: datetime) -> None:
        made = publications.write_artefact(
            any_store.outputs,
            "rain.sums",
            1,
            run_id=run,
            attempt=1,
            folder=any_store.outputs / "runs" / run,
            as_of=at,
        )
        with write(any_store.control) as connection:
            publications.record(connection, made, at, fresh_for_s=1800)
            publications.publish_run(connection, run, 1, at)

    publish("a", START)
    look(START + timedelta(minutes=29))
    assert telltale.messages == []
    look(START + timedelta(minutes=31))
    look(START + timedelta(minutes=32))
    assert [m.kind for m in telltale.messages] == ["failure"]
    assert "rain.sums is stale: as of 2026-03-01 13:00" in telltale.messages[0].body
    publish("b", START + timedelta(minutes=33))
    look(START + timedelta(minutes=34))
    assert telltale.messages[-1].kind == "recovery"


def test_alarms_of_services_and_job_files_are_told(
    look: Any, any_store: Store, telltale: Telltale
) -> None:
    for key, wing in (("service:bench", "runs"), ("bench:7:hot", "benches")):
        with write(any_store.control) as connection:
            alarms.raise_alarm(
                connection, key, wing=wing, severity="critical", message=f"{key}!", now=START
            )
    look(START + timedelta(seconds=5))
    assert telltale.messages[0].body.startswith("service:bench!")
    assert len(telltale.messages[0].body.splitlines()) == 1
    with write(any_store.control) as connection:
        alarms.clear_alarm(connection, "service:bench", START + timedelta(seconds=8))
    look(START + timedelta(seconds=10))
    assert telltale.messages[1].body.startswith("again well: service:bench!")


def test_a_french_site_is_told_in_french(
    make_site: Callable[..., Settings], any_store: Store, end_run: EndRun, telltale: Telltale
) -> None:
    end_run("rain", "failed", START, "notebook_error", "1/0")
    settings = make_site({"timezone": "Europe/Paris", "language": "fr"})
    notify_changes(any_store, settings, START + timedelta(seconds=5), notifier=telltale)
    assert "La tâche rain a échoué : 1/0" in telltale.messages[0].body


@pytest.fixture
def web_hook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A real HTTP server that takes what apprise posts."""
    posted: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            posted.append({"path": self.path, **json.loads(body)})
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}", posted
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.server
def test_apprise_delivers_to_an_address_with_a_secret_in_it(
    make_site: Callable[..., Settings],
    web_hook: tuple[str, list[dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address, posted = web_hook
    monkeypatch.setenv("HOOK_TOKEN", "tok/en 4711")
    site = {"notify": {"addresses": [f"json://{address}/{{secret://HOOK_TOKEN}}/"]}}
    notifier = AppriseNotifier(make_site(site))
    assert notifier.tell(Message("failure", "Plant: trouble", "The pump stands."))
    assert posted[0]["title"] == "Plant: trouble"
    assert posted[0]["message"] == "The pump stands."
    assert posted[0]["type"] == "failure"
    assert "4711" in posted[0]["path"]


@pytest.mark.server
def test_the_scheduler_never_waits_for_the_delivery_nor_hears_of_its_failure(
    make_site: Callable[..., Settings],
    any_store: Store,
    end_run: EndRun,
    web_hook: tuple[str, list[dict[str, Any]]],
    wait_until: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    address, posted = web_hook
    addresses = ["json://127.0.0.1:1/", "nonsense", "json://x/{secret://NOT_SET}"]
    settings = make_site({"notify": {"addresses": [*addresses, f"json://{address}/"]}})
    end_run("rain", "failed", START, "notebook_error")
    messages = notify_changes(any_store, settings, START + timedelta(seconds=5))
    assert [m.kind for m in messages] == ["failure"]
    wait_until(lambda: posted, "the good address is told")
    wait_until(
        lambda: not any("_deliver" in thread.name for thread in threading.enumerate()),
        "the delivery ends",
    )
    assert "NOT_SET" in caplog.text


class Nobody:
    """An executor that starts nothing."""

    def submit(self, claim: Claim) -> None: ...

    def running(self) -> set[tuple[str, int]]:
        return set()

    def cancel(self, run_id: str, attempt: int) -> None: ...

    def reap(self) -> None: ...

    def close(self) -> None: ...


@pytest.mark.server
def test_a_step_of_the_scheduler_tells_of_a_failure_and_of_its_end(
    make_site: Callable[..., Settings],
    any_store: Store,
    end_run: EndRun,
    web_hook: tuple[str, list[dict[str, Any]]],
    wait_until: Callable[..., None],
) -> None:
    address, posted = web_hook
    settings = make_site({"notify": {"addresses": [f"json://{address}/"]}})
    clock = FakeClock(START)
    scheduler = Scheduler(settings, any_store, Nobody(), clock=clock)
    for number, state in enumerate(("failed", "succeeded"), start=1):
        clock.advance(10)
        end_run("rain", state, clock.now())
        assert scheduler.step().failed == []
        wait_until(lambda: len(posted) == number, "the address is told")  # noqa: B023
    assert [one["type"] for one in posted] == ["failure", "success"]
    assert "rain" in posted[0]["message"]
