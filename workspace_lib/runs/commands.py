"""Commands of jobs and runs: what is planned, what happened, run this now, run that again."""

from __future__ import annotations

import argparse
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workspace_lib.settings import Settings
    from workspace_lib.store.engines import Store


def register(subparsers: Any) -> None:
    """Add the parsers of this floor."""
    _register_jobs(subparsers)
    _register_scheduler(subparsers)
    _register_run(subparsers)
    _register_runs(subparsers)
    _register_site(subparsers)


def _register_jobs(subparsers: Any) -> None:
    jobs = subparsers.add_parser("jobs", help="list the jobs with their next slots, or check them")
    jobs.set_defaults(handler=_jobs)
    jobs.add_argument("--json", action="store_true", help="print one JSON array")
    actions = jobs.add_subparsers(dest="action", metavar="ACTION")
    check = actions.add_parser("check", help="name every problem of the job files")
    check.set_defaults(handler=_check)
    schema = actions.add_parser("schema", help="write the JSON schema that editors use")
    schema.set_defaults(handler=_schema)


def _register_scheduler(subparsers: Any) -> None:
    tick = subparsers.add_parser(
        "tick", help="do one step of the scheduler: start what is due (for cron)"
    )
    tick.set_defaults(handler=_tick)
    schedule = subparsers.add_parser("schedule", help="run the scheduler until it is stopped")
    schedule.set_defaults(handler=_schedule)
    worker = subparsers.add_parser(
        "worker", help="take runs on this machine for a scheduler elsewhere (executor dask)"
    )
    worker.add_argument("--places", type=int, default=2, metavar="N", help="runs at once")
    worker.add_argument(
        "--device",
        dest="devices",
        metavar="ID",
        action="append",
        default=[],
        help="a device that only this machine has, such as line:COM1 (may be repeated)",
    )
    worker.set_defaults(handler=_worker)


def _register_run(subparsers: Any) -> None:
    run = subparsers.add_parser(
        "run",
        help="run a job now and wait for it",
        description="Run a job now and wait for it. Exit code 0: it succeeded, or its slot had "
        "before; 1: it did not.",
    )
    run.add_argument("job", metavar="JOB")
    run.add_argument("--slot", metavar="TS", help="instant it stands for; a slot succeeds once")
    run.add_argument(
        "--set",
        dest="assignments",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="value of a parameter of the notebook (may be repeated)",
    )
    run.set_defaults(handler=_run)

    backfill = subparsers.add_parser(
        "backfill", help="run the slots of a job's schedule in a stretch of the past"
    )
    backfill.add_argument("job", metavar="JOB")
    backfill.add_argument(
        "--from", dest="first", required=True, metavar="TIME", help="day or instant, included"
    )
    backfill.add_argument(
        "--to", dest="last", metavar="TIME", help="day or instant, included (default: now)"
    )
    backfill.add_argument(
        "--mode",
        choices=("none", "failed", "all"),
        default="none",
        help="which slots: those that never ran, also those that failed, or all anew",
    )
    backfill.add_argument(
        "--wait", action="store_true", help="wait until all have ended, starting them if need be"
    )
    backfill.add_argument(
        "--most", type=int, metavar="N", help="with --wait: at most so many at once"
    )
    backfill.set_defaults(handler=_backfill)


def _register_runs(subparsers: Any) -> None:
    runs = subparsers.add_parser("runs", help="list runs and how well each job does")
    runs.add_argument("--json", action="store_true", help="print one JSON object")
    runs.add_argument("--job", metavar="JOB", help="only runs of this job")
    runs.add_argument("--state", metavar="STATE", action="append", help="only runs in this state")
    runs.add_argument("--limit", type=int, default=30, metavar="N", help="newest runs shown")
    runs.add_argument(
        "--days", type=int, default=30, metavar="N", help="success and durations of so many days"
    )
    runs.set_defaults(handler=_runs)
    actions = runs.add_subparsers(dest="action", metavar="ACTION")
    show = actions.add_parser("show", help="show one run with its attempts, files and log")
    show.add_argument("id", metavar="ID", help="the run's id, or its beginning")
    show.add_argument("--json", action="store_true", help="print one JSON object")
    show.set_defaults(handler=_show)

    cancel = subparsers.add_parser("cancel", help="end a run that waits or goes on")
    cancel.add_argument("id", metavar="ID", help="the run's id, or its beginning")
    cancel.set_defaults(handler=_cancel)


def _register_site(subparsers: Any) -> None:
    site = subparsers.add_parser("site", help="make a new site")
    actions = site.add_subparsers(dest="action", required=True, metavar="ACTION")
    new = actions.add_parser("new", help="make a site's folder with commented settings and a job")
    new.add_argument("name", metavar="NAME", help="name under parameters/, or a path")
    new.add_argument("--timezone", default="Europe/Paris", help="the site's zone")
    new.set_defaults(handler=_new_site)


def _jobs(arguments: argparse.Namespace) -> int:
    from workspace_lib.runs import reports
    from workspace_lib.settings import load_settings

    settings = load_settings(arguments.site)
    found = reports.describe_jobs(settings)
    print(reports.jobs_json(found) if arguments.json else reports.jobs_table(found))
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from workspace_lib.runs.specs import load_jobs
    from workspace_lib.settings import load_settings

    jobset = load_jobs(load_settings(arguments.site))
    for problem in jobset.problems:
        print(problem)
    print(f"Job files: {len(jobset.files)}, problems: {len(jobset.problems)}.")
    return 1 if jobset.problems else 0


def _schema(arguments: argparse.Namespace) -> int:
    from workspace_lib.files import atomic_write
    from workspace_lib.runs.job_schema import schema_path, schema_text
    from workspace_lib.settings import load_settings

    path = schema_path(load_settings(arguments.site).root)
    atomic_write(path, schema_text().encode())
    print(path)
    return 0


def _tick(arguments: argparse.Namespace) -> int:
    import socket

    from workspace_lib.runs.executors import open_executor
    from workspace_lib.runs.scheduler import Scheduler

    with _opened(arguments) as (settings, store):
        name = f"tick@{socket.gethostname()}:cron"
        scheduler = Scheduler(settings, store, open_executor(settings), name=name)
        report = scheduler.step()
        scheduler.close()
    tick = report.tick
    due, gaps = (len(tick.created), tick.gaps) if tick is not None else (0, 0)
    print(f"{due} made due, {len(report.started)} started, {len(report.lost)} lost, {gaps} gaps.")
    for part in report.failed:
        print(f"Failed: {part}; see the log.")
    return 1 if report.failed else 0


def _schedule(arguments: argparse.Namespace) -> int:
    import signal
    import threading

    from workspace_lib.runs.executors import open_executor
    from workspace_lib.runs.scheduler import Scheduler
    from workspace_lib.runs.services import ServiceSupervisor

    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with _opened(arguments) as (settings, store):
        services = ServiceSupervisor(settings, store)
        executor = open_executor(settings, keep_warm=True)
        Scheduler(settings, store, executor, services).run(stop)
    return 0


def _worker(arguments: argparse.Namespace) -> int:
    import os
    import subprocess

    from workspace_lib.runs.executors.worker_program import worker_command, worker_environment
    from workspace_lib.settings import load_settings

    settings = load_settings(arguments.site)
    command = worker_command(settings, arguments.places, arguments.devices)
    environment = worker_environment(settings)
    if os.name == "nt":
        return subprocess.call(command, env=environment)
    os.execve(command[0], command, environment)


def _run(arguments: argparse.Namespace) -> int:
    from workspace_lib.clock import SYSTEM_CLOCK
    from workspace_lib.runs.by_hand import ask_for_run, typed_parameters
    from workspace_lib.runs.specs import load_jobs

    with _opened(arguments) as (settings, store):
        spec = load_jobs(settings).spec(arguments.job)
        parameters = typed_parameters(settings, spec, arguments.assignments)
        asked = ask_for_run(
            store, spec, slot=arguments.slot, parameters=parameters, now=SYSTEM_CLOCK.now()
        )
        if asked.already:
            print(f"{spec.name}, slot {asked.slot}: has succeeded already (run {asked.run_id}).")
            return 0
        return _wait_for(settings, store, [asked.run_id])


def _backfill(arguments: argparse.Namespace) -> int:
    from zoneinfo import ZoneInfo

    from workspace_lib.clock import SYSTEM_CLOCK
    from workspace_lib.runs.backfill import backfill, backfill_slots, parse_edge
    from workspace_lib.runs.specs import load_jobs

    now = SYSTEM_CLOCK.now()
    with _opened(arguments) as (settings, store):
        jobset = load_jobs(settings)
        spec = jobset.spec(arguments.job)
        zone = ZoneInfo(spec.timezone)
        first = parse_edge(arguments.first, zone, end=False)
        last = parse_edge(arguments.last, zone, end=True) if arguments.last else now
        slots = backfill_slots(spec, jobset.specs, first, last, now)
        report = backfill(store, spec, slots, arguments.mode, now)
        left = report.slots - len(report.run_ids)
        print(
            f"{report.slots} slots: {len(report.created)} new runs, "
            f"{len(report.repeated)} to be repeated, {left} left as they are."
        )
        if report.pending:
            print(f"{len(report.pending)} of these wait or go on since an earlier time.")
        wanted = [*report.pending, *report.run_ids]
        if not arguments.wait or not wanted:
            return 0
        return _drive(settings, store, wanted, arguments.most)


def _drive(settings: Settings, store: Store, run_ids: list[str], most: int | None) -> int:
    """Follow a fan-out on the terminal; Ctrl-C cancels what is left. Returns the exit code."""
    from workspace_lib.clock import SYSTEM_CLOCK
    from workspace_lib.runs.executors import open_executor
    from workspace_lib.runs.fan_out import cancel_rest, drive
    from workspace_lib.runs.reports import FanOutBar

    executor = open_executor(settings)
    bar = FanOutBar(len(run_ids))
    try:
        try:
            tally = drive(
                settings, store, run_ids, executor, most=most, show=bar.show, tell=bar.tell
            )
        except KeyboardInterrupt:
            bar.say("Cancelling; press Ctrl-C again to leave at once.")
            asked = cancel_rest(store, run_ids, "Ctrl-C", SYSTEM_CLOCK.now())
            drive(settings, store, asked, executor)
            bar.say("The rest is taken up with --mode failed.")
            return 130
    finally:
        bar.close()
        executor.close()
    print(f"{tally.succeeded} of {tally.total} runs succeeded.")
    return 0 if tally.succeeded == tally.total else 1


def _wait_for(settings: Settings, store: Store, run_ids: list[str]) -> int:
    """Follow runs on the terminal; Ctrl-C cancels them. Returns the exit code."""
    from workspace_lib.clock import SYSTEM_CLOCK
    from workspace_lib.runs import ledger, reports
    from workspace_lib.runs.by_hand import follow
    from workspace_lib.runs.executors import open_executor

    executor = open_executor(settings)
    display = reports.Display()
    try:
        try:
            ended = follow(
                settings, store, run_ids, executor, show=display.show, show_log=display.log
            )
        except KeyboardInterrupt:
            print("Cancelling; press Ctrl-C again to leave at once.", flush=True)
            for run_id in run_ids:
                ledger.request_cancel(store, run_id, "Ctrl-C", SYSTEM_CLOCK.now())
                run = ledger.get_run(store, run_id)
                if run is not None and not run.ended:
                    executor.cancel(run_id, run.attempt)
            for run in follow(settings, store, run_ids, executor, show=display.show):
                print(reports.run_line(run))
            return 130
    finally:
        display.close()
        executor.close()
    for run in ended:
        print(reports.run_line(run))
    return 0 if all(run.state == "succeeded" for run in ended) else 1


def _runs(arguments: argparse.Namespace) -> int:
    from datetime import timedelta

    from workspace_lib.clock import SYSTEM_CLOCK
    from workspace_lib.runs import ledger, reports
    from workspace_lib.runs.fan_out import backlogs
    from workspace_lib.settings import load_settings
    from workspace_lib.store.migrate import open_store

    with open_store(load_settings(arguments.site), read_only=True) as store:
        found = ledger.list_runs(
            store, job=arguments.job, states=arguments.state or (), limit=arguments.limit
        )
        since = SYSTEM_CLOCK.now() - timedelta(days=arguments.days)
        summaries = ledger.job_summaries(store, since=since)
        left = [one for one in backlogs(store) if arguments.job in (None, one.job)]
    if arguments.job is not None:
        summaries = {job: one for job, one in summaries.items() if job == arguments.job}
    if arguments.json:
        print(reports.runs_json(found, summaries, arguments.days))
    else:
        print(reports.runs_table(found))
        print()
        print(reports.summaries_table(summaries, arguments.days))
        for one in left:
            print(f"Backfill of {one.job}: {one.waiting} runs wait, {one.active} go on.")
    return 0


def _show(arguments: argparse.Namespace) -> int:
    from workspace_lib.runs import reports
    from workspace_lib.runs.ledger_queries import find_run_id, get_run
    from workspace_lib.settings import load_settings
    from workspace_lib.store.migrate import open_store

    settings = load_settings(arguments.site)
    with open_store(settings, read_only=True) as store:
        run = get_run(store, find_run_id(store, arguments.id))
        assert run is not None
    print(reports.run_json(run) if arguments.json else reports.run_text(settings, run))
    return 0


def _cancel(arguments: argparse.Namespace) -> int:
    import getpass

    from workspace_lib.clock import SYSTEM_CLOCK
    from workspace_lib.runs import ledger
    from workspace_lib.runs.ledger_queries import find_run_id

    with _opened(arguments) as (_, store):
        run_id = find_run_id(store, arguments.id)
        what = ledger.request_cancel(store, run_id, getpass.getuser(), SYSTEM_CLOCK.now())
    told = {
        "cancelled": "It waited and is cancelled.",
        "requested": "It goes on and is told to end.",
        "ended": "It had ended; nothing was changed.",
    }
    print(f"{run_id}: {told[what]}")
    return 0


def _new_site(arguments: argparse.Namespace) -> int:
    import os
    from pathlib import Path

    from workspace_lib.runs.site_template import new_site
    from workspace_lib.settings import find_root

    # No site need be right yet, so only the workspace itself is looked for.
    configured = os.environ.get("WORKSPACE_ROOT")
    root = Path(configured).resolve() if configured else find_root()
    for path in new_site(root, arguments.name, timezone=arguments.timezone):
        print(path)
    print(f"Edit them, then: workspace --site {arguments.name} jobs check")
    return 0


@contextmanager
def _opened(arguments: argparse.Namespace) -> Iterator[tuple[Settings, Store]]:
    """Load the settings, set the log up and open the store."""
    from workspace_lib.logs import set_up_logging
    from workspace_lib.settings import load_settings
    from workspace_lib.store.migrate import open_store

    settings = load_settings(arguments.site)
    set_up_logging(settings, verbose=arguments.verbose)
    with open_store(settings) as store:
        yield settings, store
