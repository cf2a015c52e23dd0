"""Files that people write: what is wrong with them is told with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from workspace_lib.errors import ConfigError
from workspace_lib.site_files import parse_yaml, read_yaml, split_names, zone_name


def test_a_file_is_read_as_its_values(tmp_path: Path) -> None:
    path = tmp_path / "list.yml"
    path.write_text("a: [1, zwei]", encoding="utf-8")
    assert read_yaml(path, "list") == {"a": [1, "zwei"]}


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"list of things cannot be read.*Make it") as caught:
        read_yaml(tmp_path / "none.yml", "list of things", "Make it.")
    assert "none.yml" in str(caught.value)


def test_a_file_in_another_encoding_is_told(tmp_path: Path) -> None:
    path = tmp_path / "latin.yml"
    path.write_bytes("name: Montréal".encode("latin-1"))
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_yaml(path, "list")


def test_wrong_yaml_is_told_with_its_line() -> None:
    with pytest.raises(ConfigError, match=r"list\.yml:2: The list is not valid YAML"):
        parse_yaml("a: 1\nb: [}", "list.yml", "list")


def test_names_stand_in_a_text_with_commas_or_in_a_list() -> None:
    assert split_names(" a , b,") == ["a", "b"]
    assert split_names(["b", " "]) == ["b"]


def test_a_zone_that_is_none_is_refused() -> None:
    assert zone_name("America/Toronto") == "America/Toronto"
    with pytest.raises(ValueError, match="unknown time zone 'Toronto'"):
        zone_name("Toronto")
