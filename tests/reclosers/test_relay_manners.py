"""What the head of an answer says of a relay's clock."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from workspace_lib.reclosers.relay_manners import clock_in
from workspace_lib.reclosers.report import DateOrder

HOST = datetime(2026, 3, 1, 12, tzinfo=UTC)
HEAD = b"\r\nFEEDER 12       Date: %s    Time: 07:50:01%s\r\nSTATION A\r\n"


@pytest.mark.parametrize(
    ("order", "date"), [("MDY", b"03/04/26"), ("YMD", b"2026/03/04"), ("DMY", b"04-03-2026")]
)
def test_the_clock_is_read_in_the_order_of_the_relay(order: DateOrder, date: bytes) -> None:
    found = clock_in(HEAD % (date, b".250"), order, HOST, 0.1)
    assert found is not None
    assert (str(found.relay), found.host, found.within_s) == ("2026-03-04T07:50:01.250", HOST, 0.1)


def test_without_a_head_or_with_a_date_that_is_none_nothing_is_said() -> None:
    assert clock_in(b"=>", "MDY", HOST, 0.1) is None
    assert clock_in(HEAD % (b"13/44/26", b""), "MDY", HOST, 0.1) is None
