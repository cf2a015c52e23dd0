"""The web front as an application: pages for people, ``/api/v1`` for programs."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from http import HTTPStatus

from fastapi import APIRouter, Depends, FastAPI, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from workspace_lib import __version__
from workspace_lib.answers import problems
from workspace_lib.clock import SYSTEM_CLOCK, Clock
from workspace_lib.settings import Settings
from workspace_lib.store.engines import Store
from workspace_lib.web.access import by_method
from workspace_lib.web.limits import RateLimiter
from workspace_lib.web.strict import only_known_query

API = "/api/v1"
#: Pages carry their own style and script; nothing may come from or go to another machine.
CONTENT_POLICY = (
    "default-src 'none'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; "
    "script-src 'self'; connect-src 'self'; font-src 'self' data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'self'"
)
_ALWAYS = (
    (b"content-security-policy", CONTENT_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cache-control", b"private, no-store"),
)


def create_app(settings: Settings, store: Store, *, clock: Clock = SYSTEM_CLOCK) -> FastAPI:
    """Return the application of one site.

    A wing hangs its routes here by a module ``api`` with an ``APIRouter`` named ``router``; it is
    found by that name and mounted under ``/api/v1``. A wing knows nothing of tokens, so its routes
    ask for one here: no route is open because somebody forgot to close it.
    """
    from workspace_lib.web import api, boards, health, pages, recloser_pages

    app = FastAPI(
        title=f"{settings.title or settings.site_name}: field workspace",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=f"{API}/openapi.json",
    )
    app.state.settings = settings
    app.state.store = store
    app.state.clock = clock
    app.state.shelf = boards.Shelf(settings)
    app.state.limiter = RateLimiter(
        {
            "requests": settings.web.requests_per_minute,
            "writes": settings.web.writes_per_minute,
            "logins": settings.web.failed_logins_per_minute,
        }
    )
    problems.add_handlers(app, pages.refusal)
    problems.describe(app)
    app.add_middleware(Guard, limit=int(settings.web.max_body_megabytes * 1_000_000))
    # First, so that what everybody looks at is not compared with every other route.
    app.add_route("/d/{name}", boards.dashboard, ["GET"], include_in_schema=False)
    strict = [Depends(only_known_query)]
    app.include_router(api.router, prefix=API, dependencies=strict)
    for router in wing_routers():
        closed = [*strict, Depends(by_method)]
        app.include_router(router, prefix=API, dependencies=closed, responses=problems.COMMON)
    app.include_router(health.router, dependencies=strict)
    app.include_router(recloser_pages.router)
    app.include_router(pages.router)
    return app


def wing_routers() -> list[APIRouter]:
    """Return the routers of all wings that have one."""
    import workspace_lib

    found: list[APIRouter] = []
    for package in pkgutil.iter_modules(workspace_lib.__path__, "workspace_lib."):
        name = f"{package.name}.api"
        if package.ispkg and package.name != __package__ and importlib.util.find_spec(name):
            found.append(importlib.import_module(name).router)
    return found


class Guard:
    """Refuses bodies that are too large; adds the headers every answer carries.

    Parameters
    ----------
    limit : int
        Largest body of a request [bytes].
    """

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self.app = app
        self.limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it here."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state = scope.setdefault("state", {})

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message["headers"])
                said = {name for name, _ in headers}
                limits = state.get("rate_limit", {}).items()
                ours = ((name.lower().encode(), value.encode()) for name, value in limits)
                headers += [field for field in (*ours, *_ALWAYS) if field[0] not in said]
                message["headers"] = headers
            await send(message)

        app = self._refusal(Request(scope)) or self.app
        await app(scope, receive, send_with_headers)

    def _refusal(self, request: Request) -> ASGIApp | None:
        length = request.headers.get("content-length", "0")
        if "transfer-encoding" in request.headers or not length.isdigit():
            return problems.answer(
                request, HTTPStatus.LENGTH_REQUIRED, "Say the body's length (Content-Length)."
            )
        if int(length) > self.limit:
            return problems.answer(
                request,
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"The body is larger than {self.limit} bytes; send it in parts.",
            )
        return None
