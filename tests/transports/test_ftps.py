"""FTPS: certificates are verified, and the data channel takes the control channel's session."""

from __future__ import annotations

import ftplib
import io
import os
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from workspace_lib.errors import ConfigError, SourceError
from workspace_lib.settings import Settings
from workspace_lib.transports.file_source import FileRefused, SourceRefused, open_source

pytestmark = pytest.mark.server
CONTENT = bytes(range(256)) * 2000


@pytest.fixture
def secure(ftp_server: Callable[..., Any]) -> Any:
    """A server that demands TLS on both channels."""
    return ftp_server(tls=True)


def test_files_come_and_go_over_tls(secure: Any, plant: Callable[..., Settings]) -> None:
    secure.put("G1/é à.bin", CONTENT)
    sink = io.BytesIO()
    with open_source(plant(secure), "plant") as source:
        assert [item.path for item in source.list()] == ["G1/é à.bin"]
        source.fetch("G1/é à.bin", sink)
        source.upload("out/x.bin", CONTENT)
        source.upload("out/x.bin", CONTENT[::-1])
    assert sink.getvalue() == CONTENT
    assert (secure.root / "out" / "x.bin").read_bytes() == CONTENT[::-1]
    assert secure.count("PROT") == 1


def test_a_certificate_of_an_unknown_authority_is_refused_once(
    secure: Any, make_site: Callable[..., Settings]
) -> None:
    site = secure.site()
    del site["sources"]["plant"]["tls_ca"]
    with pytest.raises(SourceRefused, match=r"certificate is not trusted.*tls_ca"):
        open_source(make_site(site), "plant")
    assert secure.count("USER") == 0
    assert secure.count("AUTH") == 1


def test_a_certificate_for_another_host_is_refused(
    ftp_server: Callable[..., Any], plant: Callable[..., Settings]
) -> None:
    elsewhere = ftp_server(tls=True, address="127.0.0.2")
    with pytest.raises(SourceRefused, match="certificate is not trusted"):
        open_source(plant(elsewhere, host="127.0.0.2"), "plant")


def test_the_authoritys_file_may_lie_in_the_sites_folder(
    secure: Any, plant: Callable[..., Settings], certificate: Path
) -> None:
    settings = plant(secure, tls_ca="server.pem")
    with pytest.raises(ConfigError, match="cannot be read"):
        open_source(settings, "plant")
    (settings.site_dir / "server.pem").write_bytes(certificate.read_bytes())
    with open_source(settings, "plant") as source:
        assert list(source.list()) == []


def test_a_plain_server_gets_no_password(
    ftp_server: Callable[..., Any], plant: Callable[..., Settings], certificate: Path
) -> None:
    server = ftp_server()
    with pytest.raises(SourceRefused):
        open_source(plant(server, kind="ftps", tls_ca=str(certificate)), "plant")
    assert server.count("PASS") == 0


@pytest.mark.parametrize("ends", ["lies", "dies"])
def test_a_transfer_cut_under_tls_is_taken_up(
    secure: Any, plant: Callable[..., Settings], ends: str
) -> None:
    secure.put("a.bin", CONTENT)
    secure.faults.cut_ends = ends
    secure.faults.cuts["a.bin"] = [100_000]
    sink = io.BytesIO()
    with open_source(plant(secure), "plant") as source:
        source.fetch("a.bin", sink)
    assert sink.getvalue() == CONTENT


def test_an_upload_that_arrives_short_is_told(secure: Any, plant: Callable[..., Settings]) -> None:
    secure.faults.after_stor = lambda path: os.truncate(path, 10)
    with (
        open_source(plant(secure), "plant") as source,
        pytest.raises(SourceError, match=r"Of \d+ bytes sent to x.bin, 10 arrived"),
    ):
        source.upload("x.bin", CONTENT)


# ---- vsftpd, which knows no MLSD and may demand the session's reuse


class Vsftpd:
    """A private vsftpd with one folder that anybody may write to."""

    def __init__(self, program: str, folder: Path, certificate: Path, port: int) -> None:
        self.port, self.root = port, folder / "served" / "data"
        self.root.mkdir(parents=True)
        self.root.chmod(0o777)
        empty = folder / "empty"
        empty.mkdir()
        settings = {
            "listen": "YES",
            "listen_address": "127.0.0.1",
            "listen_port": port,
            "background": "NO",
            "run_as_launching_user": "YES",
            "secure_chroot_dir": empty,
            "seccomp_sandbox": "NO",
            "isolate": "NO",
            "isolate_network": "NO",
            "anonymous_enable": "YES",
            "local_enable": "NO",
            "no_anon_password": "YES",
            "anon_root": folder / "served",
            "allow_writeable_chroot": "YES",
            "write_enable": "YES",
            "anon_upload_enable": "YES",
            "anon_mkdir_write_enable": "YES",
            "anon_other_write_enable": "YES",
            "anon_world_readable_only": "NO",
            "anon_umask": "022",
            "xferlog_enable": "NO",
            "vsftpd_log_file": folder / "vsftpd.log",
            "ssl_enable": "YES",
            "allow_anon_ssl": "YES",
            "force_anon_data_ssl": "YES",
            "force_anon_logins_ssl": "YES",
            "require_ssl_reuse": "YES",
            "rsa_cert_file": certificate,
            "rsa_private_key_file": certificate,
            "ssl_ciphers": "HIGH",
        }
        config = folder / "vsftpd.conf"
        config.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        config.chmod(0o600)
        self.process = subprocess.Popen(
            [program, str(config)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def ready(self) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                out = self.process.stdout.read() if self.process.stdout else b""
                pytest.fail(f"vsftpd ended: {out!r}")
            with suppress(OSError, EOFError, ftplib.Error):
                ftplib.FTP().connect("127.0.0.1", self.port, timeout=5)
                return
            time.sleep(0.02)
        pytest.fail("vsftpd does not answer")


@pytest.fixture
def vsftpd(
    tmp_path: Path, program: Callable[[str], str], certificate: Path, free_port: int
) -> Iterator[Vsftpd]:
    """A vsftpd of our own that demands the reuse of TLS sessions."""
    server = Vsftpd(program("vsftpd"), tmp_path, certificate, free_port)
    try:
        server.ready()
        yield server
    finally:
        server.process.terminate()
        server.process.wait(30)


@pytest.fixture
def vsftpd_site(vsftpd: Vsftpd, make_site: Callable[..., Settings], certificate: Path) -> Settings:
    """A site whose source ``plant`` is the vsftpd."""
    return make_site(
        {
            "sources": {
                "plant": {
                    "kind": "ftps",
                    "host": "127.0.0.1",
                    "port": vsftpd.port,
                    "folder": "data",
                    "tls_ca": str(certificate),
                    "attempts": 2,
                    "wait_s": 0.01,
                    "stable_after_s": 0,
                }
            }
        }
    )


def test_vsftpd_refuses_who_does_not_reuse_the_session(vsftpd: Vsftpd, certificate: Path) -> None:
    (vsftpd.root / "a.txt").write_bytes(b"1")
    naive = ftplib.FTP_TLS(context=ssl.create_default_context(cafile=str(certificate)))
    naive.connect("127.0.0.1", vsftpd.port, timeout=20)
    naive.login()
    naive.prot_p()
    with pytest.raises((ftplib.Error, OSError, EOFError)):
        naive.retrbinary("RETR data/a.txt", lambda block: None)
    naive.close()


def test_vsftpd_gives_and_takes_files_with_the_session_reused(
    vsftpd: Vsftpd, vsftpd_site: Settings
) -> None:
    for number in range(20):
        (vsftpd.root / f"A0 {number:02}é.txt").write_bytes(b"x" * number)
    (vsftpd.root / "G1").mkdir()
    (vsftpd.root / "G1" / "big.bin").write_bytes(CONTENT)
    sink = io.BytesIO()
    with open_source(vsftpd_site, "plant") as source:
        listed = {item.path: item for item in source.list()}
        assert len(listed) == 21
        assert listed["A0 07é.txt"].size == 7
        when = int((vsftpd.root / "A0 07é.txt").stat().st_mtime)
        modified = listed["A0 07é.txt"].modified
        assert modified is not None
        assert modified.timestamp() == when
        source.fetch("G1/big.bin", sink, expected=len(CONTENT))
        assert sink.getvalue() == CONTENT
        sink = io.BytesIO()
        source.fetch("G1/big.bin", sink, 500_000)
        assert sink.getvalue() == CONTENT[500_000:]
        source.upload("out/x y.bin", CONTENT)
        source.upload("out/x y.bin", b"shorter")
        source.rename("out/x y.bin", "out/z.bin")
        with pytest.raises(FileRefused):
            source.size("out/x y.bin")
        source.remove("out/z.bin")
    assert list((vsftpd.root / "out").iterdir()) == []


def test_vsftpd_lists_large_folders_by_list(vsftpd: Vsftpd, vsftpd_site: Settings) -> None:
    now = time.time()
    for number in range(300):
        path = vsftpd.root / f"A0 {number:03}.txt"
        path.write_bytes(b"x" * number)
        os.utime(path, (now - 60 * number, now - 60 * number))
    with open_source(vsftpd_site, "plant") as source:
        listed = {item.path: item for item in source.list()}
    for path in vsftpd.root.iterdir():
        item = listed[path.name]
        assert item.size == path.stat().st_size
        assert item.modified is not None
        assert item.modified.timestamp() == int(path.stat().st_mtime) // 60 * 60
