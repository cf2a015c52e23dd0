"""Publications: the pointer moves for successes only, readers see age, run and staleness."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from workspace_lib.errors import PublishError
from workspace_lib.settings import Settings
from workspace_lib.store import publications
from workspace_lib.store.engines import Store, read, write
from workspace_lib.store.migrate import open_store
from workspace_lib.store.publications import (
    Artefact,
    declare,
    events_after,
    forget_run,
    keep_draft,
    list_published,
    load_published,
    publish_run,
    published_runs,
    record,
    withdraw,
    write_artefact,
)

NOW = datetime(2026, 3, 1, 8, tzinfo=UTC)

Make = Callable[..., Artefact]


@pytest.fixture
def make(any_store: Store) -> Make:
    """Write an artefact and record it."""

    def build(run: str, value: object, name: str = "rain.sums", **options: object) -> Artefact:
        fresh_for_s = options.pop("fresh_for_s", None)
        artefact = write_artefact(
            any_store.outputs,
            name,
            value,
            run_id=run,
            attempt=1,
            folder=any_store.outputs / "runs" / run / "1" / "artefacts",
            **{"as_of": NOW} | options,
        )
        with write(any_store.control) as connection:
            record(connection, artefact, NOW, fresh_for_s=fresh_for_s)
        return artefact

    return build


def publish(store: Store, run: str, now: datetime = NOW, **options: object) -> list[str]:
    with write(store.control) as connection:
        return publish_run(connection, run, 1, now, **options)


def test_a_reader_finds_what_the_successful_run_made(any_store: Store, make: Make) -> None:
    frame = pd.DataFrame({"rain_mm": [0.2, 0.4]})
    made = make("r1", frame, unit={"rain_mm": "mm"})
    assert publish(any_store, "r1") == ["rain.sums"]
    found = load_published(any_store, "rain.sums", now=NOW)
    pd.testing.assert_frame_equal(found.data, frame)
    assert found.path == any_store.outputs / made.path
    assert (found.run_id, found.attempt, found.as_of) == ("r1", 1, NOW)
    assert (found.unit, found.published, found.is_draft) == ({"rain_mm": "mm"}, NOW, False)
    assert found.manifest["sha256"] == made.sha256


def test_what_a_run_recorded_stays_unseen_until_it_succeeds(any_store: Store, make: Make) -> None:
    make("r1", 1)
    publish(any_store, "r1")
    make("r2", 2)
    assert load_published(any_store, "rain.sums", now=NOW).data == 1
    publish(any_store, "r2")
    assert load_published(any_store, "rain.sums", now=NOW).data == 2


def test_a_transaction_taken_back_moves_no_pointer(any_store: Store, make: Make) -> None:
    make("r1", 1)
    publish(any_store, "r1")
    make("r2", 2)
    with (  # noqa: PT012
        pytest.raises(RuntimeError),
        write(any_store.control) as connection,
    ):
        publish_run(connection, "r2", 1, NOW)
        raise RuntimeError("the run's end could not be written")
    assert load_published(any_store, "rain.sums", now=NOW).run_id == "r1"


def test_age_beyond_the_declared_freshness_is_stale(any_store: Store, make: Make) -> None:
    make("r1", 1)
    publish(any_store, "r1", fresh_for_s=1800)
    within, beyond = NOW + timedelta(minutes=30), NOW + timedelta(minutes=30, microseconds=1)
    assert not load_published(any_store, "rain.sums", now=within).stale
    assert load_published(any_store, "rain.sums", now=beyond).stale
    assert load_published(any_store, "rain.sums", now=beyond).fresh_for_s == 1800


def test_freshness_can_be_recorded_and_without_one_nothing_is_stale(
    any_store: Store, make: Make
) -> None:
    make("r1", 1, fresh_for_s=60)
    make("r1", 1, name="rain.other")
    publish(any_store, "r1")
    later = NOW + timedelta(days=400)
    assert load_published(any_store, "rain.sums", now=later).stale
    assert not load_published(any_store, "rain.other", now=later).stale


def test_a_name_never_published_says_which_job_publishes_it(any_store: Store, make: Make) -> None:
    with write(any_store.control) as connection:
        declare(connection, "rain_sums", ["rain.sums", "rain.gauge"])
    with pytest.raises(PublishError, match=r"never published.*workspace run rain_sums"):
        load_published(any_store, "rain.sums")
    with pytest.raises(PublishError, match="workspace run rain_sums"):
        load_published(any_store, "rain.gauge/g7")
    with pytest.raises(PublishError, match="No job of this site"):
        load_published(any_store, "rain.unknown")
    make("r1", 1)
    with pytest.raises(PublishError, match=r"The run r1 made it .* but has not succeeded"):
        load_published(any_store, "rain.sums")


def test_a_job_that_changed_declares_anew(any_store: Store) -> None:
    with write(any_store.control) as connection:
        declare(connection, "rain_sums", ["rain.sums", "rain.old"])
        declare(connection, "rain_sums", ["rain.sums", "rain.new"])
    with pytest.raises(PublishError, match="No job of this site"):
        load_published(any_store, "rain.old")
    with pytest.raises(PublishError, match="rain_sums publishes it"):
        load_published(any_store, "rain.new")


def test_publishing_writes_one_event_and_doing_it_twice_none(any_store: Store, make: Make) -> None:
    make("r1", 1)
    make("r1", 1, name="rain.other")
    assert publish(any_store, "r1") == ["rain.other", "rain.sums"]
    assert publish(any_store, "r1") == []
    with read(any_store.control) as connection:
        events = events_after(connection)
        assert [(e.name, e.event, e.run_id, e.at) for e in events] == [
            ("rain.other", "published", "r1", NOW),
            ("rain.sums", "published", "r1", NOW),
        ]
        assert events_after(connection, events[0].id) == events[1:]


def test_a_run_may_publish_a_name_again_before_it_ends_but_not_after(
    any_store: Store, make: Make
) -> None:
    make("r1", 1)
    make("r1", 2)
    publish(any_store, "r1")
    assert load_published(any_store, "rain.sums", now=NOW).data == 2
    with pytest.raises(PublishError, match=r"has published rain\.sums already"):
        make("r1", 3)


def test_a_backfill_leaves_newer_content_alone(any_store: Store, make: Make) -> None:
    make("r2", 2)
    publish(any_store, "r2")
    make("r1", 1, as_of=NOW - timedelta(days=7))
    assert publish(any_store, "r1", keep_newer=True) == []
    assert load_published(any_store, "rain.sums", now=NOW).run_id == "r2"
    assert publish(any_store, "r1") == ["rain.sums"]


def test_content_from_a_wrong_future_does_not_block_a_backfill(
    any_store: Store, make: Make
) -> None:
    make("r2", 2, as_of=NOW + timedelta(days=9))
    publish(any_store, "r2")
    make("r1", 1)
    assert publish(any_store, "r1", keep_newer=True) == ["rain.sums"]


def test_a_withdrawn_publication_is_gone_for_readers(any_store: Store, make: Make) -> None:
    make("r1", 1)
    publish(any_store, "r1")
    with write(any_store.control) as connection:
        assert withdraw(connection, "rain.sums", NOW)
        assert not withdraw(connection, "rain.sums", NOW)
        assert [e.event for e in events_after(connection)] == ["published", "withdrawn"]
    with pytest.raises(PublishError):
        load_published(any_store, "rain.sums")


def test_all_publications_are_listed_by_name(any_store: Store, make: Make) -> None:
    for name in ("rain.sums/b", "rain.sums/a", "rain.sumsx", "sensors.last"):
        make("r1", 1, name=name)
    publish(any_store, "r1")
    assert [p.name for p in list_published(any_store)] == [
        "rain.sums/a",
        "rain.sums/b",
        "rain.sumsx",
        "sensors.last",
    ]
    assert [p.name for p in list_published(any_store, prefix="rain.sums/")] == [
        "rain.sums/a",
        "rain.sums/b",
    ]


def test_the_folders_that_readers_see_are_kept(any_store: Store, make: Make) -> None:
    make("r1", 1)
    publish(any_store, "r1")
    make("r2", 2)
    with write(any_store.control) as connection:
        assert published_runs(connection) == {("r1", 1)}
        assert forget_run(connection, "r1") == 0
        assert forget_run(connection, "r2") == 1
    assert load_published(any_store, "rain.sums", now=NOW).data == 1


def test_a_draft_is_found_by_its_own_session_only(
    any_store: Store, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    make("r1", 1)
    publish(any_store, "r1")
    monkeypatch.setattr(publications, "_drafts", {})
    keep_draft(any_store, make("draft", 2))
    draft = load_published(any_store, "rain.sums", now=NOW)
    assert (draft.data, draft.is_draft, draft.published) == (2, True, None)
    monkeypatch.setattr(publications, "_drafts", {})  # as another process finds it
    assert load_published(any_store, "rain.sums", now=NOW).data == 1


def test_a_read_only_store_serves_publications(store: Store, settings: Settings) -> None:
    artefact = write_artefact(
        store.outputs, "rain.n", 7, run_id="r", attempt=1, folder=store.outputs / "runs"
    )
    with write(store.control) as connection:
        record(connection, artefact, NOW)
        publish_run(connection, "r", 1, NOW)
    with open_store(settings, read_only=True) as reader:
        assert load_published(reader, "rain.n").data == 7


def test_the_svg_beside_the_png_is_found(store: Store) -> None:
    from matplotlib.figure import Figure

    artefact = write_artefact(
        store.outputs, "rain.plot", Figure(), run_id="r", attempt=1, folder=store.outputs / "runs"
    )
    with write(store.control) as connection:
        record(connection, artefact, NOW)
        publish_run(connection, "r", 1, NOW)
    found = load_published(store, "rain.plot")
    assert found.file("png") == found.path
    assert found.file("svg").read_bytes().startswith(b"<?xml")
    with pytest.raises(PublishError, match="It has: png, svg"):
        found.file("pdf")
