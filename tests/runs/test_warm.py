"""Runs forked off a warm parent are like started ones, and start the usual way in any doubt."""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from workspace_lib.runs import ledger
from workspace_lib.runs.executors.local import LocalExecutor
from workspace_lib.runs.folders import RunFolders
from workspace_lib.runs.ledger_queries import Run
from workspace_lib.runs.marks import Place, living_owners
from workspace_lib.runs.processes import marked, private_folder
from workspace_lib.runs.states import Claim
from workspace_lib.runs.warm import WarmParent, WarmRunner
from workspace_lib.settings import Settings, load_settings
from workspace_lib.store.engines import Store
from workspace_lib.store.migrate import open_store
from workspace_lib.store.publications import load_published

# Runs are forked on Linux alone.
warm_parent = pytest.importorskip("workspace_lib.runs.warm_parent", exc_type=ImportError)

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

WaitUntil = Callable[..., None]
#: What a kernel is given and what it has loaded of it, but for what names its own run.
LOOKS = """\
import os, sys, locale, random, multiprocessing, workspace_lib
import numpy as np, matplotlib, matplotlib.pyplot as plt
run = workspace_lib.current_run()
own = ('WORKSPACE_RUN_', 'WORKSPACE_SECRETS_', 'JPY_', 'PWD', 'OLDPWD', '_')
seen = {
    'environment': {k: v for k, v in os.environ.items() if not k.startswith(own)},
    'path': sys.path, 'program': sys.argv[0], 'flags': str(sys.flags), 'cwd': os.getcwd(),
    'backend': matplotlib.get_backend(), 'encoding': sys.stdin.encoding,
    'locale': locale.getlocale(), 'session': os.getsid(0) == os.getpid(),
    'parent': os.getppid() == int(os.environ['JPY_PARENT_PID']),
    'handles': sorted(os.listdir('/proc/self/fd'))[:3], 'umask': oct(os.umask(0o22)),
    'main': sys.modules['__main__'].__name__,
}"""
FRAME = """\
import pandas as pd, scipy.signal
days = pd.date_range('2026-01-01', periods=2000, freq='h', tz='UTC')
steps = np.random.default_rng(7).normal(size=2000)
field = np.random.default_rng(8).normal(size=(300, 300))
smooth = scipy.signal.lfilter(*scipy.signal.butter(4, 0.1), steps)
total = float((field @ field.T).sum())
frame = pd.DataFrame({'time': days, 'smooth': smooth, 'name': ['a', 'é'] * 1000})
figure, axes = plt.subplots()
axes.plot(smooth[:200]);"""


@dataclass
class Floor:
    """A site with one warm parent, kept by ``warm``; ``cold`` forks nothing."""

    settings: Settings
    store: Store
    warm: LocalExecutor
    cold: LocalExecutor

    def has_another(self, parent: int) -> bool:
        """Whether a parent other than this one has loaded."""
        self.warm.reap()
        return self.warm.warm_parent not in (None, parent)


@pytest.fixture(scope="module")
def floor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Floor]:
    """One site for all tests here: loading takes seconds."""
    root = tmp_path_factory.mktemp("root")
    (root / "parameters" / "testsite" / "jobs").mkdir(parents=True)
    (root / "notebooks" / "jobs").mkdir(parents=True)
    site = root / "parameters" / "testsite" / "site.yml"
    site.write_text(yaml.safe_dump({"runs": {"grace_s": 2.0, "heartbeat_s": 0.2}}))
    # A copy, so that a test can edit it.
    package = Path(warm_parent.__file__).parent.parent
    shutil.copytree(
        package, root / "lib" / package.name, ignore=shutil.ignore_patterns("__pycache__")
    )
    settings = load_settings("testsite", root=root)
    off = settings.model_copy(update={"runs": settings.runs.model_copy(update={"warm": "off"})})
    off._site_dir = settings.site_dir
    variables = {"PYTHONPATH": str(root / "lib")}
    with open_store(settings, create=True) as store:
        warm = LocalExecutor(settings, variables, keep_warm=True)
        yield Floor(settings, store, warm, LocalExecutor(off, variables, keep_warm=True))
        warm.stop()
        assert not private_folder(settings.outputs_dir, "warm", 0).exists()


@pytest.fixture
def parent(floor: Floor, wait_until: WaitUntil) -> int:
    """Process id of the warm parent, which may have to be started again after another test."""

    def loaded() -> int | None:
        floor.warm.reap()
        return floor.warm.warm_parent

    wait_until(loaded, "runs can be forked")
    found = loaded()
    assert found is not None
    return found


@pytest.fixture
def run_it(
    floor: Floor,
    claim_run: Callable[..., Claim],
    write_notebook: Callable[..., Path],
    wait_until: WaitUntil,
) -> Callable[..., Run]:
    """Run a notebook of these cells to its end, by default on the warm executor."""

    def run(*cells: str, executor: LocalExecutor | None = None, job: str = "job") -> Run:
        write_notebook(floor.settings, job, *cells)
        chosen = executor or floor.warm
        claim = claim_run(floor.store, job)
        chosen.submit(claim)
        wait_until(lambda: not chosen.running(), "the runner ends")
        found = ledger.get_run(floor.store, claim.run_id)
        assert found is not None
        return found

    return run


def start_of(run: Run) -> str:
    """Return how a run was started, which says nothing of whether it went well."""
    provenance = run.attempts[-1].provenance
    assert provenance is not None, run.message
    return str(provenance["start"])


def published(floor: Floor, name: str) -> Any:
    return load_published(floor.store, name).data


def test_warm_and_cold_runs_publish_the_same_bytes_and_see_the_same_world(
    floor: Floor, parent: int, run_it: Callable[..., Run]
) -> None:
    cells = (
        LOOKS,
        FRAME,
        "run.publish('rain.world', seen)\nrun.publish('rain.frame', frame)\n"
        "run.publish('rain.total', total)\nrun.publish('rain.figure', figure)\nNone",
    )
    made, outputs = {}, {}
    for executor in (floor.cold, floor.warm):
        run = run_it(*cells, executor=executor)
        assert run.state == "succeeded", run.message
        folders = RunFolders(floor.settings.outputs_dir, run.id, run.attempt)
        manifest = json.loads(folders.manifest.read_text())
        made[start_of(run)] = {one["name"]: one["sha256"] for one in manifest["outputs"]}
        if start_of(run) == "cold":
            world = published(floor, "rain.world")
        notebook = json.loads(folders.notebook.read_text())
        outputs[start_of(run)] = [
            [sorted(output.get("data", {})) for output in cell["outputs"]]
            for cell in notebook["cells"]
        ]
    assert set(made) == {"cold", "warm"}
    assert published(floor, "rain.world") == world
    assert made["warm"] == made["cold"]
    assert outputs["warm"] == outputs["cold"]
    assert any("image/png" in kinds for cell in outputs["warm"] for kinds in cell)


def test_a_library_edited_meanwhile_is_picked_up_by_the_next_run(
    floor: Floor, parent: int, run_it: Callable[..., Run]
) -> None:
    cell = "import workspace_lib\nrun = workspace_lib.current_run()\n"
    cell += "run.publish('rain.version', [workspace_lib.__version__, workspace_lib.__file__])"
    assert start_of(run_it(cell)) == "warm"
    before, place = published(floor, "rain.version")
    edited = floor.settings.root / "lib" / "workspace_lib" / "__init__.py"
    assert Path(place) == edited
    text = edited.read_text()
    edited.write_text(text.replace(f'"{before}"', '"of a later hour"'))
    try:
        assert start_of(run_it(cell)) == "warm"
    finally:
        edited.write_text(text)
    assert published(floor, "rain.version")[0] == "of a later hour"
    assert floor.warm.warm_parent == parent, "nothing had to be loaded again"


def test_twenty_runs_leave_no_process_socket_or_folder_behind(
    floor: Floor, parent: int, run_it: Callable[..., Run]
) -> None:
    place, base = Place.of(floor.settings), private_folder(floor.settings.outputs_dir, "warm", 0)

    def handles() -> list[int]:
        floor.warm.reap()
        gc.collect()
        return [psutil.Process(pid).num_fds() for pid in (parent, os.getpid())]

    run_it("1")
    before = handles()
    for _ in range(20):
        run = run_it("import workspace_lib\nrun = workspace_lib.current_run()")
        assert (run.state, start_of(run)) == ("succeeded", "warm")
    assert all(now <= then for now, then in zip(handles(), before, strict=True))
    assert [*marked(place.marks), *psutil.Process(parent).children(recursive=True)] == []
    assert not living_owners(place)
    assert [path for path in base.parent.glob("workspace-*") if _is_of(path, floor)] == []
    assert floor.warm.warm_parent == parent


def test_neither_the_parent_nor_a_later_kernel_holds_a_secret_of_the_scheduler(
    floor: Floor,
    parent: int,
    run_it: Callable[..., Run],
    monkeypatch: pytest.MonkeyPatch,
    wait_until: WaitUntil,
) -> None:
    floor.warm._warm.stop()
    monkeypatch.setenv("CANARY_PASSWORD", "goldfinch-2342")
    monkeypatch.setenv("PYTHON_FTP_TOKEN", "nightingale-0815")  # anybody may name one anything

    def loaded() -> int | None:
        floor.warm.reap()
        return floor.warm.warm_parent

    wait_until(loaded, "the parent is there again")
    pid = loaded()
    held = Path(f"/proc/{pid}/environ").read_bytes()
    assert b"PATH=" in held
    assert b"goldfinch" not in held
    assert b"nightingale" not in held
    cell = (
        "import os, workspace_lib\nrun = workspace_lib.current_run()\n"
        "shown = open('/proc/self/environ').read() + str(dict(os.environ))\n"
        "run.publish('rain.held', [name in shown for name in ('CANARY_PASS', 'FTP_TOK')])"
    )
    assert start_of(run_it(cell)) == "warm"
    assert published(floor, "rain.held") == [True, True], "a run can resolve what is set for it"
    monkeypatch.delenv("CANARY_PASSWORD")
    monkeypatch.delenv("PYTHON_FTP_TOKEN")
    assert start_of(run_it(cell)) == "warm"
    assert published(floor, "rain.held") == [False, False]


def test_two_runs_draw_different_random_numbers(
    floor: Floor, parent: int, run_it: Callable[..., Run]
) -> None:
    cell = (
        "import random, multiprocessing, uuid, numpy as np, workspace_lib\n"
        "run = workspace_lib.current_run()\n"
        "key = multiprocessing.current_process().authkey.hex()\n"
        "state = [int(np.random.get_state()[1][1]), int(np.random.get_state()[1][99])]\n"
        "run.publish('rain.drawn', [random.random(), float(np.random.rand()),\n"
        "    float(np.random.default_rng().random()), str(uuid.uuid4()), key, *state])"
    )
    drawn = []
    for _ in range(2):
        assert start_of(run_it(cell)) == "warm"
        drawn.append(published(floor, "rain.drawn"))
    assert all(one != other for one, other in zip(*drawn, strict=True)), drawn


def test_after_the_parent_was_killed_the_next_run_is_cold_and_the_parent_comes_back(
    floor: Floor, parent: int, run_it: Callable[..., Run], wait_until: WaitUntil
) -> None:
    os.kill(parent, signal.SIGKILL)
    run = run_it("1")
    assert (run.state, start_of(run)) == ("succeeded", "cold")

    wait_until(lambda: floor.has_another(parent), "another parent has loaded")
    assert start_of(run_it("1")) == "warm"


def test_a_run_goes_on_when_the_parent_dies_and_ends_as_it_would(
    floor: Floor,
    parent: int,
    claim_run: Callable[..., Claim],
    write_notebook: Callable[..., Path],
    wait_until: WaitUntil,
) -> None:
    claim, _ = _start_waiting(floor, claim_run, write_notebook, wait_until)
    os.kill(parent, signal.SIGKILL)
    (floor.settings.root / "go").touch()
    wait_until(lambda: not floor.warm.running(), "the runner ends")
    floor.warm.reap()
    run = ledger.get_run(floor.store, claim.run_id)
    assert run is not None
    assert (run.state, start_of(run)) == ("succeeded", "warm")
    (floor.settings.root / "go").unlink()


def test_a_parent_of_another_lock_is_replaced_and_nothing_is_forked_off_it_meanwhile(
    floor: Floor, parent: int, run_it: Callable[..., Run], wait_until: WaitUntil
) -> None:
    (floor.settings.root / "requirements.lock").write_text("numpy==0\n")
    assert start_of(run_it("1")) == "cold"

    wait_until(lambda: floor.has_another(parent), "a parent of the new lock has loaded")
    assert start_of(run_it("1")) == "warm"


def test_a_runner_that_is_killed_takes_its_notebook_and_kernel_with_it(
    floor: Floor,
    parent: int,
    claim_run: Callable[..., Claim],
    write_notebook: Callable[..., Path],
    wait_until: WaitUntil,
) -> None:
    claim, kernel = _start_waiting(floor, claim_run, write_notebook, wait_until)
    key = (claim.run_id, claim.attempt)
    runner = living_owners(Place.of(floor.settings))[key]
    family = [runner, *runner.children(recursive=True)]
    assert kernel in [process.pid for process in family], "the kernel is below its runner"
    assert {p.pid for p in marked(Place.of(floor.settings).marks)} >= {p.pid for p in family[1:]}
    runner.kill()
    wait_until(lambda: not floor.warm.running(), "the executor sees it")
    floor.warm.reap()
    wait_until(lambda: not any(process.is_running() for process in family), "all are gone")
    folders = RunFolders(floor.settings.outputs_dir, *key)
    assert not folders.private.exists()
    assert "The runner died." in folders.notebook.read_text()


def test_a_hung_parent_delays_no_run_twice(
    floor: Floor,
    parent: int,
    run_it: Callable[..., Run],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("workspace_lib.runs.warm._ANSWER_WITHIN_S", 0.5)
    os.kill(parent, signal.SIGSTOP)
    run = run_it("1")
    assert (run.state, start_of(run)) == ("succeeded", "cold")
    assert not psutil.pid_exists(parent) or floor.warm.warm_parent != parent
    floor.warm._warm._silent_until = 0.0


@pytest.mark.parametrize("noticed", [False, True])
def test_stopping_after_the_parent_was_killed_leaves_no_folder(
    make_site: Callable[..., Settings], wait_until: WaitUntil, noticed: bool
) -> None:
    settings = make_site()
    (settings.notebooks_dir / "jobs").mkdir(parents=True, exist_ok=True)
    executor = LocalExecutor(settings, keep_warm=True)
    wait_until(lambda: executor.reap() or executor.warm_parent, "no warm parent")
    assert executor.warm_parent is not None
    parent = psutil.Process(executor.warm_parent)
    os.kill(parent.pid, signal.SIGKILL)
    if noticed:
        wait_until(lambda: parent.status() == psutil.STATUS_ZOMBIE, "it lives on")
        executor.reap()
    executor.stop()
    assert not private_folder(settings.outputs_dir, "warm", 0).exists()


def test_the_socket_is_for_this_user_alone_and_survives_nonsense(
    floor: Floor, parent: int, run_it: Callable[..., Run]
) -> None:
    folder = private_folder(floor.settings.outputs_dir, "warm", 0)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for content in (b"", b"nonsense", b"[]", b'{"key": "wrong"}'):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            connection.connect(str(folder / "socket"))
            assert warm_parent.peer_of(connection) == os.getuid()
            connection.send(content)
    assert start_of(run_it("1")) == "warm"
    assert floor.warm.warm_parent == parent


def test_another_executor_uses_the_parent_but_does_not_end_it(
    floor: Floor, parent: int, run_it: Callable[..., Run]
) -> None:
    by_hand = LocalExecutor(floor.settings, {"PYTHONPATH": str(floor.settings.root / "lib")})
    assert start_of(run_it("1", executor=by_hand)) == "warm"
    by_hand.close()
    assert floor.warm.warm_parent == parent
    elsewhere = LocalExecutor(floor.settings, {"PYTHONPATH": "/another", "OMP_NUM_THREADS": "1"})
    assert start_of(run_it("1", executor=elsewhere)) == "cold", "its packages may be others"


def test_a_parent_ends_with_its_owner_and_leaves_nothing(
    make_site: Callable[..., Settings], wait_until: WaitUntil
) -> None:
    settings = make_site()
    program = (
        "import sys, time\nfrom workspace_lib.settings import load_settings\n"
        "from workspace_lib.runs.warm import WarmParent\nimport os\n"
        "settings = load_settings('testsite', root=sys.argv[1])\n"
        "parent = WarmParent(settings, owner=True)\nparent.keep(os.environ)\n"
        "while parent.pid is None: time.sleep(0.05)\n"
        "print(parent.pid, flush=True)\ntime.sleep(600)"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", program, str(settings.root)], stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    parent = psutil.Process(int(owner.stdout.readline()))
    folder = private_folder(settings.outputs_dir, "warm", 0)
    assert folder.exists()
    owner.kill()
    owner.wait()
    owner.stdout.close()
    wait_until(lambda: not parent.is_running(), "the parent has ended")
    assert not folder.exists()


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("import threading, time; threading.Thread(target=time.sleep, args=(9,), daemon=True)"
         ".start()", "threads run"),
        ("import workspace_lib", "workspace_lib was loaded"),
        ("import sys, types; sys.modules['polars'] = types.ModuleType('polars')", "polars"),
    ],
)  # fmt: skip
def test_what_does_not_survive_a_fork_is_refused(tmp_path: Path, source: str, why: str) -> None:
    (tmp_path / "doubtful.py").write_text(source)
    program = (
        "import sys, runpy; loaded = runpy.run_path(sys.argv[1]); loaded['preload'](['doubtful'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, warm_parent.__file__],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "NotFit" in done.stderr
    assert why in done.stderr


def test_nothing_is_kept_warm_where_the_site_does_not_want_it(
    floor: Floor, run_it: Callable[..., Run]
) -> None:
    assert floor.cold.warm_parent is None
    assert start_of(run_it("1", executor=floor.cold)) == "cold"
    parent = WarmParent(floor.settings, owner=False)
    parent.keep(os.environ)
    assert parent.pid is None, "only its owner starts one"


def _start_waiting(
    floor: Floor,
    claim_run: Callable[..., Claim],
    write_notebook: Callable[..., Path],
    wait_until: WaitUntil,
) -> tuple[Claim, int]:
    """Start a run that waits; returns its claim and the process id of its kernel."""
    write_notebook(
        floor.settings,
        "waits",
        "import os, time, workspace_lib\nrun = workspace_lib.current_run()\n"
        "(run.folder / 'pid').write_text(str(os.getpid()))\n"
        "while not (run.settings.root / 'go').exists():\n    time.sleep(0.05)",
    )
    claim = claim_run(floor.store, "waits")
    floor.warm.submit(claim)
    assert isinstance(floor.warm._runners[claim.run_id, claim.attempt].child, WarmRunner)
    told = RunFolders(floor.settings.outputs_dir, claim.run_id, claim.attempt).folder / "pid"
    wait_until(lambda: told.exists() and told.read_text(), "the notebook runs")
    return claim, int(told.read_text())


def _is_of(folder: Path, floor: Floor) -> bool:
    try:
        about = json.loads((folder / "run.json").read_text())
    except (OSError, ValueError):
        return False
    return folder == private_folder(floor.settings.outputs_dir, about["run_id"], about["attempt"])
