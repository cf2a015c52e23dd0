"""Which reader takes which file: each its own, none that of another."""

from __future__ import annotations

import contextlib
import random
import tracemalloc
from pathlib import Path

import pytest

from workspace_lib.errors import FormatError
from workspace_lib.formats import find_reader, inspect, readers

TOP = """
FEEDER 12                        Date: 07/12/19    Time: 09:28:31.721
STATION A

"""
REPORT = (
    TOP
    + """FID=SEL-351R-R112-V0-Z004003-D20020610     CID=59A0
     Currents (Amps Pri)
   IA    IB    IC
[1]
  241    26  -268
 -169   293  -124>
 -242   -26   267
  168  -294   124
[2]
 2317    30  -194*
 1483   207   -80
-1965   -41   160
 -849  -146    39
Event: AG T     Location:   2.36   Shot: 0   Frequency: 60.01
Targets: INST 50
Group 1
NFREQ = 60
"""
)
SUMMARY = (
    TOP
    + """Event: CG         Location: $$$$$$$            Trip Time: --:--:--.---
#: 12345  Shot:    Freq:  60.00  Group: 1     Close Time: --:--:--.---
Targets:
Breaker: Closed

PreFault:     IA     IB
MAG(A/kV)    124    132
ANG(DEG)   19.31-100.44
Fault:
MAG(A/kV)    166    190
ANG(DEG)   10.33-105.95
"""
)
CHANGES = (
    TOP
    + """#       DATE       TIME         ELEMENT      STATE

2     07/12/19   09:28:31.813   52A          Deasserted
1     07/12/19   09:28:32.001   79CY         Asserted
"""
)
FILES = {
    "sel-eve": REPORT.encode(),
    "sel-hdr": SUMMARY.encode(),
    "sel-id": b'\x02\r\n"FID=SEL-351R-R115","0492"\r\n"CID=59A0","025C"\r\n\x03\x02\r\n=>\x03',
    "sel-ser": CHANGES.encode(),
    "sel-history": (
        TOP + "#   DATE     TIME         EVENT\n1  07/12/19 09:28:31.721 ER\n"
    ).encode(),
    "sel-cev": b'\x02"FID","0143"\r\n"FID=SEL-351R-R115","0492"\r\n',
}


@pytest.mark.parametrize("kind", FILES)
def test_each_text_of_a_relay_is_taken_by_its_own_reader_only(kind: str) -> None:
    taking = [one.format for one in readers() if one.sniff("capture.txt", FILES[kind][:65_536])]
    assert taking == [kind]


@pytest.mark.parametrize("kind", ["sel-eve", "sel-hdr", "sel-history", "sel-id", "sel-ser"])
def test_inspect_tells_of_each(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "capture.txt"
    path.write_bytes(FILES[kind])
    told = inspect(path)
    assert (told["format"], told["issues"]) == (kind, [])
    assert told["identity"]


def test_a_text_of_none_of_them_is_of_no_known_format(tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    path.write_text("FEEDER 1 Date: 07/12/99 Time: 09:28:31.721\nSTATION A\nInvalid Command\n")
    with pytest.raises(FormatError, match="no known format"):
        find_reader(path)


def test_every_real_file_is_taken_by_the_reader_of_its_format(real_data: Path) -> None:
    wanted = {".cev": "sel-cev", ".cfg": "comtrade", ".dat": "comtrade", ".cff": "comtrade",
              ".hdr": "sel-hdr"}  # fmt: skip
    for path in sorted((real_data / "recloser").rglob("*.*")):
        if (ending := path.suffix.lower()) in wanted:
            assert find_reader(path).format == wanted[ending], path.name


_SPICES = (b"-1", b"99999999999", b"1e300", b"nan", b",", b'"', b"\r\n", b"\x1a", b"\x00", b"\xff")


def spoiled(content: bytes, dice: random.Random) -> bytes:
    """Cut off, or changed at a few places: bytes lost, doubled, or put in."""
    if dice.random() < 0.2:
        return content[: dice.randrange(len(content))]
    found = bytearray(content)
    for _ in range(dice.randrange(1, 5)):
        place = dice.randrange(len(found))
        size = dice.randrange(1, 40)
        found[place : place + dice.choice((0, size))] = dice.choice(
            (b"", bytes(found[place : place + size]), dice.choice(_SPICES))
        )
        found += b"x" * (not found)
    return bytes(found)


@pytest.mark.filterwarnings("error")
def test_spoiled_real_files_are_read_or_refused_within_little_memory(
    real_data: Path, tmp_path: Path
) -> None:
    dice = random.Random(7)
    endings = (".cev", ".cfg", ".cff", ".hdr", ".txt")
    paths = [one for one in sorted((real_data / "recloser").rglob("*.*")) if one.is_file()]
    small = [one for one in paths if one.stat().st_size < 150_000]
    tracemalloc.start()
    try:
        for path in (one for one in small if one.suffix.lower() in endings):
            beside = [one for one in small if one.stem == path.stem and one != path]
            for _ in range(4):
                for one in beside:
                    (tmp_path / one.name).write_bytes(one.read_bytes())
                (tmp_path / path.name).write_bytes(spoiled(path.read_bytes(), dice))
                with contextlib.suppress(FormatError):
                    inspect(tmp_path / path.name)
        assert tracemalloc.get_traced_memory()[1] < 300_000_000
    finally:
        tracemalloc.stop()
