"""The run a notebook belongs to: the scheduled one, or a draft one when somebody runs it by hand.

A scheduled run publishes for everyone once it has succeeded. By hand, what is published lies in
``outputs/<site>/drafts/<session>/`` and is found by `load_published` in that session alone.
"""

from __future__ import annotations

import getpass
import json
import logging
import os
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

from workspace_lib import logs, secrets, simulators
from workspace_lib.clock import SYSTEM_CLOCK, iso, parse_instant
from workspace_lib.errors import ConfigError, PublishError
from workspace_lib.files import safe_name, sha256_file
from workspace_lib.runs.state import RunState, kernel_state
from workspace_lib.settings import Settings, load_settings

if TYPE_CHECKING:
    from workspace_lib.store.engines import Store
    from workspace_lib.store.publications import Artefact, Published
    from workspace_lib.transports.devices import Holder

#: Names the file in which the runner tells the kernel which run it is.
RUN_FILE_VARIABLE = "WORKSPACE_RUN_FILE"
#: Drafts of sessions older than this are removed when a new session starts.
DRAFT_DAYS = 7
#: Files to publish are searched for secrets up to this size [bytes].
_LARGEST_SCANNED = 16_000_000

T = TypeVar("T")


class InputMissing(PublishError):
    """A publication that a run needs does not exist yet."""


class RunContext:
    """What a notebook knows of its run, and what it can tell.

    Attributes
    ----------
    settings : Settings
        Settings of the active site.
    run_id, attempt : str, int
        Which run this is; a draft has attempt 0.
    job : str
        Name of the job; empty for a draft.
    slot : datetime or None
        The scheduled instant in UTC; None for a manual run, an event or a draft.
    slot_text : str
        The slot as the ledger writes it.
    parameters : dict
        Parameters as the job gave them; secrets only as ``secret://NAME``.
    is_draft : bool
        Whether somebody runs the notebook by hand.
    folder : Path
        Folder of this run's own files.
    log : logging.Logger
        Goes to the run's log, secrets redacted.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        run_id: str,
        attempt: int,
        job: str,
        slot_text: str,
        parameters: Mapping[str, Any],
        is_draft: bool,
        folder: Path,
        log_file: Path | None,
        state: RunState,
        slot: datetime | None = None,
        fresh_for_s: float | None = None,
        holder: str | None = None,
    ) -> None:
        self.settings = settings
        self.run_id = run_id
        self.attempt = attempt
        self.job = job
        self.slot = slot
        self.slot_text = slot_text
        self.parameters = dict(parameters)
        self.is_draft = is_draft
        self.folder = folder
        self.log = logging.getLogger("workspace_lib.notebook")
        self._fresh_for_s = fresh_for_s
        self._holder = holder or run_id
        self._state = state
        use_demo_secrets(settings)
        logging.getLogger(logs.LOGGER).setLevel(settings.logging.level)
        if log_file is not None:  # a service has set up its own
            logs.add_run_log(log_file)

    @cached_property
    def store(self) -> Store:
        """The site's store, opened when first asked for."""
        from workspace_lib.store.migrate import open_store

        return open_store(self.settings)

    @property
    def holder(self) -> Holder:
        """Who holds the devices this run opens: hand it to `open_exclusive`."""
        from workspace_lib.transports.devices import Holder

        return Holder(self._holder, self.settings.runs.lease_s)

    def publish(
        self,
        name: str,
        obj: Any,
        *,
        unit: str | Mapping[str, str] | None = None,
        valid_from: datetime | None = None,
        valid_to: datetime | None = None,
        as_of: datetime | None = None,
        inputs: Sequence[Any] = (),
        extra: Mapping[str, Any] | None = None,
    ) -> Artefact:
        """Write a frame, figure, value or file as ``<wing>.<thing>[/<key>]``.

        Readers see it once the run has succeeded; a draft is seen by this session alone. What the
        run has loaded and named as sources is noted as its inputs, beside ``inputs``.

        Parameters
        ----------
        unit : str or mapping, optional
            Unit of the whole, or by column of a frame.
        valid_from, valid_to : datetime, optional
            Span of the data in it.
        as_of : datetime, optional
            The instant for which it speaks; default now.

        Raises
        ------
        PublishError
            If the name or the object cannot be published, or a secret stands in it.
        """
        from workspace_lib.store import publications
        from workspace_lib.store.engines import write

        if _holds_secret(obj) or _holds_secret(extra):
            raise PublishError(f"A secret stands in {name}.", fix="Publish it without.")
        now = SYSTEM_CLOCK.now()
        known = self._state.content.get("inputs", [])
        artefact = publications.write_artefact(
            self.settings.outputs_dir,
            name,
            obj,
            run_id=self.run_id,
            attempt=self.attempt,
            folder=self.folder / "artefacts",
            unit=unit,
            valid_from=valid_from,
            valid_to=valid_to,
            as_of=as_of or now,
            inputs=[*known, *inputs],
            extra=extra,
        )
        if self.is_draft:
            publications.keep_draft(self.store, artefact)
        else:
            with write(self.store.control) as connection:
                publications.record(connection, artefact, now, fresh_for_s=self._fresh_for_s)
        self.log.info("Published %s%s.", name, " as a draft" if self.is_draft else "")
        return artefact

    def load_published(self, name: str, *, now: datetime | None = None) -> Published:
        """Return a publication and note it as an input of this run.

        Raises
        ------
        InputMissing
            If it was never published.
        """
        from workspace_lib.store import publications

        try:
            found = publications.load_published(self.store, name, now=now)
        except PublishError as error:
            raise InputMissing(error.what, where=error.where, fix=error.fix) from error
        self._state.append(
            "inputs",
            {
                "name": found.name,
                "sha256": found.manifest["sha256"],
                "run_id": found.run_id,
                "attempt": found.attempt,
            },
        )
        return found

    def source(self, what: str | Path, *, sha256: str | None = None) -> None:
        """Note a file or a source that this run reads, for its provenance; a file with its hash."""
        if isinstance(what, Path):
            sha256 = sha256 or sha256_file(what)
            what = _relative(what, self.settings.outputs_dir, self.settings.root)
        self._state.append("inputs", {"name": what, "sha256": sha256})

    @overload
    def progress(self, of: float, text: str = "") -> None: ...
    @overload
    def progress(self, of: Iterable[T], text: str = "") -> Iterator[T]: ...
    def progress(self, of: float | Iterable[Any], text: str = "") -> Iterator[Any] | None:
        """Tell how far the run is: a fraction (0 to 1), or the items of ``of`` as they are taken.

        >>> for file in run.progress(files, "fetching"):  # doctest: +SKIP
        """
        if isinstance(of, int | float):
            fraction = min(max(float(of), 0.0), 1.0)
            self._state.set_soon("progress", {"fraction": fraction, "text": text})
            return None
        return self._track(of, text)

    def set_partial(self, reason: str, last_good: datetime | None = None) -> None:
        """Say that the run has not got all it should; what it has is whole up to ``last_good``."""
        good = iso(last_good) if last_good else None
        self._state.set("partial", {"reason": reason, "last_good": good})
        self.log.warning("Partial: %s", reason)

    def count(
        self, *, files: int = 0, bytes: int = 0, rows: int = 0, last_good: datetime | None = None
    ) -> None:
        """Add what was captured to the run's account: files, bytes and rows now safe in the store.

        If the run dies later these stay, and the run is flagged partial; ``last_good`` is the
        instant up to which they are whole (default: when they were counted).
        """
        amounts = {"files": files, "bytes": bytes, "rows": rows}
        moment = last_good or SYSTEM_CLOCK.now()
        self._state.add("counts", {k: v for k, v in amounts.items() if v}, at=iso(moment))

    def secret(self, reference: str) -> str:
        """Return the secret named ``secret://NAME``; it is redacted from all the run writes.

        Raises
        ------
        ConfigError
            If it is no such name, or the secret is set nowhere.
        """
        return secrets.resolve(reference)

    def serve(self, service: Callable[..., None], for_s: float, **parameters: Any) -> None:
        """Run a service's function for a bounded slice, where no supervisor keeps it running.

        Parameters
        ----------
        service : callable
            ``serve(stop, heartbeat, **parameters)``, as a job file names it with ``service:``.
        for_s : float
            After this its ``stop`` is set [s].
        """
        stop = threading.Event()
        timer = threading.Timer(for_s, stop.set)
        timer.daemon = True
        timer.start()
        try:
            service(stop, self._heartbeat, **parameters)
        finally:
            timer.cancel()

    def _heartbeat(self, text: str = "") -> None:
        self._state.set_soon("progress", {"fraction": None, "text": text})

    def _track(self, items: Iterable[T], text: str) -> Iterator[T]:
        total = len(items) if isinstance(items, Sized) else None
        if self.is_draft:
            from tqdm.auto import tqdm

            items = tqdm(items, desc=text or None, total=total)
        for done, item in enumerate(items):
            if total:
                self.progress(done / total, text)
            yield item
        self.progress(1.0, text)


_lock = threading.Lock()
_current: RunContext | None = None
_stores: dict[Path, Store] = {}
_providers: dict[Path, Callable[[str], str | None]] = {}


def current_run() -> RunContext:
    """Return the run of this process: the one the runner started, else a draft one."""
    global _current
    with _lock:
        if _current is None:
            path = os.environ.get(RUN_FILE_VARIABLE)
            _current = _scheduled(Path(path)) if path else _draft(load_settings())
        return _current


def load_published(
    name: str, *, now: datetime | None = None, settings: Settings | None = None
) -> Published:
    """Return what was last published under ``name``, or this session's own draft of it.

    In a run it is noted as an input. A dashboard, which has no run, reads the store read-only.

    Raises
    ------
    PublishError
        If it was never published.
    """
    if settings is None and (_current is not None or RUN_FILE_VARIABLE in os.environ):
        return current_run().load_published(name, now=now)
    from workspace_lib.store import publications
    from workspace_lib.store.migrate import open_store

    chosen = settings or load_settings()
    with _lock:
        if chosen.outputs_dir not in _stores:
            _stores[chosen.outputs_dir] = open_store(chosen, read_only=True)
        store = _stores[chosen.outputs_dir]
    return publications.load_published(store, name, now=now)


def use_demo_secrets(settings: Settings) -> None:
    """Let this process find the passwords that the site's running simulators have made up."""
    if settings.outputs_dir not in _providers:
        _providers[settings.outputs_dir] = lambda name: simulators.secret(settings, name)
    secrets.add_provider(_providers[settings.outputs_dir])


def clean_drafts(settings: Settings, now: float | None = None) -> list[Path]:
    """Remove the drafts of sessions that are a week old; returns their folders."""
    limit = (time.time() if now is None else now) - DRAFT_DAYS * 86_400
    removed = []
    for folder in sorted((settings.outputs_dir / "drafts").glob("*")):
        newest = max((path.stat().st_mtime for path in [folder, *folder.rglob("*")]), default=0)
        if newest < limit:
            shutil.rmtree(folder, ignore_errors=True)
            removed.append(folder)
    return removed


def _scheduled(path: Path) -> RunContext:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(
            "The run of this process is over.",
            where=str(path),
            fix=f"Unset {RUN_FILE_VARIABLE} to work by hand.",
        ) from error
    slot = content["slot_at"]
    return RunContext(
        load_settings(),
        run_id=content["run_id"],
        attempt=content["attempt"],
        job=content["job"],
        slot=parse_instant(slot) if slot else None,
        slot_text=content["slot"],
        parameters=content["parameters"],
        is_draft=False,
        folder=Path(content["folder"]),
        log_file=Path(content["log"]) if content["log"] else None,
        state=kernel_state(),
        fresh_for_s=content["fresh_for_s"],
        holder=content["holder"],
    )


def _draft(settings: Settings) -> RunContext:
    clean_drafts(settings)
    now = SYSTEM_CLOCK.now()
    session = safe_name(f"{_user()}-{now:%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:4]}")
    folder = settings.outputs_dir / "drafts" / session
    return RunContext(
        settings,
        run_id=f"draft-{session}",
        attempt=0,
        job="",
        slot_text=f"draft:{session}",
        parameters={},
        is_draft=True,
        folder=folder,
        log_file=folder / "run.log",
        state=RunState(folder / "state.json"),
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container whose user has no name
        return "user"


def _relative(path: Path, *roots: Path) -> str:
    for root in roots:
        if path.resolve().is_relative_to(root):
            return path.resolve().relative_to(root).as_posix()
    return str(path)


def _holds_secret(obj: Any) -> bool:
    """Return whether a known secret stands in a text of ``obj``; numbers are not looked at."""
    if not secrets.any_known():
        return False
    if isinstance(obj, str):
        return secrets.contains_secret(obj)
    if isinstance(obj, Path):
        small = obj.is_file() and obj.stat().st_size <= _LARGEST_SCANNED
        return small and secrets.contains_secret(obj.read_bytes().decode("utf-8", "ignore"))
    if isinstance(obj, Mapping):
        return any(_holds_secret(key) or _holds_secret(value) for key, value in obj.items())
    if isinstance(obj, list | tuple | set | frozenset):
        return any(_holds_secret(item) for item in obj)
    if hasattr(obj, "select_dtypes"):  # pandas
        texts = obj.select_dtypes(include=["object", "string", "category"])
        return any(_holds_secret([*column.astype(str).unique()]) for _, column in texts.items())
    if hasattr(obj, "to_arrow"):  # polars
        obj = obj.to_arrow()
    if hasattr(obj, "itercolumns"):  # pyarrow
        texts = [column for column in obj.itercolumns() if "string" in str(column.type)]
        return any(_holds_secret(column.unique().to_pylist()) for column in texts)
    if hasattr(obj, "to_json"):  # plotly
        return secrets.contains_secret(obj.to_json())
    return False
