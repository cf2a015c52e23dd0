"""Settings come from the environment, .env, the site and the defaults, in that order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from workspace_lib import secrets
from workspace_lib.errors import ConfigError
from workspace_lib.settings import Settings, load_settings, unknown_variables

MakeSite = Callable[..., Settings]


def test_the_site_overrides_the_defaults(make_site: MakeSite) -> None:
    assert make_site({"runs": {"max_parallel": 7}}).runs.max_parallel == 7


def test_env_file_overrides_the_site_and_the_environment_overrides_both(
    make_site: MakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_site({"title": "of the site", "language": "fr"})
    (settings.root / ".env").write_text("WORKSPACE_TITLE=of the file\nWORKSPACE_LANGUAGE=en\n")
    assert load_settings("testsite", root=settings.root).title == "of the file"
    monkeypatch.setenv("WORKSPACE_TITLE", "of the environment")
    loaded = load_settings("testsite", root=settings.root)
    assert (loaded.title, loaded.language) == ("of the environment", "en")


def test_nested_settings_are_set_by_double_underscore(
    make_site: MakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_site({"sources": {"plant": {"host": "ftp.example", "user": "u"}}})
    monkeypatch.setenv("WORKSPACE_SOURCES__PLANT__HOST", "other.example")
    source = load_settings("testsite", root=settings.root).source("plant")
    assert (source.host, source.user) == ("other.example", "u")


def test_the_env_file_may_choose_the_site(make_site: MakeSite) -> None:
    settings = make_site(name="plant")
    (settings.root / ".env").write_text("WORKSPACE_SITE=plant\n")
    assert load_settings(root=settings.root).site_name == "plant"


def test_a_misspelt_variable_in_the_env_file_is_named(make_site: MakeSite) -> None:
    settings = make_site()
    (settings.root / ".env").write_text("WORKSPACE_TITEL=x\nWORKSPACE_RUNS__TICK_S=2\nPATH=y\n")
    with pytest.raises(ConfigError, match="no setting WORKSPACE_TITEL") as caught:
        load_settings("testsite", root=settings.root)
    assert ".env" in str(caught.value)


def test_what_looks_like_a_setting_and_is_none_is_found() -> None:
    names = ["WORKSPACE_TITEL", "workspace_title", "WORKSPACE_RUN_ID", "WORKSPACE_RUNS__X", "HOME"]
    assert unknown_variables([*names, "WORKSPACE_REQUIRE_DATA", "WORKSPACE"]) == ["WORKSPACE_TITEL"]


def test_a_secret_may_stand_in_the_env_file(
    make_site: MakeSite, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(secrets, "_known", set())
    settings = make_site()
    (tmp_path / "pw").write_text("of a file\n")
    lines = f"PLANT_FTP=of the env file\nPLANT_SQL_FILE={tmp_path / 'pw'}\n"
    (settings.root / ".env").write_text(lines)
    load_settings("testsite", root=settings.root)
    assert secrets.resolve("secret://PLANT_FTP") == "of the env file"
    assert secrets.resolve("secret://PLANT_SQL") == "of a file"
    assert secrets.redact("it is of the env file") == "it is ***"
    monkeypatch.setenv("PLANT_FTP", "of the environment")
    assert secrets.resolve("secret://PLANT_FTP") == "of the environment"
    (settings.root / ".env").unlink()
    load_settings("testsite", root=settings.root)
    with pytest.raises(ConfigError):
        secrets.resolve("secret://PLANT_SQL")


def test_a_site_may_lie_anywhere(make_site: MakeSite, tmp_path: Path) -> None:
    root = make_site().root
    elsewhere = tmp_path / "customer"
    elsewhere.mkdir()
    (elsewhere / "site.yml").write_text("title: Customer\n")
    settings = load_settings(elsewhere, root=root)
    assert settings.title == "Customer"
    assert settings.outputs_dir == (root / "outputs" / "customer").resolve()


def test_an_unknown_site_names_the_known_ones(make_site: MakeSite) -> None:
    root = make_site().root
    with pytest.raises(ConfigError, match="Known sites: testsite"):
        load_settings("absent", root=root)


@pytest.mark.parametrize(
    ("site", "message"),
    [
        ({"runs": {"max_paralel": 2}}, "runs.max_paralel"),
        ({"titel": "Plant"}, "no setting 'titel'. Did you mean 'title'"),
        ({"notify": {"repeat_after": "six hours"}}, "notify.repeat_after"),
        ({"notify": {"repeat_after": "0h"}}, "notify.repeat_after"),
        ({"timezone": "Europe/Lutece"}, "unknown time zone"),
        ({"runs": {"max_parallel": 0}, "language": "de"}, "language"),
    ],
)
def test_a_wrong_setting_is_named(make_site: MakeSite, site: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_site(site)


def test_broken_yaml_says_the_line(make_site: MakeSite) -> None:
    settings = make_site()
    (settings.site_dir / "site.yml").write_text("title: x\nruns: {a: [\n")
    with pytest.raises(ConfigError, match=r"site\.yml:\d"):
        load_settings("testsite", root=settings.root)


def test_an_unknown_source_names_the_known_ones(make_site: MakeSite) -> None:
    settings = make_site({"sources": {"rain": {"host": "h"}}})
    with pytest.raises(ConfigError, match="Known sources: rain"):
        settings.source("snow")
