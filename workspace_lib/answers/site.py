"""What a route needs of the site it answers for: its store, its settings and its clock."""

from __future__ import annotations

from datetime import datetime

from fastapi import Request

from workspace_lib.clock import Clock
from workspace_lib.settings import Settings
from workspace_lib.store.engines import Store


def store_of(request: Request) -> Store:
    """Return the open store of the site."""
    store: Store = request.app.state.store
    return store


def settings_of(request: Request) -> Settings:
    """Return the settings of the site."""
    settings: Settings = request.app.state.settings
    return settings


def now_of(request: Request) -> datetime:
    """Return the instant by the application's clock, in UTC."""
    clock: Clock = request.app.state.clock
    return clock.now()
