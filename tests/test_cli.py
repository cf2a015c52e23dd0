"""The command line as a whole: exit codes, errors as one sentence, output that nobody reads."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from typing import Any

import pytest

from workspace_lib import cli
from workspace_lib.errors import ConfigError
from workspace_lib.settings import Settings


@pytest.fixture
def handle(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the command line with one command, ``do``, that calls a function."""

    def run(function: Any) -> int:
        parser = argparse.ArgumentParser()
        parser.add_subparsers().add_parser("do").set_defaults(handler=lambda _: function())
        monkeypatch.setattr(cli, "build_parser", lambda: parser)
        return cli.main(["do"])

    return run


def raise_it(error: BaseException) -> Any:
    def function() -> None:
        raise error

    return function


def test_a_named_error_is_one_sentence(handle: Any, capsys: pytest.CaptureFixture[str]) -> None:
    error = ConfigError("The site is missing.", where="parameters", fix="Make one.")
    assert handle(raise_it(error)) == 1
    assert capsys.readouterr().err == f"workspace: {error}\n"


def test_ctrl_c_ends_without_a_traceback(handle: Any) -> None:
    assert handle(raise_it(KeyboardInterrupt())) == 130


def test_a_pipe_that_broke_elsewhere_is_no_quiet_end(handle: Any) -> None:
    with pytest.raises(BrokenPipeError):
        handle(raise_it(BrokenPipeError("a server hung up")))


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_that_nobody_reads_ends_quietly(unbuffered: str, settings: Settings) -> None:
    if os.name == "nt":
        pytest.skip("Windows has other pipes")
    root = str(settings.root)
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "workspace_lib.cli", "--site", "testsite", "jobs"],
            stdout=writer,
            stderr=subprocess.PIPE,
            env={**os.environ, "WORKSPACE_ROOT": root, "PYTHONUNBUFFERED": unbuffered},
            text=True,
            timeout=120,
        )
    finally:
        os.close(writer)
    assert done.stderr == ""
    assert done.returncode == cli.READER_GONE
