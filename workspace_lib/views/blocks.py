"""Building blocks of dashboards: title, ages, states, cards, panels, sentences.

Every function returns finished `Html` and needs no kernel, so the same block stands on a live page,
in a static twin and on the web front. What a device, a file or a person wrote is escaped.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from workspace_lib import secrets
from workspace_lib.clock import iso
from workspace_lib.errors import WorkspaceError
from workspace_lib.views.html import EMPTY, Child, Html, join, tag
from workspace_lib.views.icons import icon
from workspace_lib.views.texts import Texts
from workspace_lib.views.tokens import STATES

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Freshness:
    """How old the data of a page or panel are, and which run made them.

    ``stale_at`` is the instant from which they count as stale, None where they never do. ``read``
    says that they were read from the store at ``as_of`` instead of published.
    """

    as_of: datetime | None
    run_id: str | None = None
    job: str | None = None
    stale_at: datetime | None = None
    read: bool = False

    def is_stale(self, now: datetime) -> bool:
        """Return whether the data count as stale at ``now``."""
        return self.stale_at is not None and now > self.stale_at


def oldest(parts: Iterable[Freshness]) -> Freshness:
    """Return the freshness of several publications: the oldest's, stale as soon as one is."""
    known = [part for part in parts if part.as_of is not None]
    if not known:
        return Freshness(None)
    first = min(known, key=lambda part: part.as_of)  # type: ignore[arg-type, return-value]
    limits = [part.stale_at for part in known if part.stale_at is not None]
    return Freshness(first.as_of, first.run_id, first.job, min(limits, default=None))


def badge(texts: Texts, state: str, word: str | None = None) -> Html:
    """Return a state as colour, icon and word (the state's own word unless another is given)."""
    known = STATES[state]
    label = texts(f"state.{state}") if word is None else word
    return tag("span", icon(known.icon), label, class_=f"ws-badge ws-{state}")


def when(texts: Texts, instant: datetime | None, now: datetime) -> Html:
    """Return a moment as people read it, the exact instant in its attribute."""
    if instant is None:
        return tag("span", texts("time.never"))
    return tag("time", texts.moment(instant, now=now), datetime=iso(instant))


def age(texts: Texts, instant: datetime | None, now: datetime) -> Html:
    """Return how long ago an instant is; the page's script keeps it true while the page is open."""
    if instant is None:
        return tag("span", texts("time.never"))
    return tag(
        "time",
        texts.age(instant, now),
        datetime=iso(instant),
        title=f"{texts.date(instant)} {texts.time(instant, seconds=True)}",
        data_ago=texts("time.ago", duration="{duration}"),
        data_now=texts("time.now"),
        data_days=texts("unit.days"),
    )


def as_of(
    texts: Texts,
    freshness: Freshness,
    now: datetime,
    *,
    scheduler_seen: datetime | None = None,
    link: str | None = None,
) -> Html:
    """Return the line under a title: as of when, from which run, until when, scheduler last seen.

    Parameters
    ----------
    link : str, optional
        Where the run is shown in detail.
    """
    parts: list[Html] = []
    if freshness.as_of is None:
        parts.append(badge(texts, "unknown", texts("as_of.none")))
    else:
        until = freshness.stale_at
        if until is not None or not freshness.read:
            fresh = badge(texts, "good", texts("state.fresh"))
            parts.append(tag("span", fresh, class_="ws-is-fresh"))
            if until is not None:
                stale = badge(texts, "stale")
                parts.append(tag("span", stale, class_="ws-is-stale"))
        parts.append(
            tag(
                "span",
                texts("as_of.live" if freshness.read else "as_of.data"),
                tag("strong", when(texts, freshness.as_of, now)),
                tag("span", "(", age(texts, freshness.as_of, now), ")"),
            )
        )
        if until is not None and not freshness.read:
            moment = texts.moment(until, now=now)
            parts.append(tag("span", texts("as_of.until", moment=moment), class_="ws-is-fresh"))
            parts.append(tag("span", texts("as_of.since", moment=moment), class_="ws-is-stale"))
    if freshness.run_id:
        shown = tag("a", freshness.run_id, href=link) if link else tag("code", freshness.run_id)
        name = f"{texts('as_of.run')} {freshness.job}" if freshness.job else texts("as_of.run")
        parts.append(tag("span", name, shown))
    if scheduler_seen is None:
        parts.append(tag("span", icon("alert"), texts("as_of.scheduler_never")))
    else:
        parts.append(tag("span", texts("as_of.scheduler"), age(texts, scheduler_seen, now)))
    parts.append(tag("span", texts("as_of.zone", zone=texts.zone_name(now))))
    stale_now = freshness.is_stale(now)
    return tag(
        "div",
        parts,
        class_="ws-asof is-stale" if stale_now else "ws-asof",
        data_until=iso(freshness.stale_at) if freshness.stale_at else None,
    )


def page(title: str, about: str | None = None, line: Html | None = None) -> Html:
    """Return the head of a page: title, purpose in one line, and the `as_of` line."""
    purpose = tag("p", about, class_="ws-about") if about else EMPTY
    return tag("header", tag("h1", title), purpose, line, class_="ws-head")


def card(
    title: str,
    value: Child,
    *,
    unit: str | None = None,
    note: Child = None,
    state: Html | None = None,
    spark: Html | None = None,
    stale: bool = False,
    link: str | None = None,
    word: bool = False,
) -> Html:
    """Return a card: title and state, value with unit, comparison or age, sparkline.

    ``word`` sets a value that is text in the smaller size text needs.
    """
    shown = tag("div", value, class_="ws-value is-word" if word else "ws-value")
    if unit:
        # A thin space that does not break keeps the unit on the value's line.
        shown = tag("div", value, tag("small", "\u202f", unit), class_="ws-value")
    heading = tag("h2", tag("a", title, href=link, class_="ws-cover") if link else title)
    return tag(
        "section",
        tag("div", heading, state, class_="ws-card-top"),
        shown,
        tag("div", note, class_="ws-note") if note is not None else None,
        spark,
        class_="ws-card is-stale" if stale else "ws-card",
    )


def cards(*children: Html | None) -> Html:
    """Return cards side by side, as many as the width takes."""
    return tag("div", children, class_="ws-cards")


def panel(
    title: str,
    *children: Child,
    about: Child = None,
    span: int = 12,
    state: Html | None = None,
    how: Html | None = None,
    stale: bool = False,
    name: str | None = None,
) -> Html:
    """Return a panel: heading, content, and below it how the content was computed.

    Parameters
    ----------
    span : int
        How many of the page's twelve columns it takes; a phone shows one panel per row.
    name : str, optional
        Its anchor in the page.
    """
    explained = tag("p", about) if about is not None else None
    classes = ["ws-panel", *([f"ws-span-{span}"] if span != 12 else [])]
    return tag(
        "section",
        tag("div", tag("div", tag("h2", title), explained), state, class_="ws-panel-head"),
        tag("div", children, class_="ws-body"),
        how,
        class_=" ".join([*classes, *(["is-stale"] if stale else [])]),
        id=name,
    )


def how_computed(texts: Texts, rows: Mapping[str, Child]) -> Html:
    """Return the folded answer to "how was this computed": formula, inputs, counts, run."""
    pairs = [(tag("dt", name), tag("dd", value)) for name, value in rows.items()]
    summary = tag("summary", icon("chevron"), texts("panel.how"))
    return tag("details", summary, tag("dl", pairs), class_="ws-how")


def notice(state: str, *sentences: Child) -> Html:
    """Return sentences that somebody should read, in the colour of ``state`` and with its icon."""
    lines = [tag("p", sentence) for sentence in sentences if sentence]
    role = "alert" if state == "bad" else None
    return tag(
        "div",
        icon(STATES[state].icon),
        tag("div", lines),
        class_=f"ws-notice ws-{state}",
        role=role,
    )


def notices(items: Sequence[Html]) -> Html:
    """Return several notices, one under the other; nothing where there is none."""
    return tag("div", items, class_="ws-notices") if items else EMPTY


def empty(texts: Texts, sentence: str | None = None) -> Html:
    """Return what stands in a panel without content: an empty tray and why."""
    return tag("div", icon("empty"), tag("p", sentence or texts("panel.empty")), class_="ws-empty")


def loading(texts: Texts, sentence: str | None = None) -> Html:
    """Return what stands in a panel until its content is there."""
    return tag("div", sentence or texts("panel.loading"), class_="ws-loading", aria_busy="true")


def failed(texts: Texts, error: BaseException) -> Html:
    """Return an error as a sentence; its traceback goes to the log only.

    An error that the workspace raised on purpose says itself what happened and what to do; of any
    other only a reference is shown, because its text may name paths or hosts.
    """
    if isinstance(error, WorkspaceError):
        log.warning("A panel could not be shown: %s", error, exc_info=error)
        reason = secrets.redact(error.what)
        return notice("bad", texts("panel.failed", reason=reason), secrets.redact(error.fix or ""))
    reference = uuid.uuid4().hex[:8]
    log.error("A panel could not be shown (reference %s).", reference, exc_info=error)
    return notice(
        "bad",
        texts("panel.failed", reason=texts("panel.failed_unknown")),
        texts("panel.failed_help", reference=reference),
    )


def guarded(texts: Texts, make: Callable[[], Html]) -> Html:
    """Return what ``make`` returns, or the sentence of the error it raised."""
    try:
        return make()
    except Exception as error:  # noqa: BLE001 - a broken panel must not take the page with it
        return failed(texts, error)


def tabs(pages: Mapping[str, Html], name: str, *, first: int = 0) -> Html:
    """Return up to eight contents of which one is shown; choosing needs no kernel and no script.

    Parameters
    ----------
    pages : mapping
        Content by the word on its tab.
    name : str
        Name that no other tabs of the page have.
    first : int
        Number of the one that is shown at first, and printed.
    """
    items = list(pages.items())[:8]
    choices = [
        tag("input", type="radio", name=name, id=f"{name}-{index}", checked=index == first)
        for index in range(len(items))
    ]
    labels = [tag("label", word, for_=f"{name}-{index}") for index, (word, _) in enumerate(items)]
    contents = [tag("div", content, class_="ws-tab") for _, content in items]
    return tag(
        "div",
        choices,
        tag("div", labels, class_="ws-tablist"),
        tag("div", contents, class_="ws-pages"),
        class_="ws-tabs",
    )


def legend(entries: Iterable[tuple[str, str]]) -> Html:
    """Return names beside swatches; an entry is the class that gives the colour, and its name."""
    marks = [tag("span", tag("i", class_=f"ws-swatch {style}"), name) for style, name in entries]
    return tag("div", marks, class_="ws-legend")


def stack(*children: Child) -> Html:
    """Return blocks one after the other."""
    return join(children)
