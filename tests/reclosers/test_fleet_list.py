"""The list of reclosers is read once, and again when somebody changed it."""

from __future__ import annotations

import os

import pytest

from workspace_lib.errors import ConfigError
from workspace_lib.reclosers import fleet_list
from workspace_lib.reclosers.fleet_list import listed_fleet


def test_it_is_read_once_and_again_when_it_changed(make_site, monkeypatch) -> None:
    settings = make_site({"wings": {"reclosers": {}}})
    path = settings.site_dir / "reclosers.yml"
    path.write_text("reclosers: [{id: LAV-1, ced: LAV, remote: false}]\n")
    reads = []
    real = fleet_list.load_fleet
    monkeypatch.setattr(fleet_list, "load_fleet", lambda one: reads.append(one) or real(one))
    first = listed_fleet(settings)
    assert listed_fleet(settings) is first
    assert len(reads) == 1
    path.write_text("reclosers: [{id: LAV-2, ced: LAV, remote: false}]\n")
    os.utime(path, ns=(1, 1))
    assert [one.id for one in listed_fleet(settings).reclosers] == ["LAV-2"]


def test_a_list_that_is_gone_is_told(make_site) -> None:
    settings = make_site({"wings": {"reclosers": {}}})
    with pytest.raises(ConfigError, match="list of reclosers"):
        listed_fleet(settings)


def test_only_some_lists_are_kept(make_site, monkeypatch) -> None:
    monkeypatch.setattr(fleet_list, "_kept", {})
    monkeypatch.setattr(fleet_list, "_MOST", 2)
    for name in ("one", "two", "three"):
        settings = make_site({"wings": {"reclosers": {}}}, name=name)
        listed = "reclosers: [{id: LAV-1, ced: LAV, remote: false}]\n"
        (settings.site_dir / "reclosers.yml").write_text(listed)
        listed_fleet(settings)
    assert len(fleet_list._kept) == 2
