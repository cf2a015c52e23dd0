"""A run from its claim to its end, with a real runner and a real kernel."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from workspace_lib.runs import ledger
from workspace_lib.runs.folders import RunFolders
from workspace_lib.runs.states import Claim
from workspace_lib.settings import Settings
from workspace_lib.store.engines import Store, read
from workspace_lib.store.publications import artefacts_of_run, load_published

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

RunToEnd = Callable[[Claim], ledger.Run]
WriteNotebook = Callable[..., Path]
ClaimRun = Callable[..., Claim]


def folders_of(settings: Settings, claim: Claim) -> RunFolders:
    return RunFolders(settings.outputs_dir, claim.run_id, claim.attempt)


def statuses(path: Path) -> list[str]:
    cells = json.loads(path.read_text())["cells"]
    return [
        cell["metadata"]["papermill"]["status"] for cell in cells if "papermill" in cell["metadata"]
    ]


def test_a_clean_run_publishes_and_tells_where_it_came_from(
    settings: Settings,
    store: Store,
    write_notebook: WriteNotebook,
    claim_run: ClaimRun,
    run_to_end: RunToEnd,
) -> None:
    write_notebook(
        settings,
        "sums",
        "import workspace_lib\nrun = workspace_lib.current_run()",
        "for step in run.progress([1, 2], 'adding'):\n    run.count(files=1, rows=step)",
        "run.source('plant/a.txt', sha256='0' * 64)\nrun.log.info('half way')",
        "run.publish('rain.sums', {'total': base + 1}, unit='mm');",
        parameters="base: int = 1  # where to begin",
    )
    claim = claim_run(
        store, "sums", publishes=("rain.sums",), fresh_for_s=600.0, parameters={"base": 41}
    )
    run = run_to_end(claim)
    folders = folders_of(settings, claim)

    assert (run.state, run.cause, run.partial) == ("succeeded", None, False)
    assert (run.files, run.rows) == (2, 3)
    assert run.cpu_s is not None
    assert run.cpu_s > 0
    assert run.peak_memory_bytes is not None
    assert run.peak_memory_bytes > 10_000_000
    found = load_published(store, "rain.sums")
    assert (found.data, found.unit, found.fresh_for_s) == ({"total": 42}, "mm", 600.0)

    copy = settings.outputs_dir / "published" / "rain.sums.json"
    assert json.loads(copy.read_text()) == {"total": 42}

    manifest = json.loads(folders.manifest.read_text())
    assert manifest["parameters"] == {"base": 41}
    assert manifest["inputs"] == [{"name": "plant/a.txt", "sha256": "0" * 64}]
    assert [made["sha256"] for made in manifest["outputs"]] == [found.manifest["sha256"]]
    assert len(manifest["notebook"]["sha256"]) == 64
    assert manifest["versions"]["python"]
    assert "synchronized" in manifest["clock"]
    assert manifest["cells"] == {"completed": 6}
    assert set(statuses(folders.notebook)) == {"completed"}
    assert "half way" in folders.log.read_text()
    assert run.attempts[0].provenance is not None
    assert run.attempts[0].provenance["outputs"] == manifest["outputs"]


def test_an_error_in_the_notebook_is_recorded_with_its_cause(
    settings: Settings,
    store: Store,
    write_notebook: WriteNotebook,
    claim_run: ClaimRun,
    run_to_end: RunToEnd,
) -> None:
    write_notebook(
        settings,
        "broken",
        "import workspace_lib\nrun = workspace_lib.current_run()\n"
        "run.publish('rain.sums', 1); run.count(rows=5)",
        "from workspace_lib.errors import SourceError\n"
        "class FtpDown(SourceError): pass\nraise FtpDown('The server is away.')",
        "'never reached'",
    )
    claim = claim_run(store, "broken", publishes=("rain.sums",))
    run = run_to_end(claim)
    assert (run.state, run.cause) == ("failed", "source_unavailable")
    assert run.message == "FtpDown: The server is away."
    assert (run.partial, run.rows) == (True, 5)
    assert run.last_good is not None
    with read(store.control) as connection:
        assert [a.name for a in artefacts_of_run(connection, claim.run_id, 1)] == ["rain.sums"]
    with pytest.raises(Exception, match="never published"):
        load_published(store, "rain.sums")
    output = folders_of(settings, claim).notebook
    assert statuses(output) == ["completed", "failed", "pending"]


def test_a_run_that_does_not_publish_what_it_promised_has_failed(
    settings: Settings,
    store: Store,
    write_notebook: WriteNotebook,
    claim_run: ClaimRun,
    run_to_end: RunToEnd,
) -> None:
    write_notebook(settings, "lazy", "'nothing to do'")
    run = run_to_end(claim_run(store, "lazy", publishes=("rain.sums",)))
    assert (run.state, run.cause) == ("failed", "no_manifest")
    assert run.message is not None
    assert "rain.sums" in run.message


@pytest.mark.parametrize("parameters", [{"bsae": 1}, {"base": "one"}], ids=["name", "type"])
def test_parameters_the_notebook_does_not_declare_start_no_kernel(
    settings: Settings,
    store: Store,
    write_notebook: WriteNotebook,
    claim_run: ClaimRun,
    run_to_end: RunToEnd,
    parameters: dict[str, Any],
) -> None:
    write_notebook(settings, "typed", "base", parameters="base: int = 1")
    claim = claim_run(store, "typed", parameters=parameters)
    run = run_to_end(claim)
    assert (run.state, run.cause) == ("failed", "bad_parameters")
    assert set(statuses(folders_of(settings, claim).notebook)) == {"pending"}


def test_no_secret_reaches_anything_a_run_leaves_behind(
    settings: Settings,
    store: Store,
    write_notebook: WriteNotebook,
    claim_run: ClaimRun,
    run_to_end: RunToEnd,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    canary = "canary/4711 é&"
    monkeypatch.setenv("CANARY_PASSWORD", canary)  # named nowhere: only the kernel can tell of it
    monkeypatch.setenv("CANARY_OF_CHILD", "nightingale-0815")  # resolved by a child of the kernel
    monkeypatch.setenv("CANARY_NAMED", "goldfinch-2342")  # named by a parameter, never resolved
    name = "secret://' + 'CANARY_PASSWORD"
    child = (
        "from workspace_lib import secrets; print(secrets.resolve('secret://CANARY' + '_OF_CHILD'))"
    )
    write_notebook(
        settings,
        "leaky",
        "import sys, subprocess, os, logging, workspace_lib\nfrom urllib.parse import quote\n"
        f"run = workspace_lib.current_run()\nsecret = run.secret('{name}')",
        f"subprocess.run([sys.executable, '-c', {child!r}], check=True)\n"
        "print(os.environ['CANARY_' + 'NAMED'])",
        "print(secret); print(secret[:5], end='', flush=True); print(secret[5:])\nsecret",
        "print('ftp://u:' + quote(secret, safe='') + '@host', file=sys.stderr)\n"
        "from IPython.display import HTML\nHTML('<b>' + secret + '</b>')",
        "run.log.info('logged in with %s', secret)\n"
        "os.write(2, secret.encode() + b'\\n'); run.progress(0.5, secret)\n"
        "run.source('ftp://u:' + secret + '@host')",
        "try:\n    run.publish('rain.leak', {'password': secret})\n"
        "except Exception as error:\n    print(type(error).__name__)",
        "raise RuntimeError('cannot log in with ' + secret)",
        parameters="password: str = ''  # reference",
    )
    claim = claim_run(store, "leaky", parameters={"password": "secret://CANARY_NAMED"})
    run = run_to_end(claim)
    assert (run.state, run.cause) == ("failed", "notebook_error")
    assert run.message == "RuntimeError: cannot log in with ***"
    output = folders_of(settings, claim).notebook.read_text()
    assert "PublishError" in output
    assert output.count("***") >= 7
    assert "logged in with ***" in folders_of(settings, claim).log.read_text()
    assert "secret://CANARY_NAMED" in output

    with store.control.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    forms = [canary, "canary%2F4711", "canary\\/4711", "4711 \\u00e9", "4711 é&amp;"]
    forms += ["nightingale-0815", "goldfinch-2342"]
    searched = [path for path in settings.outputs_dir.rglob("*") if path.is_file()]
    assert any(path.suffix == ".ipynb" for path in searched)
    assert any(path.name == "control.db" for path in searched)
    for path in searched:
        content = path.read_bytes()
        for form in forms:
            assert form.encode() not in content, f"{form!r} stands in {path}"


def test_runs_leave_no_process_socket_or_folder_behind(
    settings: Settings,
    store: Store,
    write_notebook: WriteNotebook,
    claim_run: ClaimRun,
    run_to_end: RunToEnd,
) -> None:
    write_notebook(
        settings,
        "messy",
        "import subprocess, sys\n"
        "lonely = 'import os, time; os.fork() and os._exit(0); os.setsid(); '\\\n"
        "    'os.fork() and os._exit(0); time.sleep(600)'\n"
        "child = subprocess.Popen([sys.executable, '-c', lonely], start_new_session=True)\n"
        "print(child.wait())",
    )
    for _ in range(3):
        claim = claim_run(store, "messy")
        run = run_to_end(claim)
        assert run.state == "succeeded"
        assert not folders_of(settings, claim).private.exists()
        assert not folders_of(settings, claim).state.exists()
    left = [process for process in psutil.process_iter() if _belongs(process, settings)]
    assert left == []


def _belongs(process: psutil.Process, settings: Settings) -> bool:
    try:
        return process.environ().get("WORKSPACE_RUN_SITE") == str(settings.site_dir)
    except psutil.Error:
        return False
