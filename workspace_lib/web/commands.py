"""Commands of the web front: ``workspace web`` and ``workspace token``."""

from __future__ import annotations

import argparse
from typing import Any


def register(subparsers: Any) -> None:
    """Add the parsers of this floor."""
    web = subparsers.add_parser("web", help="serve the web front: gallery, static twins, API")
    web.add_argument("--host", help="address to listen on")
    web.add_argument("--port", type=int, help="port; 0 takes a free one")
    web.set_defaults(handler=_web)

    token = subparsers.add_parser("token", help="make, list and revoke tokens of the web front")
    actions = token.add_subparsers(dest="action", required=True, metavar="ACTION")
    create = actions.add_parser("create", help="make a token and show it once")
    create.add_argument("name", help="who or what will use it")
    create.add_argument(
        "--scope", default="read", choices=("view", "read", "write", "admin"), help="what it may do"
    )
    create.add_argument("--days", type=int, help="days until it expires (default: never)")
    create.set_defaults(handler=_create)
    actions.add_parser("list", help="list tokens").set_defaults(handler=_list)
    revoke = actions.add_parser("revoke", help="make a token invalid at once")
    revoke.add_argument("name")
    revoke.set_defaults(handler=_revoke)


def _web(arguments: argparse.Namespace) -> int:
    import threading

    from workspace_lib import watchdog
    from workspace_lib.logs import set_up_logging
    from workspace_lib.settings import load_settings
    from workspace_lib.web.server import bind, serve

    settings = load_settings(arguments.site)
    changes = {k: v for k in ("host", "port") if (v := getattr(arguments, k)) is not None}
    settings = settings.model_copy(update={"web": settings.web.model_copy(update=changes)})
    set_up_logging(settings, verbose=arguments.verbose)
    listener = bind(settings)
    host, port = listener.getsockname()[:2]
    print(f"Web front: http://{host}:{port}/", flush=True)
    ended = threading.Event()
    watcher = watchdog.guard(watchdog.answers_http(host, port, "/health"), ended)
    try:
        serve(settings, listener)
    finally:
        ended.set()
        if watcher is not None:
            watcher.join(1)
    return 0


def _create(arguments: argparse.Namespace) -> int:
    from workspace_lib.clock import SYSTEM_CLOCK
    from workspace_lib.web.tokens import create_token

    with _store(arguments) as store:
        token = create_token(
            store, arguments.name, arguments.scope, now=SYSTEM_CLOCK.now(), days=arguments.days
        )
    print(token)
    return 0


def _list(arguments: argparse.Namespace) -> int:
    from workspace_lib.clock import iso
    from workspace_lib.web.tokens import list_tokens

    with _store(arguments) as store:
        for token in list_tokens(store):
            state = "revoked" if token.revoked else "valid"
            expires = f"expires {iso(token.expires)}" if token.expires else "does not expire"
            used = f"last used {iso(token.last_used)}" if token.last_used else "never used"
            print(f"{token.name}\t{' '.join(sorted(token.scopes))}\t{state}\t{expires}\t{used}")
    return 0


def _revoke(arguments: argparse.Namespace) -> int:
    from workspace_lib.errors import ParameterError
    from workspace_lib.web.tokens import revoke_token

    with _store(arguments) as store:
        if not revoke_token(store, arguments.name):
            raise ParameterError(
                f"There is no token {arguments.name!r}.", fix="See: workspace token list."
            )
    return 0


def _store(arguments: argparse.Namespace) -> Any:
    from workspace_lib.settings import load_settings
    from workspace_lib.store.migrate import open_store

    return open_store(load_settings(arguments.site))
