"""What a machine that runs notebooks is like: told by both sides of dask, and compared."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from workspace_lib.errors import WorkspaceError
from workspace_lib.files import atomic_write, sha256_file
from workspace_lib.runs.provenance import git_commit, versions
from workspace_lib.settings import Settings
from workspace_lib.store.engines import connect_store
from workspace_lib.store.migrate import identity

#: Says in the folder of the outputs whose it is, so that a worker which sees another is noticed.
OUTPUTS_FILE = ".store"
_PACKAGE = Path(__file__).resolve().parents[2]
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_LOCK = "requirements.lock"


@dataclass(frozen=True)
class WorkerFacts:
    """Site, store, outputs and code as one machine sees them.

    ``machine`` differs between two systems that do not share a kernel: only within one can SQLite's
    files be shared. ``store`` and ``outputs`` are the identity of the store, once by the database
    and once by the folder; ``code`` is the hash of the library and of the jobs' notebooks.
    """

    host: str
    machine: str
    site: str
    store: str | None
    outputs: str | None
    on_sqlite: bool
    code: str
    commit: str | None
    lock: str | None
    versions: dict[str, str | None]
    trouble: str | None = None


def look_around(settings: Settings) -> WorkerFacts:
    """Return what this machine is like for the site; a store that is away is told as trouble."""
    store, trouble = None, None
    try:
        with connect_store(settings, read_only=True) as opened:
            store = identity(opened)
    except (WorkspaceError, SQLAlchemyError) as error:
        trouble = f"the store cannot be opened ({error})"
    lock = settings.root / _LOCK
    return WorkerFacts(
        host=socket.gethostname(),
        machine=machine_id(),
        site=settings.site_name,
        store=store,
        outputs=_outputs_identity(settings),
        on_sqlite=settings.store.url is None,
        code=code_hash(settings),
        commit=git_commit(settings.root),
        lock=sha256_file(lock) if lock.is_file() else None,
        versions=versions(),
        trouble=trouble,
    )


def mark_outputs(settings: Settings) -> None:
    """Write the identity of the store into the folder of the outputs, if it is not there."""
    with connect_store(settings, read_only=True) as store:
        mine = identity(store)
    if mine is not None and _outputs_identity(settings) != mine:
        atomic_write(settings.outputs_dir / OUTPUTS_FILE, mine.encode())


def machine_id() -> str:
    """Return what tells one running system from another; containers of one machine share it."""
    return _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else socket.gethostname()


def code_hash(settings: Settings) -> str:
    """Return the hash of the library's modules and of the jobs' notebooks, as they are now."""
    whole = sha256()
    jobs = settings.notebooks_dir / "jobs"
    for folder, pattern in ((_PACKAGE, "**/*.py"), (jobs, "**/*.ipynb")):
        for path in sorted(folder.glob(pattern)):
            name = path.relative_to(folder).as_posix()
            if ".ipynb_checkpoints/" not in name:  # what Jupyter keeps beside an open notebook
                whole.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    return whole.hexdigest()


def unfit(here: WorkerFacts, there: WorkerFacts) -> str | None:
    """Return why a worker can take no runs of this site, or None: no setting can allow that."""
    if there.site != here.site:
        return f"it serves the site {there.site}, not {here.site}: set WORKSPACE_SITE there"
    if here.on_sqlite and there.machine != here.machine:
        return (
            f"it is on another machine ({there.host}), and a store of SQLite can only be used on "
            f"one: set store.url to a PostgreSQL database"
        )
    if there.trouble is not None:
        return there.trouble
    if there.store != here.store:
        return "it has another store: give it the same store.url"
    if there.outputs != here.store:
        return "it has another folder of outputs: mount the same there, and set WORKSPACE_OUTPUTS"
    return None


def other_code(here: WorkerFacts, there: WorkerFacts) -> str | None:
    """Return how the code of a worker differs from ours, or None."""
    differences = []
    if there.code != here.code:
        commits = ""
        if here.commit != there.commit:
            commits = f" (commit {_short(there.commit)} there, {_short(here.commit)} here)"
        differences.append(f"other code or notebooks{commits}")
    if there.lock != here.lock:
        differences.append(f"another {_LOCK}")
    differences += [
        f"{name} {there.versions.get(name) or 'missing'} there, {version or 'missing'} here"
        for name, version in here.versions.items()
        if there.versions.get(name) != version
    ]
    return "; ".join(differences) or None


def _outputs_identity(settings: Settings) -> str | None:
    try:
        return (settings.outputs_dir / OUTPUTS_FILE).read_text(encoding="utf-8").strip()
    except OSError:
        return None


def _short(commit: str | None) -> str:
    return commit[:10] if commit else "unknown"
