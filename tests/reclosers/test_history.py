"""Lists of events: by checksummed fields or by columns, the same entries."""

from __future__ import annotations

from pathlib import Path

import pytest

from workspace_lib.errors import FrameError
from workspace_lib.reclosers.cascii import checksum
from workspace_lib.reclosers.history import HistoryEntry, parse_chi, parse_his


def line(text: str) -> bytes:
    return f'{text},"{checksum(f"{text},".encode()):04X}"\r\n'.encode()


HEAD = '"REC_NUM","MONTH","DAY","YEAR","HOUR","MIN","SEC","MSEC","EVENT","LOCATION","CURR","FREQ","GROUP","SHOT","TARGETS"'  # noqa: E501
CHI = (
    b"\x02"
    + line(HEAD)
    + line('1,7,12,2019,9,28,31,721,"BG T",2.36,1860,59.97,1,0,"INST 50"')
    + line('2,12,31,99,23,59,59,7,"ER",$$$$$$$,,60.00,1,,""')
    + b"\x03"
)
HIS = """
FEEDER 1                         Date: 07/12/19    Time: 09:40:00.000
STATION A

#     DATE      TIME     EVENT   LOCAT  CURR  FREQ GRP SHOT TARGETS

1  07/12/19 09:28:31.721 BG T     2.36  1860 59.97  1    0  INST 50
2  12/31/99 23:59:59.007 ER                  60.00  1
"""


@pytest.mark.parametrize("entries", [parse_chi(CHI), parse_his(HIS)], ids=["CHI", "HIS"])
def test_both_lists_give_the_same_events(entries: list[HistoryEntry]) -> None:
    newest, older = entries
    assert (newest.number, newest.key) == (1, ("2019-07-12T09:28:31.721", "BG T"))
    assert (newest.location, newest.current, newest.frequency) == (2.36, 1860, 59.97)
    assert newest.targets == "INST 50"
    assert older.key == ("1999-12-31T23:59:59.007", "ER")
    assert (older.location, older.current, older.frequency) == (None, None, 60.0)


@pytest.mark.parametrize("date", ["7,12,99999999999999999999,9,28,31,7", "7,12,2019,9,28,31,1000"])
def test_a_date_that_cannot_be_is_no_time(date: str) -> None:
    row = line(f'1,{date},"BG T",2.36,1860,59.97,1,0,""')
    with pytest.raises(FrameError, match="no time"):
        parse_chi(line(HEAD) + row)


def test_a_damaged_list_is_no_list() -> None:
    with pytest.raises(FrameError, match="line 2"):
        parse_chi(CHI.replace(b"1860", b"1960"))


def test_an_empty_buffer_has_no_events() -> None:
    assert parse_chi(line('"No Data Available"')) == []
    assert parse_his("#  DATE  TIME  EVENT\r\n\r\nHistory Buffer Empty\r\n") == []
    assert parse_his("History Buffer Empty") == []


@pytest.mark.parametrize("text", ["", "Invalid Command", "=>"])
def test_another_answer_is_told(text: str) -> None:
    with pytest.raises(FrameError):
        parse_his(text)
    with pytest.raises(FrameError):
        parse_chi(text.encode())


@pytest.mark.parametrize("noise", ["DAT#", "T ME", "EVEN"])
def test_a_heading_that_noise_changed_is_no_heading(noise: str) -> None:
    word = {"DAT#": "DATE ", "T ME": "TIME ", "EVEN": "EVENT"}[noise]
    with pytest.raises(FrameError, match="no history"):
        parse_his(HIS.replace(word, noise.ljust(5)))


def test_the_order_of_dates_is_the_relays_setting() -> None:
    text = HIS.replace("07/12/19", "19/07/12").replace("12/31/99", "99/12/31")
    assert parse_his(text, "YMD")[0].key == ("2019-07-12T09:28:31.721", "BG T")
    with pytest.raises(FrameError, match="DATE_F"):
        parse_his(HIS, "DMY")


def test_a_table_whose_blanks_were_lost_is_read_in_order(real_data: Path) -> None:
    path = real_data / "recloser" / "protocol_samples" / "sel387_his_example.txt"
    entries = parse_his(path.read_text(), "DMY")
    assert len(entries) == 7
    assert entries[2].event == "TRIP3"
    assert (entries[2].group, entries[2].targets) == ("1", "50 A B W3")
    assert str(entries[0].time) == "1996-06-01T00:18:10.333"
