"""Pages for people: the gallery, output notebooks, log-in, the API's description."""

from __future__ import annotations

import json
import re
from datetime import datetime
from functools import cache
from http import HTTPStatus
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from workspace_lib.answers.downloads import send_file
from workspace_lib.answers.problems import Refusal
from workspace_lib.answers.site import now_of, settings_of, store_of
from workspace_lib.clock import parse_instant
from workspace_lib.runs.folders import RunFolders
from workspace_lib.runs.ledger_queries import get_run
from workspace_lib.views.access import live_address
from workspace_lib.views.blocks import Freshness, age, badge, card, cards, when
from workspace_lib.views.html import Html, tag
from workspace_lib.views.site import LANGUAGE_COOKIE, LANGUAGE_KEPT_S, Site
from workspace_lib.views.texts import Texts, languages
from workspace_lib.views.twins import Twin, find_twin
from workspace_lib.web.access import COOKIE, Visitor, client_address, page_reader
from workspace_lib.web.frame import page, sentence, site_for
from workspace_lib.web.limits import RateLimiter
from workspace_lib.web.tokens import find_token

router = APIRouter(include_in_schema=False)

SWAGGER = Path(__file__).parent / "vendor" / "swagger-ui"
_SWAGGER_FILES = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}
_DAYS_LOGGED_IN = 30
_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}")


@router.get("/")
def gallery(request: Request, visitor: Visitor) -> HTMLResponse:
    """Show every dashboard with the age and state of its data."""
    settings, site = settings_of(request), site_for(request)
    texts, now = site.texts, now_of(request)
    live = live_address(settings, request.url.hostname)
    tiles = []
    for name, title in site.boards().items():
        key = f"board.{name}.about"
        twin = find_twin(settings, name, texts.language)
        tiles.append(
            card(
                title,
                tag("p", texts(key) if texts.has(key) else "", class_="ws-note"),
                state=_state(site, twin, now),
                note=_note(site, twin, now, f"/live/{name}" if live else None),
                link=f"/d/{name}",
                word=True,
            )
        )
    head = tag("header", tag("h1", texts("page.boards")), class_="ws-head")
    main = tag("main", head, tag("div", cards(*tiles), class_="ws-gallery"), class_="ws-main")
    foot = _foot(texts, logged_in=COOKIE in request.cookies)
    html = site.document(texts("page.boards"), site.bar(), main, foot, refresh_s=60)
    return page(html)


@router.get("/runs/{run_id}/notebook")
def output_notebook(request: Request, visitor: Visitor, run_id: str) -> Response:
    """Show the output notebook of a run's newest attempt, cleaned; needs the scope read."""
    from workspace_lib.web.notebooks import notebook_html

    page_reader(visitor)
    site, settings = site_for(request), settings_of(request)
    run = get_run(store_of(request), run_id) if _RUN.fullmatch(run_id) else None
    if run is None:
        return sentence(site, "page.missing_title", "page.missing", HTTPStatus.NOT_FOUND)
    path = RunFolders(settings.outputs_dir, run.id, run.attempt).notebook
    if not path.is_file():
        return sentence(site, "front.no_notebook_title", "front.no_notebook", HTTPStatus.NOT_FOUND)
    title = f"{run.job} · {run.slot}"
    text = tag("section", Html(notebook_html(path)), class_="ws-text ws-notebook")
    head = tag("header", tag("h1", run.job), tag("p", tag("code", run.id)), class_="ws-head")
    return page(site.document(title, site.bar(), tag("main", head, text, class_="ws-main")))


@router.get("/live/{name}")
def live_dashboard(request: Request, visitor: Visitor, name: str) -> Response:
    """Lead to the live dashboard, whose server asks for a token of its own."""
    site = site_for(request)
    live = live_address(settings_of(request), request.url.hostname)
    if not site.has(name):
        return sentence(site, "page.missing_title", "page.missing", HTTPStatus.NOT_FOUND)
    if live is None:
        status = HTTPStatus.SERVICE_UNAVAILABLE
        return sentence(site, "front.no_live_title", "front.no_live", status)
    return RedirectResponse(f"{live}{name}?language={site.texts.language}", HTTPStatus.SEE_OTHER)


@router.get("/login")
def login_page(request: Request) -> HTMLResponse:
    """Ask for a token."""
    return _login(site_for(request), _next(request.query_params.get("next")))


@router.post("/login")
async def login(request: Request) -> Response:
    """Take a token into a cookie that scripts cannot read and other sites cannot send."""
    form = parse_qs((await request.body()).decode("utf-8", "replace"))
    target = _next(form.get("next", [None])[0])
    limiter: RateLimiter = request.app.state.limiter
    address = client_address(request)
    verdict = limiter.peek("logins", address)
    if not verdict.allowed:
        raise Refusal(HTTPStatus.TOO_MANY_REQUESTS, "Too many wrong tokens.", verdict.headers)
    presented = form.get("token", [""])[0].strip()
    if find_token(store_of(request), presented, now=now_of(request)) is None:
        limiter.hit("logins", address)
        return _login(site_for(request), target, wrong=True)
    answer = RedirectResponse(target, HTTPStatus.SEE_OTHER)
    answer.set_cookie(
        COOKIE,
        presented,
        max_age=_DAYS_LOGGED_IN * 86_400,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return answer


@router.post("/logout")
def logout() -> Response:
    """Forget the token of this browser."""
    answer = RedirectResponse("/", HTTPStatus.SEE_OTHER)
    answer.delete_cookie(COOKIE)
    return answer


@router.get("/language/{language}")
def choose_language(request: Request, language: str) -> Response:
    """Remember the reader's language and go back."""
    came = urlsplit(request.headers.get("referer", "/"))
    target = _next(f"{came.path}?{came.query}" if came.query else came.path)
    answer = RedirectResponse(target, HTTPStatus.SEE_OTHER)
    if language in languages():
        answer.set_cookie(LANGUAGE_COOKIE, language, max_age=LANGUAGE_KEPT_S, samesite="lax")
    return answer


@router.get("/docs")
def api_docs(request: Request, visitor: Visitor) -> HTMLResponse:
    """Show the API's description, from files that came along."""
    title = f"API · {site_for(request).title}"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("title", title),
        # An empty one, or the browser asks for an icon that is not there.
        tag("link", rel="icon", href="data:,"),
        tag("link", rel="stylesheet", href="/docs/swagger-ui.css"),
    )
    body = tag(
        "body",
        tag("div", id="swagger-ui"),
        tag("script", src="/docs/swagger-ui-bundle.js"),
        tag("script", src="/docs/start.js"),
    )
    return HTMLResponse("<!DOCTYPE html>" + tag("html", head, body, lang="en").markup)


@router.get("/docs/start.js")
def api_docs_start() -> Response:
    """Start the description page."""
    address = json.dumps("/api/v1/openapi.json")
    script = f'SwaggerUIBundle({{url: {address}, dom_id: "#swagger-ui", deepLinking: true}});'
    return Response(script, media_type="text/javascript")


@router.get("/docs/{name}")
def api_docs_file(request: Request, name: str) -> Response:
    """Send a file of the description page."""
    if name not in _SWAGGER_FILES:
        raise Refusal(HTTPStatus.NOT_FOUND, "There is no such file.")
    path = SWAGGER / name
    return send_file(
        request, path, content_hash=_hash(path), media_type=_SWAGGER_FILES[name],
        cache_control="public, max-age=86400",
    )  # fmt: skip


def refusal(request: Request, status: HTTPStatus, detail: str) -> Response | None:
    """Return what a person's browser is shown instead of a page; None where a program asks."""
    path = request.url.path
    if path.startswith("/api/") or "text/html" not in request.headers.get("accept", ""):
        return None
    if status == HTTPStatus.UNAUTHORIZED:
        answer: Response = RedirectResponse(f"/login?next={quote(path)}", HTTPStatus.SEE_OTHER)
        answer.delete_cookie(COOKIE)
        return answer
    site = site_for(request)
    if status == HTTPStatus.NOT_FOUND:
        return sentence(site, "page.missing_title", "page.missing", status)
    refused = status in (HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS)
    title = status.phrase if refused else site.texts("page.wrong_title")
    return page(site.sentence(title, detail), status)


def _state(site: Site, twin: Twin | None, now: datetime) -> Html:
    if twin is None:
        return badge(site.texts, "unknown", site.texts("front.not_made"))
    if twin.stale_at is not None and now >= parse_instant(twin.stale_at):
        return badge(site.texts, "stale")
    return badge(site.texts, "good", site.texts("state.fresh"))


def _note(site: Site, twin: Twin | None, now: datetime, live: str | None) -> Html:
    parts: list[Html] = []
    if twin is not None:
        shown = Freshness(parse_instant(twin.as_of or twin.made))
        parts.append(
            tag(
                "span",
                site.texts("as_of.data" if twin.as_of else "as_of.live"),
                " ",
                tag("strong", when(site.texts, shown.as_of, now)),
                " (",
                age(site.texts, shown.as_of, now),
                ")",
            )
        )
    if live is not None:
        parts.append(tag("a", site.texts("front.explore"), href=live, class_="ws-explore"))
    return tag("div", parts, class_="ws-tile-foot")


def _foot(texts: Texts, *, logged_in: bool) -> Html:
    """Return what stands under the gallery: the API and the way out."""
    api = tag("a", texts("front.api"), href="/docs")
    out = tag(
        "form",
        tag("button", texts("front.log_out"), type="submit", class_="ws-plain-button"),
        method="post",
        action="/logout",
    )
    return tag("footer", api, out if logged_in else None, class_="ws-front-foot")


def _login(site: Site, target: str, *, wrong: bool = False) -> HTMLResponse:
    texts = site.texts
    form = tag(
        "form",
        tag("input", type="hidden", name="next", value=target),
        tag(
            "label",
            texts("page.token"),
            tag("input", type="password", name="token", autofocus=True, required=True),
        ),
        tag("button", texts("page.enter"), class_="ws-button", type="submit"),
        method="post",
        action="/login",
    )
    mark = badge(texts, "bad", texts("page.login_wrong")) if wrong else None
    title = texts("page.login_title")
    foot = tag("footer", site.other_languages(), class_="ws-front-foot")
    inner = tag("main", tag("p", site.title, class_="ws-note"), tag("h1", title),
                tag("p", texts("front.login")), mark, form, foot,
                class_="ws-simple")  # fmt: skip
    status = HTTPStatus.UNAUTHORIZED if wrong else HTTPStatus.OK
    return page(site.document(title, inner), status)


def _next(target: str | None) -> str:
    """Return where to go after logging in: a path of this server, never another one."""
    if not target or not target.startswith("/") or target.startswith(("//", "/\\")):
        return "/"
    return target


@cache
def _hash(path: Path) -> str:
    from workspace_lib.files import sha256_file

    return sha256_file(path)
