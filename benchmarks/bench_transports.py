"""How fast files come over FTP: through the mirror, beside a bare loop of the standard library.

The bare loop keeps bytes in memory and knows nothing afterwards; the mirror lists, checks sizes,
brings every byte to the disk and registers each file. On loopback that work shows; over a line
with a delay the round trips rule, and more connections help.
"""

from __future__ import annotations

import ftplib
import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from workspace_lib.settings import Settings, load_settings
from workspace_lib.store.migrate import open_store
from workspace_lib.transports.file_source import open_source
from workspace_lib.transports.ftp_mirror import mirror

FILES = 10_000
FILES_KEPT = 2_000
FILES_OVER_LINE = 400
FILES_UPLOADED = 400
DELAY_S = 0.005
USER, PASSWORD = "bench", "bench-password"


def serve(root: str, delay_s: float) -> None:
    """Serve ``root``; each command is answered ``delay_s`` late, as over a long line.

    Prints its port, and serves until it is terminated.
    """
    from pyftpdlib.authorizers import DummyAuthorizer
    from pyftpdlib.handlers import FTPHandler
    from pyftpdlib.log import config_logging
    from pyftpdlib.servers import FTPServer

    class Handler(FTPHandler):
        def process_command(self, cmd: str, *arguments: Any, **options: Any) -> None:
            if not delay_s:
                super().process_command(cmd, *arguments, **options)
                return
            self.ioloop.call_later(
                delay_s,
                FTPHandler.process_command,
                self,
                cmd,
                *arguments,
                **options,
                _errback=self.handle_error,
            )

    config_logging(level=40)
    Handler.authorizer = DummyAuthorizer()
    Handler.authorizer.add_user(USER, PASSWORD, root, perm="elradfmwMT")
    server = FTPServer(("127.0.0.1", 0), Handler)
    print(server.address[1], flush=True)
    server.serve_forever(handle_exit=False)


@contextmanager
def running(root: Path, delay_s: float = 0.0) -> Iterator[int]:
    """Run the server in a process of its own; gives its port."""
    process = subprocess.Popen(
        [sys.executable, __file__, "serve", str(root), str(delay_s)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.terminate()
        process.wait(10)


def site(folder: Path, port: int, connections: int) -> Settings:
    """Make a site whose source ``plant`` is the server."""
    parameters = folder / "parameters" / "bench"
    parameters.mkdir(parents=True, exist_ok=True)
    (folder / "notebooks").mkdir(exist_ok=True)
    source = {
        "host": "127.0.0.1",
        "port": port,
        "user": USER,
        "password": "secret://BENCH_FTP_PASSWORD",
        "connections": connections,
        "stable_after_s": 0,
    }
    (parameters / "site.yml").write_text(yaml.safe_dump({"sources": {"plant": source}}))
    return load_settings("bench", root=folder)


def timed(act: Callable[[], object]) -> float:
    """Return how long ``act`` takes [s]."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def bare_fetch(port: int, keep: Path | None = None, most: int | None = None) -> float:
    """Fetch everything as the standard library's examples do [s]."""

    def act() -> None:
        with ftplib.FTP() as ftp:
            ftp.connect("127.0.0.1", port)
            ftp.login(USER, PASSWORD)
            for name in ftp.nlst()[:most]:
                content = io.BytesIO()
                ftp.retrbinary(f"RETR {name}", content.write)
                if keep is not None:
                    (keep / name[:2]).mkdir(exist_ok=True)
                    (keep / name[:2] / name).write_bytes(content.getvalue())

    return timed(act)


def mirrored(folder: Path, port: int, connections: int, files: int) -> tuple[float, float]:
    """Mirror everything into a fresh store, then again with nothing new [s, s]."""
    settings = site(folder, port, connections)
    shutil.rmtree(settings.outputs_dir, ignore_errors=True)
    with open_store(settings, create=True) as store:

        def act() -> None:
            report = mirror(
                store,
                settings,
                "plant",
                device_of=lambda path: "G1",
                day_of=lambda path: date(2026, 3, int(path[:2]) % 28 + 1),
            )
            assert report.listed == files
            assert not report.failed

        return timed(act), timed(act)


def uploads(folder: Path, port: int) -> tuple[float, float]:
    """Send files as they are, and proved [s, s]."""
    contents = {f"up{n:04}.bin": os.urandom(200) for n in range(FILES_UPLOADED)}

    def bare() -> None:
        with ftplib.FTP() as ftp:
            ftp.connect("127.0.0.1", port)
            ftp.login(USER, PASSWORD)
            for name, content in contents.items():
                ftp.storbinary(f"STOR {name}", io.BytesIO(content))

    def proved() -> None:
        with open_source(site(folder, port, 1), "plant") as source:
            for name, content in contents.items():
                source.upload(f"proved-{name}", content)

    return timed(bare), timed(proved)


def fill(root: Path, files: int) -> None:
    """Write files of the size of a gauge's."""
    root.mkdir()
    for n in range(files):
        (root / f"{n % 28:02}-{n:05}.txt").write_bytes(
            b"01/03/2026 00:%02d:00;1;0;13.1\r\n" % (n % 60)
        )


def row(what: str, files: int, seconds: float, bare_s: float) -> None:
    """Print one line of the table."""
    per_file_us = seconds / files * 1e6
    print(f"{what:<52}{seconds:>8.2f} s{per_file_us:>9.0f} us/file{seconds / bare_s:>8.2f} x")


def main() -> int:
    """Measure and print the tables."""
    os.environ["BENCH_FTP_PASSWORD"] = PASSWORD
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fill(folder / "served", FILES)
        print(f"{FILES} small files over loopback")
        with running(folder / "served") as port:
            bare_s = bare_fetch(port)
            row("ftplib, RETR into memory", FILES, bare_s, bare_s)
            (folder / "kept").mkdir()
            kept_s = bare_fetch(port, folder / "kept", FILES_KEPT)
            share_s = bare_s * FILES_KEPT / FILES
            row(f"ftplib, {FILES_KEPT} RETR into files, no fsync", FILES_KEPT, kept_s, share_s)
            first_s, again_s = mirrored(folder, port, 2, FILES)
            row("mirror, 2 connections, on the disk and registered", FILES, first_s, bare_s)
            row("mirror, nothing new", FILES, again_s, bare_s)
        fill(folder / "far", FILES_OVER_LINE)
        print(f"\n{FILES_OVER_LINE} small files over a line with {DELAY_S * 1e3:.0f} ms per answer")
        with running(folder / "far", DELAY_S) as port:
            far_s = bare_fetch(port)
            row("ftplib, RETR into memory", FILES_OVER_LINE, far_s, far_s)
            for connections in (1, 4, 8):
                first_s, _ = mirrored(folder, port, connections, FILES_OVER_LINE)
                row(f"mirror, {connections} connection(s)", FILES_OVER_LINE, first_s, far_s)
        print(f"\n{FILES_UPLOADED} uploads of 200 bytes over loopback")
        (folder / "up").mkdir()
        with running(folder / "up") as port:
            stored_s, proved_s = uploads(folder, port)
            row("ftplib, STOR", FILES_UPLOADED, stored_s, stored_s)
            row("upload: size, rename, read back", FILES_UPLOADED, proved_s, stored_s)
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(sys.argv[2], float(sys.argv[3]))
    sys.exit(main())
