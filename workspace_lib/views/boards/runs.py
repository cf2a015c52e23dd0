"""The board of runs: what ran, what failed and why, how long it takes, what comes next."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from workspace_lib.clock import iso
from workspace_lib.runs.folders import RunFolders
from workspace_lib.runs.job_spec import JobSpec
from workspace_lib.runs.ledger_queries import Run
from workspace_lib.views import run_queries
from workspace_lib.views.blocks import badge, card, empty, notice, when
from workspace_lib.views.blocks import cards as card_row
from workspace_lib.views.board import Board, Content
from workspace_lib.views.cron_words import cron_words
from workspace_lib.views.html import Html, join, tag
from workspace_lib.views.marks import Mark, heat_strip, sparkline, strip_legend, strip_row, strips
from workspace_lib.views.run_queries import JobLine
from workspace_lib.views.tables import Column, table
from workspace_lib.views.texts import Texts
from workspace_lib.views.tiles import Tile
from workspace_lib.views.tokens import RUN_STATES

#: A message longer than this is cut; the whole of it is in the output notebook.
MESSAGE_LENGTH = 220


def tile(board: Board) -> Tile | None:
    """Return the runs' tile of the overview: success today, and whether a scheduler lives."""
    texts, store, now = board.texts, board.store, board.now
    day = run_queries.today(store, _midnight(board))
    state = "unknown" if day.rate is None else "good" if day.rate == 1 else "attention"
    note = texts("runs.today.note", good=day.good, total=day.total)
    if not run_queries.living_schedulers(store, now):
        # The figure keeps its words: a percentage alone says nothing.
        state, note = "bad", f"{note} · {texts('runs.scheduler.gone')}"
    return Tile("runs", state, texts.percent(day.rate), note=note)


def cards(board: Board, *, days: int) -> Html:
    """Return success today, failures, missed slots, and whether a scheduler lives."""
    texts, store, now = board.texts, board.store, board.now
    day = run_queries.today(store, _midnight(board))
    failed = run_queries.failures(store, now - timedelta(hours=24))
    missed = run_queries.gaps(store, now - timedelta(days=days))
    living = run_queries.living_schedulers(store, now)
    good_day = "unknown" if day.rate is None else "good" if day.rate == 1 else "attention"
    last_failure = (
        texts("runs.failed.note", job=failed[0].job, age=texts.age(failed[0].due_at, now))
        if failed
        else texts("runs.failed.none")
    )
    return card_row(
        card(
            texts("runs.today"),
            texts.percent(day.rate),
            note=texts("runs.today.note", good=day.good, total=day.total),
            state=badge(texts, good_day),
        ),
        card(
            texts("runs.failed"),
            texts.number(len(failed)),
            note=last_failure,
            state=badge(texts, "bad" if failed else "good"),
            link="#runs-failures" if failed else None,
        ),
        card(
            texts("runs.gaps"),
            texts.number(len(missed)),
            note=texts("runs.gaps.note", days=days) if missed else texts("runs.gaps.none"),
            state=badge(texts, "missed" if missed else "good"),
            link="#runs-gaps-title" if missed else None,
        ),
        card(
            texts("runs.scheduler"),
            texts("state.running") if living else texts("runs.scheduler.none"),
            note=texts("runs.scheduler.alive", count=len(living), host=living[0].host)
            if living
            else texts("runs.scheduler.gone"),
            state=badge(texts, "good" if living else "bad"),
            word=True,
        ),
    )


def slots(board: Board, *, days: int, length: int) -> Html | Content:
    """Return the newest runs of each job as a strip, its success and its next slot."""
    texts, now = board.texts, board.now
    lines = run_queries.job_lines(board.settings, board.store, now, length=length, days=days)
    if not any(line.runs for line in lines):
        return empty(texts, texts("runs.none"))
    rows: list[Html] = []
    seen: set[str] = set()
    for line in lines:
        marks = [_mark(texts, board, run) for run in line.runs]
        seen.update(mark.state for mark in marks)
        rows.append(
            strip_row(
                line.name,
                trigger(texts, line.spec),
                heat_strip(marks, length=length),
                _last_state(texts, line),
                _next(texts, line, board),
            )
        )
    return join([strips(rows), strip_legend(texts, seen)])


def durations(board: Board, *, days: int, length: int) -> Html:
    """Return how often each job succeeds and how long it takes."""
    texts, now = board.texts, board.now
    lines = run_queries.job_lines(board.settings, board.store, now, length=length, days=days)
    rows = []
    for line in lines:
        took = run_queries.durations(line.runs)
        known = [value for value in took if value is not None]
        if line.summary is None:
            continue
        rows.append(
            {
                "job": line.name,
                "runs": line.summary.runs,
                "rate": line.summary.success_rate,
                "typical": line.summary.median_duration_s,
                "longest": max(known, default=None),
                "spark": sparkline(
                    [None] * (length - len(took)) + took, bars=True, label=texts("runs.durations")
                ),
            }
        )
    columns = [
        Column("job", texts("runs.job")),
        Column("runs", texts("board.runs"), digits=0),
        Column("rate", texts("runs.rate"), digits=1, show=lambda row: texts.percent(row["rate"])),
        Column(
            "typical",
            texts("runs.typical"),
            digits=1,
            show=lambda row: texts.duration(row["typical"]),
        ),
        Column(
            "longest",
            texts("runs.longest"),
            digits=1,
            show=lambda row: texts.duration(row["longest"]),
        ),
        Column("spark", texts("runs.durations.last"), sortable=False, export=False),
    ]
    return table(texts, columns, rows, label=texts("runs.durations"), now=now, limit=50)


def upcoming(board: Board, *, days: int) -> Html:
    """Return what runs next, and what starts each other job."""
    texts, now = board.texts, board.now
    lines = run_queries.job_lines(board.settings, board.store, now, length=1, days=days)
    rows: list[dict[str, Any]] = [
        {
            "job": line.name,
            "next": line.next_slot,
            "trigger": trigger(texts, line.spec),
            "shown": _cron_or_words(texts, line.spec),
        }
        for line in lines
        if line.spec is not None
    ]
    rows.sort(key=lambda row: (row["next"] is None, row["next"] or now, row["job"]))
    columns = [
        Column("job", texts("runs.job")),
        Column("next", texts("runs.next"), show=lambda row: _moment_and_age(board, row["next"])),
        Column("trigger", texts("runs.trigger"), show=lambda row: row["shown"]),
    ]
    none = texts("runs.upcoming.empty")
    return table(texts, columns, rows, label=texts("runs.upcoming"), now=now, limit=50, none=none)


def failures(board: Board, *, days: int) -> Html:
    """Return the runs that failed, with their cause and where their output notebook lies."""
    texts, now = board.texts, board.now
    found = run_queries.failures(board.store, now - timedelta(days=days))
    rows = [
        {
            "job": run.job,
            "slot": run.slot_at or run.due_at,
            "state": run.state,
            "cause": run.cause,
            "run": run,
            "attempts": len(run.attempts),
            "duration": run.duration_s,
        }
        for run in found
    ]
    columns = [
        Column("job", texts("runs.job"), show=lambda row: _anchored(row["run"])),
        Column("slot", texts("runs.slot")),
        Column("state", texts("runs.state"), show=lambda row: run_badge(texts, row["run"])),
        Column("cause", texts("runs.cause"), show=lambda row: _why(texts, row["run"])),
        Column("attempts", texts("runs.attempts"), digits=0),
        Column(
            "duration",
            texts("runs.duration"),
            digits=1,
            show=lambda row: texts.duration(row["duration"]),
        ),
        Column("notebook", texts("runs.notebook"), show=lambda row: _notebook(board, row["run"])),
    ]
    none = texts("runs.failures.empty", days=days)
    return table(texts, columns, rows, label=texts("runs.failures"), now=now, none=none)


def gaps(board: Board, *, days: int) -> Html:
    """Return the missed slots of each job and the command that catches them up."""
    texts, now = board.texts, board.now
    by_job: dict[str, list[Run]] = {}
    for run in run_queries.gaps(board.store, now - timedelta(days=days)):
        by_job.setdefault(run.job, []).append(run)
    rows = []
    for job, found in sorted(by_job.items()):
        moments = [run.slot_at or run.due_at for run in found]
        command = f"workspace backfill {job} --from {iso(min(moments))} --to {iso(max(moments))}"
        rows.append(
            {
                "job": job,
                "count": len(found),
                "first": min(moments),
                "last": max(moments),
                "command": tag("code", command),
            }
        )
    columns = [
        Column("job", texts("runs.job")),
        Column("count", texts("runs.gaps"), digits=0),
        Column("first", texts("runs.gaps.first")),
        Column("last", texts("runs.gaps.last")),
        Column("command", texts("runs.gaps.command"), sortable=False),
    ]
    none = texts("runs.gaps.empty", days=days)
    return table(texts, columns, rows, label=texts("runs.gaps.title"), now=now, none=none)


def scheduler_notice(board: Board) -> Html:
    """Return what to do where no scheduler lives, else nothing."""
    if run_queries.living_schedulers(board.store, board.now):
        return Html("")
    return notice("bad", board.texts("runs.scheduler.gone"))


def trigger(texts: Texts, spec: JobSpec | None) -> str:
    """Return what starts a job, as people read it."""
    if spec is None:
        return texts("runs.removed")
    if not spec.enabled:
        return texts("runs.resting")
    if spec.on is not None:
        return texts("runs.after", job=spec.on)
    if spec.service is not None:
        return texts("runs.service")
    words = []
    if spec.schedule is not None:
        words.append(cron_words(texts, spec.schedule, spec.timezone) or spec.schedule)
    if spec.every_s is not None:
        words.append(texts("runs.every", duration=texts.duration(spec.every_s)))
    if "*" in spec.on_published:
        words.append(texts("runs.after_each"))
    elif spec.on_published:
        words.append(texts("runs.after_publications", names=", ".join(spec.on_published)))
    return "; ".join(words) or texts("runs.by_hand")


def run_badge(texts: Texts, run: Run) -> Html:
    """Return the state of a run as colour, icon and word."""
    state = run_queries.shown_state(run)
    if run.partial and state == "succeeded":
        return badge(texts, "partial")
    return badge(texts, RUN_STATES[state], texts(f"run.{state}"))


def _midnight(board: Board) -> datetime:
    local = board.texts.local(board.now)
    return local.replace(hour=0, minute=0, second=0, microsecond=0)


def _mark(texts: Texts, board: Board, run: Run) -> Mark:
    state = run_queries.shown_state(run)
    word = texts(f"run.{state}")
    moment = texts.moment(run.slot_at or run.due_at, now=board.now)
    parts = [moment, word]
    if run.cause and state not in ("succeeded", "missed"):
        parts.append(texts(f"cause.{run.cause}"))
    if run.duration_s is not None:
        parts.append(texts.duration(run.duration_s))
    shown = "partial" if run.partial and state == "succeeded" else RUN_STATES[state]
    link = f"#run-{run.id}" if state in run_queries.FAILURES else None
    return Mark(shown, " · ".join(parts), link)


def _last_state(texts: Texts, line: JobLine) -> Html:
    for run in reversed(line.runs):
        if run.state not in ("due", "skipped"):
            return run_badge(texts, run)
    return badge(texts, "unknown", texts("runs.never"))


def _next(texts: Texts, line: JobLine, board: Board) -> str | None:
    if line.next_slot is None:
        return None
    return f"{texts('runs.next')} {texts.moment(line.next_slot, now=board.now)}"


def _moment_and_age(board: Board, moment: Any) -> Html | str:
    if moment is None:
        return "–"
    texts, now = board.texts, board.now
    return join([when(texts, moment, now), " ", tag("small", texts.age(moment, now))])


def _cron_or_words(texts: Texts, spec: JobSpec) -> Html | str:
    words = trigger(texts, spec)
    if spec.schedule is None or not spec.enabled:
        return words
    said = f"{spec.schedule} ({spec.timezone})"
    if words == spec.schedule:
        return tag("code", words, class_="ws-nowrap", title=said)
    return tag("span", words, title=said)


def _anchored(run: Run) -> Html:
    return tag("span", run.job, id=f"run-{run.id}")


def _why(texts: Texts, run: Run) -> Html:
    cause = texts(f"cause.{run.cause}") if run.cause else ""
    message = (run.message or "").strip()
    if len(message) > MESSAGE_LENGTH:
        message = message[:MESSAGE_LENGTH].rstrip() + "…"
    small = tag("small", message) if message else None
    return join([cause[:1].upper() + cause[1:], tag("br") if small else None, small])


def _notebook(board: Board, run: Run) -> Html | str:
    path = RunFolders(board.settings.outputs_dir, run.id, run.attempt).notebook
    if not path.exists():
        return "–"
    if board.static:
        words = board.texts("runs.notebook.open")
        return tag("a", words, href=f"/runs/{quote(run.id)}/notebook", class_="ws-nowrap")
    return tag("code", path.relative_to(board.settings.outputs_dir).as_posix())
