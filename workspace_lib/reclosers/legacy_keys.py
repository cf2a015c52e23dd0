"""What keys and columns of the former program's files mean here, in French and English.

The former program read an ``.ini`` file, its third argument, and a list of reclosers (LCLCL) of a
territory (CED). Keys are compared without case, accents and punctuation: ``Adresse IP (tunnel)``
is ``adresse_ip_tunnel``.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

#: Key of an old file, in `plain` spelling, and what it is here. Names that stand in the list of
#: reclosers are those of `settings.Recloser`; ``host``, ``tcp_port``, ``com``, ``port`` and
#: ``address`` become its url or address; ``device_s`` and ``commands`` are the wing's settings.
KEYS: Final[dict[str, str]] = {
    alias: meaning
    for meaning, aliases in {
        "id": "id lclcl no_lclcl recloser disjoncteur dj no_dj numero identifiant",
        "ced": "ced territoire territory",
        "name": "nom name description poste emplacement libelle",
        "host": "ip host hote adresse_ip adr_ip ip_address address_ip tunnel ip_tunnel "
        "adresse_tunnel adresse_ip_tunnel adr_ip_tunnel tunnel_ip",
        "tcp_port": "port_tcp tcp_port port_ip ip_port port_tunnel tunnel_port no_port_tcp",
        "com": "com port_com com_port port_serie port_serial serial_port",
        "port": "port no_port",
        "address": "adresse address adresse_lmd lmd_address lmd",
        "baud": "baud bauds baudrate baud_rate vitesse debit speed",
        "data_bits": "databits data_bits bits bits_donnees bits_de_donnees bytesize",
        "parity": "parite parity",
        "stop_bits": "stopbits stop_bits bits_arret bits_d_arret bits_stop",
        "line": "ligne line canal channel",
        "gateway": "passerelle gateway smp smp4 concentrateur",
        "wake": "chwake reveil wake",
        "wake_baud": "abaud wake_baud vitesse_reveil",
        "lat": "lat latitude",
        "lon": "lon long longitude",
        "remote": "remote telecommande teleconduite actif active enabled",
        "timezone": "fuseau fuseau_horaire timezone time_zone",
        "level": "niveau level niveau_acces access_level niveau_d_acces",
        "device_s": "delai timeout time_out delai_max delai_attente delai_d_attente temporisation "
        "max_time temps_max",
        "commands": "commande commandes command commands cmd cmds requete requetes",
    }.items()
    for alias in aliases.split()
}
#: Keys that are not needed any more, and what is in their place.
REPLACED: Final[dict[str, str]] = {
    alias: instead
    for aliases, instead in (
        (
            "info_recup_path path chemin repertoire dossier folder destination sortie output "
            "output_path repertoire_sortie chemin_sortie",
            "the archive of events: wings.reclosers.archive of the site",
        ),
        (
            "log logs log_path logging chemin_log repertoire_log resume resume_path niveau_log "
            "log_level",
            "the site's log and the report of each run",
        ),
        ("liste liste_lclcl fichier_liste list list_file", "--list of this command"),
        ("mode auto", "the job's schedule"),
    )
    for alias in aliases.split()
}
_GENERAL: Final = """
    general generale generales global globals config configuration parametre parametres parameter
    parameters settings defaut defauts default defaults commun common serie serial port
    communication connexion connection commande commandes command commands acces login
    sel351r sel_351r sel351 sel651 sel651r smp smp4
    """
#: Sections whose keys hold for all reclosers.
GENERAL: Final = frozenset(_GENERAL.split())
_PASSWORD = re.compile(r"passw|passe(?!r)|pass(?:_|\d|$)|mdp|pwd|secret|mot_?de_?pass")
_LEVEL = re.compile(r"(?:^|_|niveau|level)(2ac|[2bec]|bac|cal|eza)(?:$|_)")


def plain(key: str) -> str:
    """Return a key without case, accents and punctuation.

    Examples
    --------
    >>> plain("Délai d'attente (s)")
    'delai_d_attente_s'
    """
    letters = unicodedata.normalize("NFKD", key.strip().lower())
    text = "".join(c for c in letters if not unicodedata.combining(c))
    return re.sub(r"[^a-z0-9]+", "_", text).strip("_")


def meaning_of(key: str) -> str:
    """Return what a key means here: a name of `KEYS`, ``password``, or nothing.

    A unit or a number at its end does not count: ``timeout_sec``, ``commande_3``.
    """
    name = plain(key)
    if _PASSWORD.search(name):
        return "password_higher" if _LEVEL.search(name) else "password"
    for candidate in (name, re.sub(r"_?(s|sec|secondes?|seconds?|\d+)$", "", name)):
        if candidate in KEYS:
            return KEYS[candidate]
    return ""


def replaced_by(key: str) -> str:
    """Return what is in place of a key that is not needed any more, or nothing."""
    return REPLACED.get(plain(key), "")
