"""A dashboard's kernel knows no secret but the store's password; the token is never weak."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from workspace_lib.settings import Settings
from workspace_lib.views.access import address, kernel_environment, make_token

GIVEN = {
    "PATH": "/usr/bin",
    "HOME": "/home/plant",
    "LC_ALL": "C.UTF-8",
    "PLANT_FTP": "canary-1",
    "MYSQL_PASSWORD": "canary-2",
    "DASHBOARDS_TOKEN": "canary-3",
    "AWS_SECRET_ACCESS_KEY": "canary-4",
    "POSTGRES_PASSWORD": "store-password",
    "POSTGRES_PASSWORD_FILE": "/run/secrets/postgres",
    "CREDENTIALS_DIRECTORY": "/run/credentials",
    "NOTIFY_SOCKET": "/run/systemd/notify",
}


def test_no_secret_reaches_a_kernel(settings: Settings) -> None:
    kept = kernel_environment(settings, GIVEN)
    assert not [value for value in kept.values() if "canary" in value]
    assert "POSTGRES_PASSWORD" not in kept
    assert kept["PATH"] == "/usr/bin"
    assert kept["LC_ALL"] == "C.UTF-8"


def test_the_stores_own_password_does(make_site: Callable[..., Settings]) -> None:
    url = "postgresql://reader:{secret://POSTGRES_PASSWORD}@db/plant"
    kept = kernel_environment(make_site({"store": {"url": url}}), GIVEN)
    assert kept["POSTGRES_PASSWORD"] == "store-password"
    assert kept["POSTGRES_PASSWORD_FILE"] == "/run/secrets/postgres"
    assert not [value for value in kept.values() if "canary" in value]


def test_a_kernel_knows_its_site_and_finds_our_template(settings: Settings) -> None:
    kept = kernel_environment(settings, GIVEN | {"JUPYTER_PATH": "/opt/jupyter"})
    assert kept["WORKSPACE_SITE"] == str(settings.site_dir)
    assert kept["WORKSPACE_ROOT"] == str(settings.root)
    assert kept["JUPYTER_PATH"].endswith(":/opt/jupyter")
    assert "voila_template" in kept["JUPYTER_PATH"]


def test_the_environment_of_an_environment_is_the_same(settings: Settings) -> None:
    once = kernel_environment(settings, GIVEN)
    assert kernel_environment(settings, once) == once


def test_a_token_is_made_for_each_start(settings: Settings) -> None:
    first, second = make_token(settings), make_token(settings)
    assert first != second
    assert first[1]
    assert len(first[0]) >= 32


def test_a_token_that_was_set_is_used(
    make_site: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASHBOARDS_TOKEN", "of-the-plant")
    site = make_site({"dashboards": {"token": "secret://DASHBOARDS_TOKEN"}})
    assert make_token(site) == ("of-the-plant", False)


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("127.0.0.1", "http://127.0.0.1:8866/"),
        ("0.0.0.0", "http://127.0.0.1:8866/"),
        ("::1", "http://[::1]:8866/"),
        ("plant", "http://plant:8866/"),
    ],
)
def test_the_address_can_be_opened(host: str, shown: str) -> None:
    assert address(host, 8866) == shown
