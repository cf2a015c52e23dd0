"""Runs that somebody asks for: once, by slot, and without a scheduler where none is there."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from workspace_lib.clock import SYSTEM_CLOCK, Clock
from workspace_lib.errors import ParameterError
from workspace_lib.runs import ledger
from workspace_lib.runs.executors import Executor, Places
from workspace_lib.runs.folders import RunFolders
from workspace_lib.runs.job_schema import did_you_mean
from workspace_lib.runs.job_spec import JobSpec
from workspace_lib.runs.ledger_queries import Run, find_run
from workspace_lib.runs.notebook_parameters import NotebookParameter, parse_value
from workspace_lib.runs.specs import parameters_of
from workspace_lib.runs.states import manual_slot, owner_id, slot_text
from workspace_lib.settings import Settings
from workspace_lib.store.engines import Store, write

#: The ledger and the logs are looked at this often [s].
LOOK_EVERY_S = 0.2


@dataclass(frozen=True)
class Asked:
    """The run that somebody asked for; ``already`` says that its slot had succeeded before."""

    run_id: str
    slot: str
    already: bool


def ask_for_run(
    store: Store,
    spec: JobSpec,
    *,
    slot: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    now: datetime,
) -> Asked:
    """Write the run of a slot, or a new one by hand, into the ledger.

    A slot that has succeeded is left alone, one that is under way is found again, and one that has
    failed, was skipped or cancelled is due once more: however often it is asked for, a slot
    succeeds once.

    Raises
    ------
    ParameterError
        If the slot is no slot, or the job is a service.
    """
    if spec.service is not None:
        raise ParameterError(
            f"{spec.name} is a service.", fix="The scheduler runs it: workspace schedule."
        )
    text = manual_slot(now) if slot is None else slot_text(slot)
    with write(store.control) as connection:
        run_id = ledger.create_run(connection, spec, text, due=now, now=now, parameters=parameters)
    if run_id is not None:
        return Asked(run_id, text, already=False)
    found = find_run(store, spec.name, text)
    assert found is not None
    if found.state == "succeeded":
        return Asked(found.id, text, already=True)
    with write(store.control) as connection:
        ledger.requeue(connection, found.id, now=now, spec=spec, parameters=parameters)
    return Asked(found.id, text, already=False)


def typed_parameters(
    settings: Settings, spec: JobSpec, assignments: Sequence[str]
) -> dict[str, Any]:
    """Return what ``name=value`` texts mean for the parameters of a job's notebook.

    Raises
    ------
    ParameterError
        If one is not written so, names no parameter, or has a value of another type.
    """
    known = parameters_of(settings, spec)
    values: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise ParameterError(f"{assignment!r} is no assignment.", fix="Write --set name=value.")
        values[name] = parse_value(_parameter(known, name, spec), text)
    return values


def follow(
    settings: Settings,
    store: Store,
    run_ids: Sequence[str],
    executor: Executor,
    *,
    show: Callable[[Run], None] = lambda run: None,
    show_log: Callable[[str], None] = lambda text: None,
    clock: Clock = SYSTEM_CLOCK,
) -> list[Run]:
    """Wait until all these runs have ended and return them; start those that nobody starts.

    A scheduler that is there may start them as well: a run is claimed once. ``show`` is told of
    each look at a run that goes on, ``show_log`` of what its log says.
    """
    owner = owner_id(f"by-hand-{_user()}", os.getpid())
    places = Places(executor, settings, store, clock)
    ended: dict[str, Run] = {}
    tails: dict[Path, int] = {}
    while len(ended) < len(run_ids):
        now = clock.now()
        executor.reap()
        ledger.reap(store, now)
        for run_id in [one for one in run_ids if one not in ended]:
            run = ledger.get_run(store, run_id)
            if run is None:
                raise ParameterError(f"There is no run {run_id!r}.")
            show(run)
            path = RunFolders(settings.outputs_dir, run_id, run.attempt).log
            # The log of a try before this one's is not news.
            if (run.state != "due" or path in tails) and (text := _read_on(path, tails)):
                show_log(text)
            if run.ended:
                ended[run_id] = run
            elif run.state == "due" and run.not_before <= now and places.free_by_hand(run):
                _start(store, settings, executor, run_id, owner, now)
        if len(ended) < len(run_ids):
            clock.sleep(LOOK_EVERY_S)
    return [ended[run_id] for run_id in run_ids]


def _start(
    store: Store, settings: Settings, executor: Executor, run_id: str, owner: str, now: datetime
) -> None:
    claim = ledger.claim_one(store, run_id, owner=owner, now=now, lease_s=settings.runs.lease_s)
    if claim is None:
        return
    try:
        executor.submit(claim)
    except BaseException as error:
        ledger.give_back(store, claim, f"It could not be started ({error}).", wait_s=0, now=now)
        raise


def _parameter(
    known: Mapping[str, NotebookParameter], name: str, spec: JobSpec
) -> NotebookParameter:
    if name not in known:
        hint = did_you_mean(name, known) or f" It has: {', '.join(known) or 'none'}."
        raise ParameterError(f"The notebook {spec.notebook} has no parameter {name!r}.{hint}")
    return known[name]


def _read_on(path: Path, tails: dict[Path, int]) -> str:
    """Return what was added to a log since the last look, whole lines only."""
    if not path.exists():
        return ""
    with path.open("rb") as stream:
        stream.seek(tails.get(path, 0))
        content = stream.read()
    whole = content[: content.rfind(b"\n") + 1]
    tails[path] = tails.get(path, 0) + len(whole)
    return whole.decode("utf-8", errors="replace")


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"
