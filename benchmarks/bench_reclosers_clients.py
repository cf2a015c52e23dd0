"""A hundred clients that search and download events for 30 s from one web front.

The clients are threads of two processes that keep their connections; each does one thing after the
other with a pause of a second, as somebody does who looks for an event: search, open, plot,
download, take the COMTRADE record; every fourth file is asked for with its validator, every fifth
in part. An answer that is not what it should be is an error. Beside them stands what an empty list
of the same front takes (`runs`), so that the machine's own share is seen.
"""

from __future__ import annotations

import http.client
import importlib.util
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit

import psutil
import yaml

from workspace_lib.files import atomic_write
from workspace_lib.reclosers.archive import open_archive
from workspace_lib.settings import Settings, load_settings
from workspace_lib.store.engines import Store, write
from workspace_lib.store.migrate import open_store
from workspace_lib.web.tokens import create_token

REPOSITORY = Path(__file__).resolve().parent.parent
EVENTS = 100_000
#: Events whose files are there: people look at the newest.
WITH_FILES = 40
CLIENTS, PROCESSES = 100, 2
LASTS_S = float(os.environ.get("BENCH_LASTS_S", "30"))
PAUSE_S = 1.0
PATIENCE_S = 60.0
SEARCHES = (
    "limit=20",
    "ced=LAV&limit=20",
    "recloser=LAV-300&limit=20",
    "fault_type=AG&phases=A&limit=20",
    "magnitude_from=5000&limit=20",
    "outcome=permanent&limit=20",
    "text=inst&limit=20",
)


def load_filling() -> ModuleType:
    """Return the module of the tests that writes rows."""
    path = REPOSITORY / "tests" / "reclosers" / "filling.py"
    spec = importlib.util.spec_from_file_location("recloser_filling_for_bench", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def fill(store: Store, settings: Settings, filling: ModuleType) -> list[int]:
    """Write the events; returns the numbers of those with files."""
    with write(store.data) as connection:
        filling.add_many(connection, EVENTS)
    report, archive, numbers = filling.report(), open_archive(settings), []
    with write(store.data) as connection:
        for place in range(WITH_FILES):
            name = f"LAV/LAV-000/2026/2611{place:02d},070000000,-5,,LAV-000,,AG-T.cev"
            atomic_write(archive.root / name, report)
            numbers.append(
                filling.add_event(
                    connection,
                    "LAV-000",
                    filling.NOW,
                    f"AG T{place}",
                    files=[("cev", name, report)],
                )
            )
    return numbers


def be_clients(address: str, token: str, numbers: list[int], count: int, seed: int) -> None:
    """Be some clients; prints what they met."""
    times: dict[str, list[float]] = defaultdict(list)
    errors: list[str] = []
    began = time.monotonic()
    clients = [
        threading.Thread(
            target=be_client,
            args=(
                address,
                token,
                numbers,
                random.Random(seed * 1000 + place),
                began,
                times,
                errors,
            ),
        )
        for place in range(count)
    ]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    print(json.dumps({"times": times, "errors": errors}))


def be_client(
    address: str,
    token: str,
    numbers: list[int],
    chance: random.Random,
    began: float,
    times: dict[str, list[float]],
    errors: list[str],
) -> None:
    """Do one thing after the other until the time is over."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=PATIENCE_S)
    known: dict[str, str] = {}
    # They do not all begin at once.
    time.sleep(chance.uniform(0, PAUSE_S))
    while time.monotonic() - began < LASTS_S:
        what, path = choose(numbers, chance)
        fields, expected = {"Authorization": f"Bearer {token}"}, 200
        if what in ("file", "plot", "comtrade"):
            if path in known and chance.random() < 0.25:
                fields["If-None-Match"], expected = known[path], 304
            elif what == "file" and chance.random() < 0.2:
                fields["Range"], expected = "bytes=100-4099", 206
        asked = time.perf_counter()
        try:
            connection.request("GET", path, headers=fields)
            answer = connection.getresponse()
            content = answer.read()
            if answer.status != expected or (expected == 206 and len(content) != 4000):
                errors.append(f"{path}: {answer.status} in place of {expected}")
            elif (etag := answer.getheader("etag")) is not None:
                known[path] = etag
        except (OSError, http.client.HTTPException) as error:
            errors.append(f"{path}: {error!r}")
            connection.close()
        times[what].append((time.perf_counter() - asked) * 1000)
        time.sleep(chance.uniform(0.5, 1.5) * PAUSE_S)
    connection.close()


def choose(numbers: list[int], chance: random.Random) -> tuple[str, str]:
    """Return what a client does next, and its address."""
    event = f"/api/v1/events/{chance.choice(numbers)}"
    draw = chance.random()
    if draw < 0.4:
        return "search", f"/api/v1/events?{chance.choice(SEARCHES)}"
    if draw < 0.55:
        return "event", event
    if draw < 0.75:
        return "file", f"{event}/raw"
    if draw < 0.9:
        return "plot", f"{event}/plot.png"
    if draw < 0.95:
        return "comtrade", f"{event}/comtrade"
    return "runs", "/api/v1/runs?limit=1"


def run(
    settings: Settings, token: str, numbers: list[int]
) -> tuple[dict[str, list[float]], list[str], float]:
    """Serve, let the clients in, and return times [ms], errors, and the front's processor [s]."""
    words = [sys.executable, "-m", "workspace_lib.cli", "--site", str(settings.site_dir)]
    front = subprocess.Popen(
        [*words, "web", "--port", "0"],
        env={**os.environ, "WORKSPACE_ROOT": str(settings.root)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert front.stdout is not None
        address = front.stdout.readline().split()[-1].rstrip("/")
        each = CLIENTS // PROCESSES
        who = [sys.executable, __file__, "clients", address, token, json.dumps(numbers)]
        clients = [
            subprocess.Popen([*who, str(each), str(seed * 1000)], stdout=subprocess.PIPE, text=True)
            for seed in range(PROCESSES)
        ]
        told = [json.loads(client.communicate()[0]) for client in clients]
        used = psutil.Process(front.pid).cpu_times()
    finally:
        front.terminate()
        front.wait(30)
    times: dict[str, list[float]] = defaultdict(list)
    for one in told:
        for what, found in one["times"].items():
            times[what] += found
    return times, [error for one in told for error in one["errors"]], used.user + used.system


def row(what: str, *cells: str) -> None:
    """Print one row of the table."""
    print(f"{what:<34}" + "".join(f"{cell:>12}" for cell in cells))


def quantile(found: list[float], share: float) -> float:
    """Return the time within which ``share`` of the answers came [ms]."""
    ordered = sorted(found)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def main() -> int:
    """Measure and print the table; 1 if a client saw an error."""
    root = Path(tempfile.mkdtemp(prefix="bench-recloser-clients-"))
    site = root / "parameters" / "bench"
    site.mkdir(parents=True)
    (root / "notebooks" / "dashboards").mkdir(parents=True)
    content = {"wings": {"reclosers": {}}, "web": {"requests_per_minute": 10**6}}
    (site / "site.yml").write_text(yaml.safe_dump(content))
    places = [{"id": f"LAV-{n:03d}", "ced": "LAV", "remote": False} for n in range(0, 600, 6)]
    (site / "reclosers.yml").write_text(yaml.safe_dump({"reclosers": places}))
    filling = load_filling()
    try:
        settings = load_settings(str(site), root=root)
        with open_store(settings, create=True) as store:
            numbers = fill(store, settings, filling)
            token = create_token(store, "bench", "read", now=filling.NOW)
        times, errors, processor_s = run(settings, token, numbers)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    every = [time_ms for found in times.values() for time_ms in found]
    row(f"{CLIENTS} clients, {LASTS_S:.0f} s", "answers", "p50", "p95", "slowest")
    for what, found in [*sorted(times.items()), ("all", every)]:
        cells = (quantile(found, 0.5), quantile(found, 0.95), max(found))
        row(what, f"{len(found):,}", *(f"{cell:,.0f} ms" for cell in cells))
    print()
    row("answers a second", f"{len(every) / LASTS_S:.0f}")
    row("processor of the front per answer", f"{processor_s / len(every) * 1000:.1f} ms")
    for error in errors[:5]:
        print(f"error: {error}")
    row("target: no error", "met" if not errors else "MISSED", str(len(errors)))
    return 0 if not errors else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["clients"]:
        be_clients(sys.argv[2], sys.argv[3], json.loads(sys.argv[4]), *map(int, sys.argv[5:7]))
        sys.exit(0)
    sys.exit(main())
