"""An error says where, what and what to do, also after crossing a process border."""

from __future__ import annotations

import pickle

from workspace_lib.errors import DeviceBusy, DeviceError, WorkspaceError


def test_the_sentence_has_where_what_and_what_to_do() -> None:
    error = DeviceBusy("Held by run 7.", where="line:COM1", fix="Wait for it.")
    assert str(error) == "line:COM1: Held by run 7. Wait for it."


def test_an_error_survives_pickling_whole() -> None:
    error = pickle.loads(pickle.dumps(DeviceBusy("Held.", where="COM1", fix="Wait.")))
    assert isinstance(error, DeviceError)
    assert (error.what, error.where, error.fix) == ("Held.", "COM1", "Wait.")


def test_where_and_fix_may_be_absent() -> None:
    assert str(WorkspaceError("Nothing more is known.")) == "Nothing more is known."
