"""Jobs and runs as text for a terminal and as JSON for other programs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TextIO
from zoneinfo import ZoneInfo

from tqdm import tqdm

from workspace_lib.clock import SYSTEM_CLOCK, iso
from workspace_lib.errors import StoreError
from workspace_lib.runs.durations import duration_text
from workspace_lib.runs.folders import RunFolders
from workspace_lib.runs.job_spec import JobSpec
from workspace_lib.runs.ledger_queries import JobSummary, Run, job_summaries, list_runs
from workspace_lib.runs.schedule import is_scheduled, next_slots, root_of
from workspace_lib.runs.specs import load_jobs
from workspace_lib.settings import Settings
from workspace_lib.store.migrate import open_store

if TYPE_CHECKING:
    from workspace_lib.runs.fan_out import Tally

NEXT_SLOTS = 5
#: Success and durations are those of the last days, not of years ago [d].
SUMMARY_DAYS = 30


@dataclass(frozen=True)
class JobLine:
    """A job as the list shows it."""

    job: str
    starts: str
    timezone: str | None
    last_state: str | None
    last_slot: str | None
    next_slots: tuple[datetime, ...]
    success_rate: float | None
    median_duration_s: float | None
    problems: tuple[str, ...]


def describe_jobs(settings: Settings, now: datetime | None = None) -> list[JobLine]:
    """Return every job of the site: when it starts, how its last run ended, its next slots.

    A job that is `on:` another has the other's slots.
    """
    moment = now or SYSTEM_CLOCK.now()
    jobset = load_jobs(settings)
    last: dict[str, Run] = {}
    summaries: dict[str, JobSummary] = {}
    try:
        with open_store(settings, read_only=True) as store:
            summaries = job_summaries(store, since=moment - timedelta(days=SUMMARY_DAYS))
            for name in jobset.files:
                for run in list_runs(store, job=name, limit=1):
                    last[name] = run
    except StoreError:
        # Before the first `workspace upgrade` there are jobs, but no runs.
        pass
    lines = []
    for name in jobset.files:
        spec = jobset.specs.get(name)
        run_of = last.get(name)
        summary = summaries.get(name)
        root = root_of(spec, jobset.specs) if spec else None
        timed = spec and root and is_scheduled(root) and spec.enabled and root.enabled
        lines.append(
            JobLine(
                job=name,
                starts=starts_text(spec) if spec else "wrong file",
                timezone=root.timezone if root and root.schedule else None,
                last_state=run_of.state if run_of else None,
                last_slot=run_of.slot if run_of else None,
                next_slots=tuple(next_slots(root, moment, NEXT_SLOTS)) if root and timed else (),
                success_rate=summary.success_rate if summary else None,
                median_duration_s=summary.median_duration_s if summary else None,
                problems=tuple(str(problem) for problem in jobset.problems_of(name)),
            )
        )
    return lines


def starts_text(spec: JobSpec) -> str:
    """Return when a job starts, in words as short as a table needs."""
    if spec.schedule is not None:
        text = spec.schedule
    elif spec.every_s is not None:
        text = f"every {duration_text(spec.every_s)}"
    elif spec.on is not None:
        text = f"on {spec.on}"
    else:
        text = "service" if spec.service is not None else ""
    if spec.on_published:
        text = f"{text}{', ' if text else ''}on {', '.join(spec.on_published)}"
    text = text or "when asked"
    return text if spec.enabled else f"{text} (rests)"


def jobs_table(lines: Sequence[JobLine]) -> str:
    """Return the jobs as a table; slots are in each job's own zone."""
    if not lines:
        return "The site has no jobs. A job is a file in the site's folder jobs; see docs/jobs.md."
    rows = [("JOB", "STARTS", "ZONE", "LAST RUN", "NEXT SLOTS")]
    for line in lines:
        rows.append(
            (
                line.job,
                line.starts,
                line.timezone or "",
                line.last_state or "never",
                _slots_text(line.next_slots, line.timezone),
            )
        )
    problems = [problem for line in lines for problem in line.problems]
    return "\n".join([_table(rows), *problems])


def jobs_json(lines: Sequence[JobLine]) -> str:
    """Return the jobs as a JSON array; instants are UTC."""
    return _json([asdict(line) for line in lines])


def runs_table(runs: Sequence[Run]) -> str:
    """Return runs as a table, the newest first."""
    if not runs:
        return "No runs yet."
    rows = [("RUN", "JOB", "SLOT", "STATE", "CAUSE", "TRY", "TOOK", "WHAT")]
    for run in runs:
        state = f"{run.state}, partial" if run.partial else run.state
        took = "" if run.duration_s is None else f"{run.duration_s:.1f} s"
        rows.append(
            (
                run.id,
                run.job,
                run.slot,
                state,
                run.cause or "",
                str(run.attempt),
                took,
                _did(run),
            )
        )
    return _table(rows)


def summaries_table(summaries: Mapping[str, JobSummary], days: int) -> str:
    """Return how well each job did in the last ``days`` [d] as a table."""
    if not summaries:
        return f"No run has ended in the last {days} days."
    rows = [("JOB", "RUNS", "SUCCEEDED", "MEDIAN", "GAPS", "LAST SUCCESS")]
    for one in summaries.values():
        rate = "" if one.success_rate is None else f"{one.success_rate:.0%}"
        median = "" if one.median_duration_s is None else f"{one.median_duration_s:.1f} s"
        last = _moment(one.last_success) if one.last_success else "none"
        rows.append((one.job, str(one.runs), rate, median, str(one.gaps), last))
    return f"The last {days} days:\n{_table(rows)}"


def runs_json(runs: Sequence[Run], summaries: Mapping[str, JobSummary], days: int) -> str:
    """Return runs, and how jobs did in the last ``days`` [d], as one JSON object."""
    jobs = {job: asdict(one) for job, one in summaries.items()}
    return _json({"runs": [_run_dict(run) for run in runs], "jobs": jobs, "days": days})


def run_json(run: Run) -> str:
    """Return one run with its attempts as JSON."""
    return _json(_run_dict(run) | {"attempts": [asdict(one) for one in run.attempts]})


def run_line(run: Run) -> str:
    """Return how a run ended, in one line."""
    parts = [f"{run.job}, slot {run.slot}: {run.state}"]
    if run.partial:
        parts.append("partial")
    if run.cause:
        parts.append(run.cause)
    if run.duration_s is not None:
        parts.append(f"{run.duration_s:.1f} s")
    if did := _did(run):
        parts.append(did)
    text = ", ".join(parts) + f" (run {run.id})."
    return f"{text} {run.message}" if run.message else text


def run_text(settings: Settings, run: Run) -> str:
    """Return one run with its attempts and where its notebook and log are."""
    lines = [run_line(run), f"Due {_moment(run.due_at)}, parameters {_compact(run.parameters)}"]
    if run.progress is not None and not run.ended:
        lines.append(f"Progress {run.progress:.0%} {run.progress_text or ''}".rstrip())
    if run.last_good is not None:
        lines.append(f"Whole up to {_moment(run.last_good)}")
    if run.cancel_by is not None:
        lines.append(f"{run.cancel_by} asked to cancel it")
    for one in run.attempts:
        folders = RunFolders(settings.outputs_dir, run.id, one.number)
        started = _moment(one.started_at) if one.started_at else "never began"
        ended = _moment(one.ended_at) if one.ended_at else "goes on"
        cause = f", {one.cause}" if one.cause else ""
        lines += [
            f"Attempt {one.number}: {one.state}{cause}, {started} to {ended}, on {one.host}",
            *([f"  {one.message}"] if one.message else []),
            *(
                f"  {what} {path}"
                for what, path in (
                    ("notebook", folders.notebook),
                    ("manifest", folders.manifest),
                    ("log", folders.log),
                )
                if path.exists()
            ),
        ]
        if one.cpu_s is not None:
            memory = (one.peak_memory_bytes or 0) / 1e6
            lines.append(f"  {one.cpu_s:.1f} s of CPU, {memory:.0f} MB of memory at most")
    return "\n".join(lines)


class Display:
    """Shows runs that go on: their log, and a bar where there is a terminal to draw it on."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None
        self._shown: dict[str, str] = {}

    def show(self, run: Run) -> None:
        """Show how far a run is; each of its states once."""
        if run.ended:
            return
        if run.state == "due":
            self._say(run, run.message or "waits for its turn")
        else:
            self._say(run, f"attempt {run.attempt}, {run.state}")
            self._draw(run)

    def log(self, text: str) -> None:
        """Show what a run's log says."""
        tqdm.write(text.rstrip("\n"), file=sys.stderr)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _say(self, run: Run, text: str) -> None:
        if self._shown.get(run.id) != text:
            self._shown[run.id] = text
            tqdm.write(f"{run.job}, slot {run.slot}: {text}", file=sys.stderr)

    def _draw(self, run: Run) -> None:
        if run.progress is None or not sys.stderr.isatty():
            return
        if self._bar is None:
            self._bar = tqdm(total=100, file=sys.stderr, leave=False, bar_format="{l_bar}{bar}|")
        self._bar.n = round(run.progress * 100)
        self._bar.set_description(run.progress_text or run.job)


class FanOutBar:
    """Shows how far many runs are: a bar on a terminal, elsewhere a line now and then."""

    #: Where there is no terminal to draw on, it tells this often [s].
    TELL_EVERY_S = 15.0

    def __init__(self, total: int, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._bar = tqdm(
            total=total,
            file=self._stream,
            unit="run",
            disable=not self._stream.isatty(),
            dynamic_ncols=True,
        )
        self._told = time.monotonic()

    def show(self, tally: Tally) -> None:
        """Show how far it is."""
        failed = len(tally.otherwise)
        if not self._bar.disable:
            self._bar.set_postfix_str(f"{tally.active} go on, {failed} failed", refresh=False)
            self._bar.update(tally.ended - self._bar.n)
        elif time.monotonic() - self._told >= self.TELL_EVERY_S or tally.ended == tally.total:
            self._told = time.monotonic()
            self.say(
                f"{tally.ended} of {tally.total} runs ended, {failed} of them failed; "
                f"{tally.active} go on."
            )

    def tell(self, run: Run) -> None:
        """Show a run that ended otherwise than well."""
        self.say(run_line(run))

    def say(self, text: str) -> None:
        """Write a line beside the bar."""
        tqdm.write(text, file=self._stream)

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.close()


def _did(run: Run) -> str:
    counts = (("files", run.files), ("rows", run.rows), ("bytes", run.bytes))
    return ", ".join(f"{count} {name}" for name, count in counts if count)


def _slots_text(slots: Sequence[datetime], zone: str | None) -> str:
    """Return slots as local times, the day only where it changes."""
    texts, day = [], None
    for slot in slots:
        local = slot.astimezone(ZoneInfo(zone)) if zone else slot
        clock = f"{local:%H:%M:%S}" if local.second else f"{local:%H:%M}"
        texts.append(clock if local.date() == day else f"{local:%Y-%m-%d} {clock}")
        day = local.date()
    return ", ".join(texts) + ("" if zone or not slots else " UTC")


def _moment(instant: datetime) -> str:
    """Return an instant as people need it: to the second."""
    return iso(instant.replace(microsecond=0))


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _run_dict(run: Run) -> dict[str, Any]:
    return {key: value for key, value in asdict(run).items() if key not in ("spec", "attempts")}


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _json(value: Any) -> str:
    def other(item: Any) -> Any:
        if isinstance(item, datetime):
            return iso(item)
        raise TypeError(f"{type(item).__name__} has no place in JSON")

    return json.dumps(value, indent=2, ensure_ascii=False, default=other)
