"""Old .ini files and lists: what is taken over, what is told, and that no password ever is."""

from __future__ import annotations

import pytest

from workspace_lib.reclosers.legacy_ini import decode, import_legacy, parse_ini, parse_list
from workspace_lib.reclosers.legacy_keys import meaning_of
from workspace_lib.reclosers.settings import Fleet, Gateway, Recloser

FRENCH = """\
; RecupDj
[Général]
Territoire = MAT
Vitesse = 19200
Parité = aucune
Mot de passe niveau 1 = OTTER
mot_de_passe_2AC = TAIL-2
Niveau = 2
Délai (s) = 300
Commandes = HIS;EVE;EVE C;CLO
info_recup_path = Z:\\Scripts
truc = machin
[LCL 101]
Adresse IP tunnel = 10.1.2.3
port = 5001
description = Boulevard été ; au nord
passerelle = p1
mdp=abcdef
[LCL-102]
ip: 10.1.2.4:5002
fin
[Fenetre]
largeur=3
"""
ENGLISH = """\
[general]
baud = 9600
timeout = 5 min
commands = EVE, MET
[R-7]
ced = LAV
name = Mill
port_com = 3
level = 1
[R-8]
ced = LAV
host = tunnel-4
tcp_port = 4001
latitude = 45,6
longitude = -73.75
remote = no
"""


def test_a_french_file_becomes_entries_of_the_list() -> None:
    found = import_legacy([("old.ini", FRENCH.encode("cp1252"))])
    assert found.entries == [
        {
            "id": "LCL-101",
            "ced": "MAT",
            "name": "Boulevard été",
            "url": "socket://10.1.2.3:5001",
            "password": "secret://RELAY_LCL_101",
            "baud": 19200,
            "parity": "N",
        },
        {
            "id": "LCL-102",
            "ced": "MAT",
            "url": "socket://10.1.2.4:5002",
            "baud": 19200,
            "parity": "N",
        },
    ]
    for entry in found.entries:
        Recloser.model_validate(entry)


def test_what_is_no_matter_of_one_recloser_becomes_settings_of_the_wing() -> None:
    found = import_legacy([("old.ini", FRENCH.encode())])
    assert found.settings == {
        "password": "secret://RELAY_LEVEL_1",
        "device_s": 300.0,
        "commands": ["HIS", "EVE", "EVE C"],
    }
    assert found.secrets == {"RELAY_LEVEL_1": "", "RELAY_LCL_101": "LCL-101"}


def test_no_value_of_the_file_stands_in_what_is_told() -> None:
    found = import_legacy([("old.ini", FRENCH.encode())])
    told = "\n".join(map(str, found.notes)) + str(found.entries) + str(found.settings)
    for value in ("OTTER", "TAIL-2", "abcdef", "machin", "Scripts", "fin"):
        assert value not in told


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (6, "Mot de passe niveau 1 is a password and was not taken over"),
        (7, "mot_de_passe_2AC is not needed: only level 1 is ever entered"),
        (8, "Niveau: only level 1 is ever entered"),
        (10, "Commandes: a command is not among those that read"),
        (11, "info_recup_path is not needed: in its place there is the archive"),
        (12, "[Général] truc is not understood"),
        (13, "the recloser is called LCL-101 here"),
        (17, "passerelle: add the gateway to the site's list first"),
        (18, "set it as the secret RELAY_LCL_101"),
        (21, "the line is no section, key or comment"),
        (22, "the section [Fenetre] is not understood (largeur)"),
    ],
)
def test_what_is_not_taken_over_is_told_with_its_line(line: int, said: str) -> None:
    notes = import_legacy([("old.ini", FRENCH.encode())]).notes
    [what] = [note.what for note in notes if note.where == f"old.ini:{line}"]
    assert said in what


def test_an_address_beside_a_serial_port_is_told() -> None:
    found = import_legacy([("old.ini", b"[R-7]\nced=LAV\nip=10.1.2.3\nport=COM7\n")])
    assert found.entries == [{"id": "R-7", "ced": "LAV", "url": "COM7"}]
    [note] = found.notes
    assert str(note) == ("old.ini:1: R-7 has a serial port and an address; the port was taken over")


def test_an_english_file_with_serial_ports_and_places() -> None:
    found = import_legacy([("old.ini", ENGLISH.encode())])
    assert found.entries == [
        {"id": "R-7", "ced": "LAV", "name": "Mill", "url": "COM3", "baud": 9600},
        {
            "id": "R-8",
            "ced": "LAV",
            "remote": False,
            "url": "socket://tunnel-4:4001",
            "baud": 9600,
            "lat": 45.6,
            "lon": -73.75,
        },
    ]
    assert found.settings == {"device_s": 300.0, "commands": ["EVE", "MET"]}
    assert found.notes == []


def test_a_list_with_names_of_columns() -> None:
    text = "LCLCL;Adresse IP;Port;Nom;Couleur\r\nL-1;10.1.3.1;5001;Gare;bleu\r\nL-2;;;Pont;\r\n"
    found = import_legacy([], [("list.csv", text.encode("utf-8-sig"))], ced="MTL")
    assert found.entries == [
        {"id": "L-1", "ced": "MTL", "name": "Gare", "url": "socket://10.1.3.1:5001"},
        {"id": "L-2", "ced": "MTL", "name": "Pont", "remote": False},
    ]
    assert [str(note) for note in found.notes] == [
        "list.csv:1: column Couleur is not understood",
        "list.csv:3: L-2 has no complete address and is only listed",
    ]


@pytest.mark.parametrize("delimiter", [";", ",", "\t", "|"])
def test_a_list_without_names_is_read_by_what_cells_look_like(delimiter: str) -> None:
    row = delimiter.join(["L-1", "Rue des Pins", "LAV", "gw.example.org", "5001"])
    found = import_legacy([], [("list.csv", f"# DJ\n{row}\n".encode())])
    assert found.entries == [
        {"id": "L-1", "ced": "LAV", "name": "Rue des Pins", "url": "socket://gw.example.org:5001"}
    ]


def test_a_list_of_names_only_takes_the_rest_from_the_file() -> None:
    ini = "[general]\nadresse_ip = 10.0.0.1\nport = 4000\n[L-2]\nnom = Moulin\n"
    found = import_legacy([("old.ini", ini.encode())], [("list.txt", b"L-1\nL-2\n")], ced="lav")
    assert [(e["id"], e.get("name"), e["url"], e["ced"]) for e in found.entries] == [
        ("L-2", "Moulin", "socket://10.0.0.1:4000", "LAV"),
        ("L-1", None, "socket://10.0.0.1:4000", "LAV"),
    ]


def test_a_gateway_that_the_site_lists_is_named() -> None:
    fleet = Fleet((), (Gateway(id="P1"),))
    ini = b"[L-1]\nip = 10.0.0.1:4000\nsmp4 = p1\n"
    [entry] = import_legacy([("old.ini", ini)], ced="LAV", fleet=fleet).entries
    assert entry["gateway"] == "P1"


def test_who_has_no_territory_or_wrong_values_is_left_out_and_told() -> None:
    ini = b"[L-1]\nip = 10.0.0.1:4000\n[L-2]\nced = LAV\nip = 10.0.0.2:4000\nbits = 9\n"
    found = import_legacy([("old.ini", ini)])
    assert found.entries == []
    assert [str(note) for note in found.notes] == [
        "old.ini:1: L-1 has no territory; give it by --ced",
        "old.ini:3: L-2 cannot be listed: wrong data_bits",
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
def test_files_are_read_as_windows_wrote_them(encoding: str) -> None:
    assert decode("Délai = 3 é".encode(encoding)) == "Délai = 3 é"


@pytest.mark.parametrize("content", [b"", b"\x00\xff\x81", b"=\n[]\n[=]\n:", b'"\n;;;\n,"'])
def test_whatever_the_bytes_are_nothing_breaks(content: bytes) -> None:
    found = import_legacy([("old.ini", content)], [("list.csv", content)], ced="LAV")
    assert len(found.entries) <= 1
    parse_ini(decode(content), "x")
    parse_list(decode(content), "x")


@pytest.mark.parametrize(
    ("key", "meaning"),
    [
        ("Adresse IP (tunnel)", "host"),
        ("ADR_IP_TUNNEL", "host"),
        ("Délai d'attente", "device_s"),
        ("timeout_sec", "device_s"),
        ("commande_3", "commands"),
        ("passerelle", "gateway"),
        ("Mot de passe", "password"),
        ("Password1", "password"),
        ("pwd niveau 2", "password_higher"),
        ("MDP_2AC", "password_higher"),
        ("largeur", ""),
    ],
)
def test_keys_are_known_without_case_accents_and_punctuation(key: str, meaning: str) -> None:
    assert meaning_of(key) == meaning
