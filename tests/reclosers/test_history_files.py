"""Kept lists of events: read as far as they can be believed, and told by ``inspect``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workspace_lib.errors import FormatError
from workspace_lib.formats import find_reader, inspect
from workspace_lib.reclosers.cascii import checksum
from workspace_lib.reclosers.history_files import parse_history
from workspace_lib.reclosers.relay_commands import Command
from workspace_lib.reclosers.simulator import RelaySpec, make_events


def line(text: str) -> bytes:
    return f'{text},"{checksum(f"{text},".encode()):04X}"\r\n'.encode()


HEAD = '"REC_NUM","MONTH","DAY","YEAR","HOUR","MIN","SEC","MSEC","EVENT","LOCATION","CURR","FREQ","GROUP","SHOT","TARGETS"'  # noqa: E501
CHI = (
    b"\x02"
    + line('"FID"')
    + line('"FID=SEL-351R-R115-V0"')
    + line(HEAD)
    + line('1,7,12,2019,9,28,31,721,"BG T",2.36,1860,59.97,1,0,"INST 50"')
    + line('2,12,31,1999,23,59,59,7,"ER",$$$$$$$,,60.00,1,,""')
    + b"\x03\r\n\x02=>\x03"
)
HIS = """=>HIS
FEEDER 1                         Date: 07/12/19    Time: 09:40:00.000
STATION A

#     DATE      TIME     EVENT   LOCAT  CURR  FREQ GRP SHOT TARGETS

1  07/12/19 09:28:31.721 BG T     2.36  1860 59.97  1    0  INST 50
2  12/31/99 23:59:59.007 ER                  60.00  1
"""
REFERENCED = """
FEEDER 1                         Date: 07/12/19    Time: 09:40:00.000
STATION A

#    REF   DATE      TIME          EVENT   CURR   TARGETS

1  10824  07/12/19  09:28:31.721  TRIP     1860   INST 50
"""


@pytest.mark.parametrize("content", [CHI, HIS.encode()], ids=["CHI", "HIS"])
def test_both_are_known_and_told_by_their_content(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "capture.txt"
    path.write_bytes(content)
    assert find_reader(path).format == "sel-history"
    told = inspect(path)
    assert (told["kind"], told["rows"], told["issues"]) == ("history", 2, [])
    assert told["last_time"] == "2019-07-12T09:28:31.721"
    assert told["events"][0]["event"] == "BG T"
    assert told["events"][1]["location"] is None


def test_a_list_says_whose_it_is() -> None:
    assert parse_history(CHI).meta["identity"] == "SEL-351R-R115-V0"
    assert parse_history(HIS.encode()).data.head.terminal == "STATION A"


def test_a_changed_line_is_an_issue_and_the_others_are_read() -> None:
    record = parse_history(CHI.replace(b"1860", b"1960"))
    assert [issue.code for issue in record.issues] == ["checksum"]
    assert [entry.event for entry in record.data.entries] == ["ER"]
    assert (record.data.checksums.good, record.data.checksums.bad) == (4, 1)


def test_dates_are_read_in_the_order_in_which_they_exist() -> None:
    turned = HIS.replace("07/12/19", "13/12/19", 2).replace("12/31/99", "31/12/99")
    record = parse_history(turned.encode())
    assert [issue.code for issue in record.issues] == ["date_order"]
    assert str(record.data.entries[1].time) == "1999-12-31T23:59:59.007"
    refused = parse_history(turned.encode(), order="MDY")
    assert [issue.code for issue in refused.issues] == ["bad_row", "bad_row"]


def test_references_are_kept() -> None:
    (entry,) = parse_history(REFERENCED.encode()).data.entries
    assert (entry.number, entry.reference, entry.event) == (1, "10824", "TRIP")
    assert (entry.current, entry.targets) == (1860.0, "INST 50")


def test_times_that_cannot_all_be_right_are_told() -> None:
    row = '{},7,12,2019,9,28,{},721,"BG T",2.36,1860,59.97,1,0,""'
    times = [31, 31, 40]
    rows = b"".join(line(row.format(n, second)) for n, second in enumerate(times, 1))
    codes = [issue.code for issue in parse_history(line(HEAD) + rows).issues]
    assert codes == ["repeated_time", "clock_back"]


def test_an_empty_list_is_a_list() -> None:
    record = parse_history(b"\x02#  DATE  TIME  EVENT\r\n\r\nHistory Buffer Empty\r\n\x03")
    assert (record.data.entries, record.issues) == ((), ())


@pytest.mark.parametrize("content", [b"", b"=>", b"Invalid Command", b'"No Data Available","0668"'])
def test_another_answer_is_refused(content: bytes) -> None:
    with pytest.raises(FormatError, match="no list of events"):
        parse_history(content)


@pytest.mark.parametrize("content", [CHI, HIS.encode(), REFERENCED.encode()])
@given(st.data())
def test_nothing_that_a_list_may_have_become_is_too_odd(
    content: bytes, data: st.DataObject
) -> None:
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(0, 6))):
        place = data.draw(st.integers(0, len(changed) - 1))
        changed[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    try:
        record = parse_history(bytes(changed))
    except FormatError:
        return
    assert len(record.data.entries) <= 2 + content.count(b"\n")


def test_a_number_that_is_none_is_not_counted() -> None:
    odd = line('x,7,12,2019,9,28,31,721,"BG T",2.36,1860,59.97,1,0,""')
    (entry,) = parse_history(line(HEAD) + odd).data.entries
    assert (entry.number, entry.event) == (0, "BG T")


def test_a_published_list_is_read(real_data: Path) -> None:
    path = real_data / "recloser" / "protocol_samples" / "sel387_his_example.txt"
    found = find_reader(path)
    assert found.kind == "history"
    history = found.read(path).data
    assert [entry.event for entry in history.entries][:3] == ["TRIP1", "TRIG", "TRIP3"]
    assert history.entries[2].targets == "50 A B W3"


@pytest.mark.parametrize("verb", ["CHI", "HIS"])
@pytest.mark.parametrize("model", ["351R", "651R"])
def test_what_a_relay_answers_can_be_kept_and_read(
    reach: Any, tmp_path: Path, model: Any, verb: str
) -> None:
    events = make_events(model, 6, seed=4)
    relay = reach(RelaySpec(model, events=list(events)))
    with relay.session() as session:
        content = session.ask(Command(verb)).content
    path = tmp_path / "history.txt"
    path.write_bytes(content)
    told = inspect(path)
    assert (told["kind"], told["command"], told["issues"]) == ("history", verb, [])
    assert [(one["time"], one["event"]) for one in told["events"]] == [one.key for one in events]
    assert [one["location"] for one in told["events"]] == [one.location for one in events]
