"""Texts of an ERP: encodings put right, and LIKE as MySQL understands it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workspace_lib.machining.erp_text import Like, fold, is_damaged, repair

# "â€" stands in no French text, and begins most of what was mixed up.
FRENCH = st.text("abcXYZ éèêëàâùûôîïçœæÉÈÀÇŒ'’–«»°€0123", max_size=30).filter(
    lambda text: "â€" not in text
)


@pytest.mark.parametrize(
    ("mixed_up", "right"),
    [
        ("PlanifiÃ©e", "Planifiée"),
        ("PlanifiÃƒÂ©e", "Planifiée"),
        ("Ã‰conomique", "Économique"),
        ("lâ€™atelier â€“ 12 â‚¬", "l’atelier – 12 €"),
        ("FenÃªtre Ã\xa0 poser, 20 Â°C", "Fenêtre à poser, 20 °C"),
        ("déjà PlanifiÃ©e", "déjà Planifiée"),
        ("Ã\x81rbol", "Árbol"),
    ],
)
def test_what_was_mixed_up_is_put_right(mixed_up: str, right: str) -> None:
    assert repair(mixed_up) == right


@pytest.mark.parametrize(
    "text",
    ["Planifiée", "Rénovation", "« à\xa0» É»", "À°C", "SÃO PAULO", "Müller & Söhne", "ОКНА", "窓"],
)
def test_what_is_right_stays(text: str) -> None:
    assert repair(text) == text


@given(FRENCH)
def test_any_french_text_that_was_mixed_up_comes_back(text: str) -> None:
    assert repair(text) == text
    try:
        mixed_up = text.encode().decode("cp1252")
    except UnicodeDecodeError:
        return  # A byte that cp1252 leaves open: Windows would not have written it either.
    assert repair(mixed_up) == text


@pytest.mark.parametrize(
    ("text", "damaged"),
    [("Planifi\ufffde", True), ("dÃ©jÃ  vu", True), ("Planifiée", False), ("Planifie", False)],
)
def test_lost_characters_are_seen(text: str, damaged: bool) -> None:
    assert is_damaged(repair(text)) is damaged


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        ("%cde Planifiee%", "CDE PLANIFIÉE - VR", True),
        ("%cde Planifiee%", "cde planifier", False),
        ("S P %", "S P 6104+T", True),
        ("S P %", "S P", False),
        ("S P %", "S P ", True),
        ("S P %", "S PVC", False),
        ("SOP%", "sop_test", True),
        ("SOP_", "SOP", False),
        ("100 \\%", "100 %", True),
        ("100 \\%", "100 x", False),
        ("a\\_b", "a_b", True),
        ("a.b", "axb", False),
        ("%fin", "erste\nzeile fin", True),
        ("a\\", "a\\", True),
    ],
)
def test_like_is_that_of_mysql(pattern: str, text: str, fits: bool) -> None:
    assert Like(pattern).matches(text) is fits


def test_nothing_is_like_anything() -> None:
    assert not Like("%").matches(None)


def test_case_and_accents_count_where_the_rules_say_so() -> None:
    assert not Like("%planifiee%", case=False).matches("Planifiee")
    assert Like("%planifiee%", case=False).matches("planifiée")
    assert not Like("%planifiee%", accents=False).matches("Planifiée")
    assert Like("%planifiée%", accents=False).matches("PLANIFIÉE")


def test_keys_are_equal_as_mysql_says() -> None:
    assert fold("2507748-É ") == fold("2507748-e")
    assert fold(" 1") != fold("1")


@pytest.mark.server
def test_mariadb_judges_the_same(mariadb: object) -> None:
    texts = ["cde Planifiée - VR", "CDE PLANIFIEE", "S P", "S P ", "S P 6104", "sop", "Œuvre", "ß"]
    patterns = ["%cde Planifiee%", "S P %", "SOP%", "s_p%", "%p"]
    with mariadb.root.cursor() as cursor:  # type: ignore[attr-defined]
        theirs = {}
        for text in texts:
            for pattern in patterns:
                query = "SELECT CONVERT(%s USING utf8mb4) COLLATE utf8mb4_unicode_ci LIKE %s"
                cursor.execute(query, (text, pattern))
                theirs[text, pattern] = bool(cursor.fetchone()[0])
    ours = {(text, pattern): Like(pattern).matches(text) for text in texts for pattern in patterns}
    assert ours == theirs
