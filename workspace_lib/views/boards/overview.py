"""The board that is seen first: a tile per wing, what needs attention, how fresh everything is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from workspace_lib.runs.ledger_queries import Run, get_run
from workspace_lib.runs.ledger_queries import job_summaries as summaries_of
from workspace_lib.store.alarms import Alarm, open_alarms
from workspace_lib.store.engines import read
from workspace_lib.store.publications import Published, list_published
from workspace_lib.views import run_queries
from workspace_lib.views.blocks import age, badge, empty
from workspace_lib.views.blocks import cards as card_row
from workspace_lib.views.board import Board, Content, freshness_of
from workspace_lib.views.html import Html, join, tag
from workspace_lib.views.marks import bar, strip_row, strips
from workspace_lib.views.tiles import link_to, tile_cards

#: The list shows so many lines; what is left out is counted below it.
MOST_LINES = 12
#: The strip shows so many runs' publications, those nearest to their limit first.
MOST_ROWS = 16
#: A publication that has used up more of its time than this is nearly stale [1].
NEARLY = 0.8
SEVERITY_STATES = {"info": "unknown", "warning": "attention", "critical": "bad"}


@dataclass(frozen=True)
class Line:
    """One thing that needs attention: since when, how bad, in a sentence, and where it leads."""

    since: datetime
    state: str
    sentence: str
    link: str | None = None
    #: Who has seen it; None where nobody can say so.
    seen_by: str | None = None
    word: str | None = None


def tiles(board: Board) -> Html:
    """Return the tile of every wing that has something to show."""
    found = tile_cards(board)
    return card_row(*found) if found else empty(board.texts, board.texts("overview.none"))


def attention(board: Board, *, hours: int) -> Content:
    """Return open alarms, jobs that failed and stale publications, newest first."""
    texts, now = board.texts, board.now
    lines = attention_lines(board, hours=hours)
    if not lines:
        return Content(
            tag("p", badge(texts, "good"), " ", texts("overview.attention.empty", hours=hours))
        )
    items = []
    for line in lines[:MOST_LINES]:
        sentence = tag("a", line.sentence, href=line.link) if line.link else line.sentence
        said = [age(texts, line.since, now)]
        if line.seen_by is not None:
            said.append(tag("span", line.seen_by))
        items.append(
            tag(
                "li",
                badge(texts, line.state, line.word),
                tag("div", tag("p", sentence), tag("small", join(said, " · "))),
            )
        )
    more = len(lines) - MOST_LINES
    rest = tag("p", texts("overview.more", count=more), class_="ws-muted") if more > 0 else None
    return Content(join([tag("ul", items, class_="ws-attention-list"), rest]))


def freshness(board: Board) -> Content:
    """Return how old the publications of each run are against the time they count as fresh.

    What one run has published grows old together, so it is one row: that of the publication
    nearest to its limit. A row says the job and names what it stands for.
    """
    texts, now = board.texts, board.now
    by_run: dict[str, list[Published]] = {}
    for one in sorted(list_published(board.store, now=now), key=lambda p: -(used(p, now) or 0)):
        by_run.setdefault(one.run_id, []).append(one)
    if not by_run:
        return Content(empty(texts, texts("overview.freshness.empty")))
    rows = [_fresh_row(board, run_id, found) for run_id, found in by_run.items()][:MOST_ROWS]
    more = len(by_run) - MOST_ROWS
    rest = tag("p", texts("overview.more", count=more), class_="ws-muted") if more > 0 else None
    return Content(tag("div", strips(rows), rest, class_="ws-fresh"))


def _fresh_row(board: Board, run_id: str, found: Sequence[Published]) -> Html:
    texts, now, oldest = board.texts, board.now, found[0]
    share, limit = used(oldest, now), oldest.fresh_for_s
    state = (
        "unknown" if share is None else "stale" if oldest.stale
        else "attention" if share > NEARLY else "good"
    )  # fmt: skip
    said = texts("overview.no_limit")
    if limit is not None:
        said = texts("overview.limit", limit=texts.duration(limit))
    names = ", ".join(one.name for one in found)
    run = get_run(board.store, run_id)
    name = run.job if run else oldest.name
    if len(found) > 1:
        said = f"{texts('overview.publications', count=len(found))} · {said}"
    link = link_to(board, oldest.name.split(".", 1)[0]) or link_to(board, "runs")
    return strip_row(
        tag("a", name, href=link, title=names) if link else tag("span", name, title=names),
        said,
        bar(share, state=state),
        age(texts, oldest.as_of, now),
        badge(texts, "stale") if oldest.stale else None,
    )


def attention_lines(board: Board, *, hours: int) -> list[Line]:
    """Return what needs attention, newest first.

    Parameters
    ----------
    hours : int
        How far back failed runs are told [h].
    """
    with read(board.store.control) as connection:
        alarms = open_alarms(connection)
    lines = [_of_alarm(board, alarm) for alarm in alarms]
    lines += _of_failures(board, hours)
    lines += _of_stale(board)
    if not run_queries.living_schedulers(board.store, board.now):
        lines.append(
            Line(board.now, "bad", board.texts("runs.scheduler.gone"), link_to(board, "runs"))
        )
    return sorted(lines, key=lambda line: line.since, reverse=True)


def used(one: Published, now: datetime) -> float | None:
    """Return which share of its time as fresh a publication has used up [1], None without limit."""
    if not one.fresh_for_s:
        return None
    return (now - one.as_of) / timedelta(seconds=one.fresh_for_s)


def _of_alarm(board: Board, alarm: Alarm) -> Line:
    texts = board.texts
    seen_by = texts("overview.unseen")
    if alarm.acks:
        last = alarm.acks[-1]
        moment = texts.moment(last.at, now=board.now)
        seen_by = texts("overview.seen", who=last.who, moment=moment)
    return Line(
        since=alarm.raised,
        state=SEVERITY_STATES[alarm.severity],
        word=texts("overview.alarm"),
        sentence=alarm.message,
        link=link_to(board, alarm.wing) or link_to(board, "runs"),
        seen_by=seen_by,
    )


def _of_failures(board: Board, hours: int) -> list[Line]:
    """Return one line per job that failed; it is milder when the job has succeeded since."""
    texts, since = board.texts, board.now - timedelta(hours=hours)
    by_job: dict[str, list[Run]] = {}
    for run in run_queries.failures(board.store, since):
        by_job.setdefault(run.job, []).append(run)
    summaries = summaries_of(board.store, since=since)
    lines = []
    for job, failed in by_job.items():
        last = failed[0]
        cause = texts(f"cause.{last.cause}") if last.cause else texts(f"run.{last.state}").lower()
        summary = summaries.get(job)
        well = summary.last_success if summary else None
        recovered = well is not None and well > (last.ended_at or last.due_at)
        key = "overview.failed_once" if len(failed) == 1 else "overview.failed"
        sentence = texts(key, job=job, count=len(failed), cause=cause)
        if recovered:
            sentence += " " + texts("overview.recovered")
        lines.append(
            Line(
                since=last.ended_at or last.due_at,
                state="attention" if recovered else "bad",
                word=texts(f"run.{last.state}"),
                sentence=sentence,
                link=link_to(board, "runs", f"run-{last.id}"),
            )
        )
    return lines


def _of_stale(board: Board) -> list[Line]:
    """Return one line per run whose publications are stale: they went stale together."""
    texts, now = board.texts, board.now
    by_run: dict[tuple[str, datetime], list[Published]] = {}
    for one in list_published(board.store, now=now):
        stale_at = freshness_of(one).stale_at
        if one.stale and stale_at is not None:
            by_run.setdefault((one.run_id, stale_at), []).append(one)
    lines = []
    for (run_id, stale_at), found in by_run.items():
        run = get_run(board.store, run_id)
        wing = found[0].name.split(".", 1)[0]
        lines.append(
            Line(
                since=stale_at,
                state="stale",
                sentence=texts(
                    "overview.stale",
                    names=_names(found),
                    moment=texts.moment(stale_at, now=now),
                    job=run.job if run else "–",
                ),
                link=link_to(board, wing) or link_to(board, "runs"),
            )
        )
    return lines


def _names(found: Sequence[Published]) -> str:
    names = [one.name for one in found]
    return ", ".join(names[:3]) + (f" (+{len(names) - 3})" if len(names) > 3 else "")
