"""Secrets come from the environment or a file, and are redacted once resolved."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from workspace_lib import secrets
from workspace_lib.errors import ConfigError


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "_known", set())
    monkeypatch.setattr(secrets, "_providers", [])
    monkeypatch.setattr(secrets, "_dotenv", {})


def test_the_environment_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANT_FTP", "s3cr3t!")
    assert secrets.resolve("secret://PLANT_FTP") == "s3cr3t!"


def test_a_file_named_by_the_environment_is_read_without_its_line_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "pw").write_text("from a file\n")
    monkeypatch.setenv("PLANT_FTP_FILE", str(tmp_path / "pw"))
    assert secrets.resolve("secret://PLANT_FTP") == "from a file"


def test_systemd_credentials_are_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "PLANT_FTP").write_text("credential")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert secrets.resolve("secret://PLANT_FTP") == "credential"


def test_a_missing_secret_says_which_variable_to_set() -> None:
    with pytest.raises(ConfigError, match="PLANT_FTP_FILE"):
        secrets.resolve("secret://PLANT_FTP")


def test_an_unreadable_file_says_where(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PLANT_FTP_FILE", str(tmp_path / "absent"))
    with pytest.raises(ConfigError, match="absent"):
        secrets.resolve("secret://PLANT_FTP")


def test_a_plain_password_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError) as caught:
        secrets.resolve("hunter2hunter2")
    assert "hunter2" not in str(caught.value)


def test_resolved_secrets_are_redacted_also_as_part_of_an_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PLANT_FTP", "p@ss/word")
    secrets.resolve("secret://PLANT_FTP")
    text = secrets.redact("ftp://u:p%40ss%2Fword@host said p@ss/word")
    assert text == "ftp://u:***@host said ***"
    assert secrets.contains_secret("xp@ss/wordx")


def test_addresses_are_filled_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB", "a b")
    assert secrets.fill("postgresql://u:{secret://DB}@h/db") == "postgresql://u:a%20b@h/db"


@pytest.mark.parametrize(
    "printed",
    [
        "{'password': 'a\"b\\\\c&d e'}",
        '{"password": "a\\"b\\\\c&d e"}',
        "<td>a&quot;b\\c&amp;d e</td>",
        "?p=a%22b%5Cc%26d+e",
        "YSJiXGMmZCBl",
    ],
    ids=["repr", "json", "html", "form", "base64"],
)
def test_a_secret_is_redacted_in_every_usual_spelling(
    monkeypatch: pytest.MonkeyPatch, printed: str
) -> None:
    monkeypatch.setenv("DB", 'a"b\\c&d e')
    secrets.resolve("secret://DB")
    assert secrets.REDACTED in secrets.redact(printed)
    assert secrets.redact_tree({"k": [printed, 1, None]}) == {
        "k": [secrets.redact(printed), 1, None]
    }


def test_a_resolved_secret_is_reported_to_the_runner_before_it_can_be_printed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from multiprocessing.connection import Listener

    key = b"k" * 16
    heard = []
    with Listener(authkey=key) as listener:

        def listen() -> None:
            with listener.accept() as connection:
                heard.append(connection.recv_bytes())
                connection.send_bytes(b"")

        runner = threading.Thread(target=listen)
        runner.start()
        address = listener.address
        assert isinstance(address, str)
        monkeypatch.setenv(secrets.REPORT_TO, address)
        monkeypatch.setenv(secrets.REPORT_KEY, key.hex())
        monkeypatch.setenv("DB", "s3cr3t!")
        secrets.resolve("secret://DB")
        assert heard == [b"s3cr3t!"]
        runner.join()
