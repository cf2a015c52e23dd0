"""Who may do what: a bearer token for programs, the same token in a cookie for browsers."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request, Security
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from workspace_lib.answers.problems import Refusal
from workspace_lib.clock import Clock
from workspace_lib.store.engines import Store
from workspace_lib.web.limits import RateLimiter
from workspace_lib.web.tokens import Scope, Token, find_token

COOKIE = "workspace_token"
_SAFE = {"GET", "HEAD", "OPTIONS"}
_bearer = HTTPBearer(auto_error=False, description="A token made by `workspace token create`.")


def client_address(request: Request) -> str:
    """Return the address the request came from."""
    return request.client.host if request.client else "unknown"


def present(request: Request, credentials: HTTPAuthorizationCredentials | None) -> Token | None:
    """Return the token a request presents, or None if it presents none.

    Raises
    ------
    Refusal
        401 if the token is not valid; 429 after too many of those from one address; 403 if a page
        of another origin tries to write with a browser's cookie.
    """
    cookie = request.cookies.get(COOKIE)
    presented = credentials.credentials if credentials else cookie
    if not presented:
        return None
    if not credentials and request.method not in _SAFE and not _same_origin(request):
        raise Refusal(HTTPStatus.FORBIDDEN, "The request comes from another site's page.")
    store: Store = request.app.state.store
    clock: Clock = request.app.state.clock
    limiter: RateLimiter = request.app.state.limiter
    address = client_address(request)
    verdict = limiter.peek("logins", address)
    if not verdict.allowed:
        raise Refusal(HTTPStatus.TOO_MANY_REQUESTS, "Too many wrong tokens; wait.", verdict.headers)
    token = find_token(store, presented, now=clock.now())
    if token is None:
        limiter.hit("logins", address)
        raise _unauthorised("The token is unknown, revoked or expired.")
    return token


def require(scope: Scope) -> Callable[..., Token]:
    """Return the dependency of a route that only tokens with ``scope`` may use."""

    def check(
        request: Request,
        credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
    ) -> Token:
        token = present(request, credentials)
        if token is None:
            raise _unauthorised("This needs a token.")
        kind = "requests" if request.method in _SAFE else "writes"
        _count(request, kind, f"token:{token.id}")
        if not token.allows(scope):
            raise Refusal(HTTPStatus.FORBIDDEN, f"This needs a token with the scope {scope}.")
        return token

    return check


def by_method(
    request: Request,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
) -> Token:
    """Return the token of a request to a wing's route: scope read to look, write to change."""
    return require("read" if request.method in _SAFE else "write")(request, credentials)


async def visitor(
    request: Request,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
) -> Token | None:
    """Return the token of somebody who looks at a page, or None where pages are open."""
    return await admit(request, credentials)


async def admit(
    request: Request, credentials: HTTPAuthorizationCredentials | None = None
) -> Token | None:
    """Return the token of somebody who looks at a page, or None where pages are open.

    Raises
    ------
    Refusal
        401 if the site asks for a token and none was presented.
    """
    if credentials is None and "authorization" in request.headers:
        credentials = await _bearer(request)
    # Without a token there is nothing to wait for, and a thread would cost more than the answer.
    token = None
    if credentials or request.cookies.get(COOKIE):
        token = await run_in_threadpool(present, request, credentials)
    if token is None and request.app.state.settings.web.require_token:
        raise _unauthorised("This needs a token.")
    _count(request, "requests", f"token:{token.id}" if token else client_address(request))
    return token


def page_reader(token: Token | None) -> None:
    """Refuse whoever may look at dashboards but not into runs.

    Raises
    ------
    Refusal
        401 without a token, also where pages are open; 403 with one that has not the scope read.
    """
    if token is None:
        raise _unauthorised("This needs a token.")
    if not token.allows("read"):
        raise Refusal(HTTPStatus.FORBIDDEN, "This needs a token with the scope read.")


Visitor = Annotated[Token | None, Depends(visitor)]
Reader = Annotated[Token, Depends(require("read"))]
Writer = Annotated[Token, Depends(require("write"))]
Administrator = Annotated[Token, Depends(require("admin"))]


def _count(request: Request, kind: str, client: str) -> None:
    limiter: RateLimiter = request.app.state.limiter
    verdict = limiter.hit(kind, client)
    request.state.rate_limit = verdict.headers
    if not verdict.allowed:
        raise Refusal(
            HTTPStatus.TOO_MANY_REQUESTS,
            f"More than {verdict.limit} requests a minute; wait {verdict.reset_s} s.",
            verdict.headers,
        )


def _same_origin(request: Request) -> bool:
    origin = request.headers.get("origin") or request.headers.get("referer")
    return origin is not None and urlsplit(origin).netloc == request.headers.get("host")


def _unauthorised(detail: str) -> Refusal:
    return Refusal(HTTPStatus.UNAUTHORIZED, detail, {"WWW-Authenticate": "Bearer"})
