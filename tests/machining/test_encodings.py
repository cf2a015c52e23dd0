"""The encoding of a machine's texts is found out, and never wrongly."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from workspace_lib.machining.encodings import Encoding, find_encoding, join_encodings


def test_each_encoding_is_known_by_its_bytes() -> None:
    assert find_encoding(b"") == "ascii"
    assert find_encoding(b"Arret") == "ascii"
    assert find_encoding("Arrêt €".encode()) == "utf-8"
    assert find_encoding("Arrêt €".encode("cp1252")) == "cp1252"
    assert find_encoding(b"\x81") == "latin-1"


def test_every_byte_has_an_encoding_that_takes_it() -> None:
    for byte in range(256):
        content = b"a\xe9" + bytes([byte])
        encoding = find_encoding(content)
        content.decode(encoding)
        try:
            content.decode("cp1252")
        except UnicodeDecodeError:
            assert encoding == "latin-1"
        else:
            assert encoding == "cp1252"


@given(st.binary())
def test_what_was_found_takes_all_bytes(content: bytes) -> None:
    content.decode(find_encoding(content))


def test_parts_agree_unless_they_are_of_two_encodings() -> None:
    def joined(*found: Encoding) -> tuple[Encoding, bool]:
        return join_encodings(found)

    assert joined() == ("ascii", False)
    assert joined("ascii", "utf-8", "utf-8") == ("utf-8", False)
    assert joined("utf-8", "cp1252") == ("cp1252", True)
    assert joined("latin-1", "cp1252", "ascii") == ("latin-1", True)
