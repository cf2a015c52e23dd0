"""What the tests of views share: texts in each language and zone, and a moment."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from zoneinfo import ZoneInfo

import pytest

from workspace_lib.views.texts import Texts


@pytest.fixture
def now() -> datetime:
    """A moment in the afternoon of a winter's day in Paris."""
    return datetime(2026, 11, 20, 14, 5, tzinfo=UTC)


@pytest.fixture
def texts() -> Texts:
    """English, in Paris."""
    return Texts("en", ZoneInfo("Europe/Paris"))


@pytest.fixture
def french() -> Texts:
    """French, in Paris."""
    return Texts("fr", ZoneInfo("Europe/Paris"))


@pytest.fixture(scope="session")
def filling() -> ModuleType:
    """The module that fills a site; test files cannot import each other."""
    path = Path(__file__).with_name("filling.py")
    spec = importlib.util.spec_from_file_location("filling", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["filling"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def filled(
    filling: ModuleType, tmp_path_factory: pytest.TempPathFactory, repository: Path
) -> object:
    """A site after ten hours of work; tests only read it."""
    made: Callable[..., object] = filling.make_filled_site
    now = datetime(2026, 11, 20, 14, 5, tzinfo=UTC)
    return made(tmp_path_factory.mktemp("plant"), repository, now)
