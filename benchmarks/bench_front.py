"""How many can look at once: a static twin over the web front, beside the same dashboard live.

Viewers are lean clients in two processes with connections kept open; what their processes cost is
printed beside what the server costs, because all share the machine. Each fetches the twin once
packed and once more with its validator, as a browser does that looks again; every byte is received
and unpacked. A live dashboard is counted as shown when its page has come to its end.
"""

from __future__ import annotations

import http.client
import importlib.util
import json
import os
import re
import selectors
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit

import psutil

from workspace_lib.settings import Settings
from workspace_lib.views.twins import make_twins

REPOSITORY = Path(__file__).resolve().parent.parent
VIEWERS = 100
CLIENT_PROCESSES = 2
LIVE_VIEWERS = 10
PAINTS = 5
LOOKS = 3
TARGET_P95_MS = 100
TARGET_PAINT_MS = 500
#: Of a live dashboard.
TARGET_FIRST_MS = 3000
TARGET_VIEWER_MB = 150
PATIENCE_S = 120.0
GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class Fetched:
    """What the viewers of one kind met."""

    times_ms: list[float]
    errors: int
    bytes: int
    #: What the clients themselves took of the processors, per request [ms].
    client_ms: float = 0.0

    def quantile(self, share: float) -> float:
        """Return the time within which ``share`` of the answers came [ms]."""
        ordered = sorted(self.times_ms) or [float("nan")]
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@dataclass(frozen=True)
class Load:
    """What a server took beside time."""

    memory_mb: float
    kernels: int


@dataclass
class Viewer:
    """One browser that keeps its connection, as lean as a client can be: it only receives.

    An asyncio client took five times the processor time of the server it was to measure, on the
    same two cores. Each byte is still received, and looked at once nobody waits any more.
    """

    connection: socket.socket
    buffer: bytearray = field(default_factory=lambda: bytearray(2**21))
    got: int = 0
    head: bytes = b""
    length: int = 0
    began: float = 0.0

    def ask(self, path: str, known: str | None = None) -> None:
        """Send a request for a page, with the validator of the one it knows."""
        lines = [f"GET {path} HTTP/1.1", "Host: bench", "Accept-Encoding: gzip"]
        lines += [f"If-None-Match: {known}"] if known else []
        self.got, self.head = 0, b""
        self.began = time.perf_counter()
        self.connection.sendall("\r\n".join([*lines, "", ""]).encode())

    def take(self) -> bool:
        """Take what has come; returns whether the answer is whole."""
        count = self.connection.recv_into(memoryview(self.buffer)[self.got :])
        if not count:
            raise ConnectionError("The front closed the connection.")
        self.got += count
        if not self.head and (end := self.buffer.find(b"\r\n\r\n", 0, self.got)) >= 0:
            self.head = bytes(self.buffer[: end + 4])
            self.length = len(self.head) + int(self.field("content-length") or 0)
        return bool(self.head) and self.got >= self.length

    def field(self, name: str) -> str | None:
        """Return a field of the answer's head."""
        found = re.search(rf"^{name}: (.*)\r$", self.head.decode(), re.MULTILINE | re.IGNORECASE)
        return found[1] if found else None

    @property
    def status(self) -> int:
        """The answer's status."""
        return int(self.head.split(b" ", 2)[1])

    @property
    def content(self) -> bytes:
        """The answer's content."""
        return bytes(self.buffer[len(self.head) : self.got])


def look(viewers: Sequence[Viewer], path: str, known: str | None = None) -> list[float]:
    """Let all viewers of this process ask at once; returns how long each waited [ms]."""
    times = []
    with selectors.DefaultSelector() as selector:
        for viewer in viewers:
            selector.register(viewer.connection, selectors.EVENT_READ, viewer)
            viewer.ask(path, known)
        while selector.get_map():
            for key, _ in selector.select():
                if key.data.take():
                    times.append((time.perf_counter() - key.data.began) * 1000)
                    selector.unregister(key.fileobj)
    return times


def be_viewers(address: str, count: int) -> None:
    """Look at a twin as ``count`` people: a line of the standard input starts each step."""
    parts = urlsplit(address)
    place = (str(parts.hostname), int(parts.port or 80))
    viewers = [Viewer(socket.create_connection(place)) for _ in range(count)]
    print("ready", flush=True)
    sys.stdin.readline()
    worked_s = time.process_time()
    first = look(viewers, parts.path)
    worked_s = time.process_time() - worked_s
    print(json.dumps({"first": first, "processor_ms": worked_s * 1000}), flush=True)
    sys.stdin.readline()
    # Only now, so that unpacking does not stand in the way of those who still wait.
    errors = sum(not whole(viewer) for viewer in viewers)
    size, known = len(viewers[0].content), viewers[0].field("etag")
    print("checked", flush=True)
    sys.stdin.readline()
    again = look(viewers, parts.path, known)
    errors += sum(viewer.status != 304 for viewer in viewers)
    print(json.dumps({"again": again, "errors": errors, "bytes": size}), flush=True)


def be_first(address: str) -> None:
    """Look at a twin once, so that the front has done what it does only once."""
    parts = urlsplit(address)
    with socket.create_connection((str(parts.hostname), int(parts.port or 80))) as connection:
        look([Viewer(connection)], parts.path)


def whole(viewer: Viewer) -> bool:
    """Return whether the page came to its end."""
    packed = viewer.status == 200 and viewer.content[:2] == GZIP
    return packed and zlib.decompress(viewer.content, 31).endswith(b"</html>")


def bench_twin(address: str) -> tuple[Fetched, Fetched]:
    """Let all viewers in at once, from several processes; returns first and second looks."""
    words = [sys.executable, __file__, "viewers", address, str(VIEWERS // CLIENT_PROCESSES)]
    clients = [
        subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(CLIENT_PROCESSES)
    ]
    told = [client.stdout.readline().strip() for client in clients if client.stdout]
    assert told == ["ready"] * CLIENT_PROCESSES
    looked = [json.loads(said) for said in step(clients)]
    step(clients)
    seen = [json.loads(said) for said in step(clients)]
    for client in clients:
        client.communicate()
    first = [time_ms for one in looked for time_ms in one["first"]]
    again = [time_ms for one in seen for time_ms in one["again"]]
    errors = sum(one["errors"] for one in seen) + VIEWERS - len(first)
    client_ms = sum(one["processor_ms"] for one in looked) / VIEWERS
    return Fetched(first, errors, seen[0]["bytes"], client_ms), Fetched(again, errors, 0)


def step(clients: Sequence[subprocess.Popen[str]]) -> list[str]:
    """Let all client processes take their next step at once; returns what each says after it."""
    for client in clients:
        assert client.stdin is not None
        client.stdin.write("\n")
        client.stdin.flush()
    return [client.stdout.readline() for client in clients if client.stdout]


@dataclass(frozen=True)
class Shown:
    """How a live page came: when its first content did, and when it was whole."""

    first_ms: float
    whole_ms: float
    bytes: int
    whole: bool


def open_live(address: str, token: str, together: threading.Barrier | None = None) -> Shown:
    """Open the live dashboard; its first content is the title with the age of its data."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=PATIENCE_S)
    if together is not None:
        together.wait(PATIENCE_S)
    began = time.perf_counter()
    # Where the address of a dashboard leads to; a browser is sent there.
    path, fields = "/voila/render/rain.ipynb", {"Authorization": f"token {token}"}
    connection.request("GET", path, headers=fields)
    answer = connection.getresponse()
    content, first_ms = b"", float("nan")
    while block := answer.read1(65_536):
        content += block
        if first_ms != first_ms and b'class="ws-head"' in content:
            first_ms = (time.perf_counter() - began) * 1000
    connection.close()
    whole = answer.status == 200 and b'class="ws-figure"' in content
    return Shown(first_ms, (time.perf_counter() - began) * 1000, len(content), whole)


@dataclass(frozen=True)
class Live:
    """What the viewers of a live dashboard met."""

    cold: Shown
    next: list[Shown]
    together: list[Shown]
    load: Load

    @property
    def errors(self) -> int:
        """Pages that were not whole."""
        return sum(not one.whole for one in [self.cold, *self.next, *self.together])


def bench_live(address: str, token: str, process: psutil.Process) -> Live:
    """Open the live dashboard: first of all, then alone, then as some viewers at once."""
    cold = open_live(address, token)
    following = [open_live(address, token) for _ in range(LOOKS)]
    most = Load(0, 0)
    before_mb = memory_mb([process, *process.children(recursive=True)])
    stop = threading.Event()
    barrier = threading.Barrier(LIVE_VIEWERS)

    def watch() -> None:
        nonlocal most
        while not stop.wait(0.1):
            now = load_of(process)
            most = Load(max(most.memory_mb, now.memory_mb), max(most.kernels, now.kernels))

    watcher = threading.Thread(target=watch)
    watcher.start()
    with ThreadPoolExecutor(LIVE_VIEWERS) as pool:
        looks = [pool.submit(open_live, address, token, barrier) for _ in range(LIVE_VIEWERS)]
        together = [look.result() for look in looks]
    stop.set()
    watcher.join()
    return Live(cold, following, together, Load(most.memory_mb - before_mb, most.kernels))


def first_paints(address: str, program: str) -> list[float]:
    """Return when Chromium first painted something of the page [ms], each time anew."""
    from playwright.sync_api import sync_playwright

    script = """() => new Promise(done => {
        const seen = () => performance.getEntriesByName('first-contentful-paint')[0];
        const look = () => seen() ? done(seen().startTime) : setTimeout(look, 20);
        look();
    })"""
    found = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for _ in range(PAINTS + 1):
            page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
            page.goto(address)
            found.append(float(page.evaluate(script)))
            page.context.close()
        browser.close()
    # The first one starts Chromium's own processes.
    return found[1:]


def load_of(process: psutil.Process) -> Load:
    """Return memory and kernels of a server with all its descendants."""
    family = [process, *process.children(recursive=True)]
    return Load(memory_mb(family), sum(is_kernel(one) for one in family))


def processor_s(process: psutil.Process) -> float:
    """Return the processor time a process has taken [s]."""
    times = process.cpu_times()
    return times.user + times.system


def is_kernel(process: psutil.Process) -> bool:
    """Return whether a process is a notebook's kernel."""
    try:
        return any("ipykernel" in word for word in [process.name(), *process.cmdline()])
    except psutil.Error:
        return False


def memory_mb(processes: Sequence[psutil.Process]) -> float:
    """Return the memory processes hold for themselves, their share of what they have in common."""
    total = 0.0
    for process in processes:
        try:
            info = process.memory_full_info()
        except psutil.Error:
            continue
        total += getattr(info, "pss", info.uss) / 1e6
    return total


@contextmanager
def front_of(settings: Settings) -> Iterator[tuple[str, psutil.Process]]:
    """Serve the site's web front in a process of its own; gives its address."""
    words = [sys.executable, "-m", "workspace_lib.cli", "--site", str(settings.site_dir)]
    process = subprocess.Popen(
        [*words, "web", "--port", "0"],
        env={**os.environ, "WORKSPACE_ROOT": str(settings.root)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().split()[-1].rstrip("/"), psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


def fill(folder: Path) -> tuple[ModuleType, Settings]:
    """Make a site after ten days of work; returns the module that did, and its settings."""
    path = REPOSITORY / "tests" / "views" / "filling.py"
    spec = importlib.util.spec_from_file_location("filling_for_bench", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["filling_for_bench"] = module
    spec.loader.exec_module(module)
    return module, module.make_filled_site(folder, REPOSITORY, datetime.now(UTC)).settings


def timed(act: Callable[[], object]) -> float:
    """Return how long ``act`` takes [s]."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def row(what: str, *cells: str) -> None:
    """Print one row of the table."""
    print(f"{what:<44}" + "".join(f"{cell:>13}" for cell in cells))


def milliseconds(*values: float) -> list[str]:
    """Return times as cells of the table."""
    return [f"{value:,.0f} ms" for value in values]


def main() -> int:
    """Measure and print the table; 1 if a target is missed."""
    folder = Path(tempfile.mkdtemp(prefix="bench-front-"))
    loads = [os.getloadavg()[0]]
    try:
        filling, settings = fill(folder)
        # First of all, before anything has read what it will read.
        with filling.serving(settings, folder, WORKSPACE_DASHBOARDS__MAX_KERNELS="20") as server:
            live = bench_live(server.address, server.token, psutil.Process(server.process.pid))
        made_s = timed(lambda: make_twins(settings, ["rain"]))
        with front_of(settings) as (address, process):
            twin = f"{address}/d/rain"
            be_first(twin)
            before_s = processor_s(process)
            first, again = bench_twin(twin)
            request_ms = (processor_s(process) - before_s) / (2 * VIEWERS) * 1000
            load = load_of(process)
            program = shutil.which("chromium")
            paints = first_paints(twin, program) if program else []
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    loads.append(os.getloadavg()[0])
    return report(first, again, load, live, paints, made_s, request_ms, loads)


def report(
    first: Fetched,
    again: Fetched,
    load: Load,
    live: Live,
    paints: list[float],
    made_s: float,
    request_ms: float,
    loads: Sequence[float],
) -> int:
    """Print the tables and whether the targets were met; 1 if one was not."""
    base_ms = first.quantile(0.95)
    row("Dashboard rain", "p50", "p95", "errors", "size", "kernels")
    for what, found, kernels in (
        (f"twin, {VIEWERS} viewers at once", first, load.kernels),
        ("  the same viewers again (If-None-Match)", again, load.kernels),
        (f"live, {LIVE_VIEWERS} viewers at once", of_all(live.together), live.load.kernels),
    ):
        times = milliseconds(found.quantile(0.5), found.quantile(0.95))
        row(what, *times, str(found.errors), f"{found.bytes / 1000:,.0f} kB", str(kernels))
    print()
    row("Live, one viewer", "first content", "whole")
    row("  the first after the server's start", *shown([live.cold]))
    row(f"  the next, median of {LOOKS}", *shown(live.next))
    row(f"  of {LIVE_VIEWERS} at once, the last", *shown(live.together, max))
    print()
    row("Processor time of the front per request", f"{request_ms:.2f} ms")
    row("Processor time of a viewer's client", f"{first.client_ms:.2f} ms")
    row("Memory of the web front", f"{load.memory_mb:.0f} MB")
    row("  of it per viewer", f"{load.memory_mb / VIEWERS:.1f} MB")
    row("Voila, more per live viewer", f"{live.load.memory_mb / LIVE_VIEWERS:.0f} MB")
    row("Making the twin in two languages", f"{made_s:.2f} s")
    paint_ms = statistics.median(paints) if paints else float("nan")
    row(
        f"First paint of the twin, median of {PAINTS}",
        f"{paint_ms:.0f} ms" if paints else "no Chromium",
    )
    row("Load of the machine before and after", *(f"{one:.1f}" for one in loads))
    print()
    checks = {
        f"p95 of the twin under {TARGET_P95_MS} ms": base_ms < TARGET_P95_MS,
        "no error": not first.errors and not live.errors,
        "no kernel for the twin": load.kernels == 0,
        f"live: first content under {TARGET_FIRST_MS} ms": live.cold.first_ms < TARGET_FIRST_MS,
        f"live: under {TARGET_VIEWER_MB} MB per viewer": live.load.memory_mb / LIVE_VIEWERS
        < TARGET_VIEWER_MB,
    }
    if paints:
        checks[f"first paint under {TARGET_PAINT_MS} ms"] = paint_ms < TARGET_PAINT_MS
    for what, met in checks.items():
        row(f"target: {what}", "met" if met else "MISSED")
    return 0 if all(checks.values()) else 1


def of_all(seen: Sequence[Shown]) -> Fetched:
    """Return what viewers met, by the time until the page was whole."""
    errors = sum(not one.whole for one in seen)
    return Fetched([one.whole_ms for one in seen], errors, seen[0].bytes)


def shown(
    seen: Sequence[Shown], of: Callable[[list[float]], float] = statistics.median
) -> list[str]:
    """Return when pages had their first content and when they were whole, as cells."""
    return milliseconds(of([one.first_ms for one in seen]), of([one.whole_ms for one in seen]))


if __name__ == "__main__":
    if sys.argv[1:2] == ["viewers"]:
        be_viewers(sys.argv[2], int(sys.argv[3]))
        sys.exit(0)
    sys.exit(main())
