"""The web front as a process: where it listens, how it ends, its tokens, its limits under load."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx
import pytest

from workspace_lib.cli import main
from workspace_lib.errors import ConfigError
from workspace_lib.settings import Settings
from workspace_lib.store.engines import Store
from workspace_lib.store.migrate import open_store
from workspace_lib.web.server import bind, check_binding, is_loopback

CLIENTS = 20
LIMIT = 30


@dataclass
class Running:
    """A web front in a process of its own."""

    settings: Settings
    address: str
    process: subprocess.Popen[str]


@pytest.fixture
def start(make_site: Callable[..., Settings]) -> Iterator[Callable[..., Running]]:
    """Start the web front of a site with these settings on a free port."""
    processes = []

    def run(**site: object) -> Running:
        settings = make_site({"timezone": "Europe/Paris", **site})
        open_store(settings, create=True).close()
        process = subprocess.Popen(
            [*command(settings), "web", "--port", "0"],
            env={**os.environ, "WORKSPACE_ROOT": str(settings.root)},
            stdout=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said.startswith("Web front: http://127.0.0.1:"), said
        return Running(settings, said.split()[-1].rstrip("/"), process)

    yield run
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


def command(settings: Settings) -> list[str]:
    return [sys.executable, "-m", "workspace_lib.cli", "--site", str(settings.site_dir)]


def with_web(settings: Settings, **changes: object) -> Settings:
    return settings.model_copy(update={"web": settings.web.model_copy(update=changes)})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.53", "::1", "localhost"])
def test_this_machine_is_known_by_its_addresses(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.10", "field.example", ""])
def test_any_other_address_counts_as_open(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "field.example"])
def test_a_front_without_tokens_is_not_opened_to_other_machines(
    settings: Settings, host: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        bind(with_web(settings, host=host, port=0))
    assert host in refused.value.what
    assert refused.value.where == "web.host"
    assert "web.require_token: true" in str(refused.value.fix)


def test_a_front_with_tokens_may_be_open(settings: Settings) -> None:
    check_binding(with_web(settings, host="0.0.0.0", require_token=True))


def test_a_taken_port_is_told_and_so_is_what_to_do(settings: Settings) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigError) as refused:
            bind(with_web(settings, port=port))
    assert f"127.0.0.1:{port}" in refused.value.what
    assert "in use" in refused.value.what
    assert "WORKSPACE_WEB__PORT" in str(refused.value.fix)


def test_a_port_is_taken_as_soon_as_it_is_bound(settings: Settings) -> None:
    with bind(with_web(settings, port=0)) as first, pytest.raises(ConfigError, match="in use"):
        bind(with_web(settings, port=first.getsockname()[1]))


def test_an_address_of_another_machine_is_told(settings: Settings) -> None:
    with pytest.raises(ConfigError, match=r"cannot listen on 192\.0\.2\.1"):
        bind(with_web(settings, host="192.0.2.1", port=0, require_token=True))


def test_a_name_that_cannot_be_resolved_is_told(settings: Settings) -> None:
    with pytest.raises(ConfigError, match=r"cannot listen on no-such-host\.invalid"):
        bind(with_web(settings, host="no-such-host.invalid", port=0, require_token=True))


@pytest.mark.server
def test_the_command_refuses_an_open_front_with_a_sentence(settings: Settings) -> None:
    open_store(settings, create=True).close()
    done = subprocess.run(
        [*command(settings), "web", "--host", "0.0.0.0", "--port", "0"],
        env={**os.environ, "WORKSPACE_ROOT": str(settings.root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "Web front: http" not in done.stdout
    assert "web.require_token" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.server
def test_the_front_serves_on_a_free_port_and_ends_with_success_on_sigterm(
    start: Callable[..., Running],
) -> None:
    front = start()
    answer = httpx.get(f"{front.address}/health", timeout=60)
    assert answer.json()["scheduler"] == "silent"
    assert "server" not in answer.headers
    front.process.send_signal(signal.SIGTERM)
    assert front.process.wait(60) == 0


@pytest.mark.server
def test_a_connection_that_is_kept_open_does_not_hold_the_end_up(
    start: Callable[..., Running],
) -> None:
    front = start()
    with httpx.Client(timeout=60) as client:
        assert client.get(f"{front.address}/").status_code == 200
        front.process.send_signal(signal.SIGTERM)
        assert front.process.wait(60) == 0


@pytest.mark.server
def test_exactly_the_limit_passes_under_parallel_load(
    start: Callable[..., Running],
) -> None:
    front = start(web={"requests_per_minute": LIMIT})
    made = subprocess.run(
        [*command(front.settings), "token", "create", "reader"],
        env={**os.environ, "WORKSPACE_ROOT": str(front.settings.root)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    token = made.stdout.strip()
    together = threading.Barrier(CLIENTS)

    def ask(number: int) -> list[httpx.Response]:
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=front.address, headers=headers, timeout=60) as client:
            together.wait(60)
            return [client.get("/api/v1/runs") for _ in range(LIMIT // 10)]

    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = [one for some in pool.map(ask, range(CLIENTS)) for one in some]
    assert Counter(a.status_code for a in answers) == {200: LIMIT, 429: len(answers) - LIMIT}
    remaining = sorted(int(a.headers["ratelimit-remaining"]) for a in answers if a.is_success)
    assert remaining[0] == 0
    refused = [a for a in answers if a.status_code == 429]
    assert all(1 <= int(a.headers["retry-after"]) <= 60 for a in refused)
    assert {a.headers["content-type"] for a in refused} == {"application/problem+json"}
    assert {json.loads(a.text)["status"] for a in refused} == {429}


@pytest.fixture
def token_command(
    store: Store,
    settings: Settings,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., tuple[int, str, str]]:
    """Run ``workspace token …`` over an empty site: code, what it printed, what it complained."""
    monkeypatch.setenv("WORKSPACE_ROOT", str(settings.root))

    def run(*words: str) -> tuple[int, str, str]:
        code = main(["--site", str(settings.site_dir), "token", *words])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def test_a_token_is_printed_alone_and_listed_without_itself(
    token_command: Callable[..., tuple[int, str, str]],
) -> None:
    code, token, _ = token_command("create", "wall screen", "--scope", "view", "--days", "30")
    assert code == 0
    assert token.startswith("fw_")
    assert len(token.split()) == 1
    _, listed, _ = token_command("list")
    name, scope, state, expires, used = listed.strip().split("\t")
    assert (name, scope, state, used) == ("wall screen", "view", "valid", "never used")
    assert expires.startswith("expires 20")
    assert token.strip() not in listed


def test_a_token_is_revoked_by_its_name(
    token_command: Callable[..., tuple[int, str, str]],
) -> None:
    token_command("create", "importer", "--scope", "write")
    assert token_command("revoke", "importer")[0] == 0
    assert "\trevoked\t" in token_command("list")[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("revoke", "nobody"), "There is no token 'nobody'"),
        (("create", "twice"), "A token named 'twice' exists"),
        (("create", "\n"), "cannot name a token"),
    ],
)
def test_what_cannot_be_done_is_told_in_a_sentence(
    token_command: Callable[..., tuple[int, str, str]], words: tuple[str, ...], said: str
) -> None:
    token_command("create", "twice")
    code, printed, complained = token_command(*words)
    assert code != 0
    assert printed == ""
    assert said in complained
