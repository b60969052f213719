"""Every statement's good vector opens; every bad one meets the error that it names."""

from __future__ import annotations

import inspect
import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from reidscope_protocols import errors, key_change
from reidscope_protocols.envelope import Opened, issued_within, open_envelope
from reidscope_protocols.key_change import KeyChange, open_change
from reidscope_protocols.keys import KeyRecord, KeyRing
from reidscope_protocols.secure_sum import MaskedRelease, SumKeys, SumRound
from reidscope_protocols.statements import Decision, Receipt, Release, Statement
from reidscope_protocols.study import Study
from reidscope_protocols.vocabulary import KeyRole

FOLDER = Path(__file__).parent / "vectors"
KINDS: dict[str, type[Statement]] = {
    "study": Study,
    "decision": Decision,
    "release": Release,
    "receipt": Receipt,
    "sum-keys": SumKeys,
    "sum-round": SumRound,
    "masked-release": MaskedRelease,
    "key-change": KeyChange,
}
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))


def vector(name: str) -> dict[str, Any]:
    return dict(json.loads((FOLDER / f"{name}.json").read_text()))


def read(said: dict[str, Any]) -> Opened[Statement]:
    """As a reader does it: signature, type, shape, then time and audience."""
    ring = KeyRing.of(KeyRecord.model_validate_json(json.dumps(record)) for record in said["ring"])
    data = said["envelope"].encode().ljust(said.get("padded_to", 0))
    role, site, now = KeyRole(said["role"]), said["site"], datetime.fromisoformat(said["now"])
    if said["statement"] == "key-change":
        # Two signatures: its own reader checks both, and what the one says of the other.
        return open_change(data, ring, role=role, site=site, reader=said["reader"], now=now).change
    opened = open_envelope(data, KINDS[said["statement"]], ring, role=role, site=site)
    issued_within(opened.statement, now=now, reader=said["reader"])
    return opened


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith("_good")])
def test_a_good_vector_opens_to_the_bytes_that_were_signed(name: str) -> None:
    said = vector(name)
    opened = read(said)
    assert said["error"] is None
    assert opened.envelope == said["envelope"].encode()
    assert type(opened.statement).parse(opened.payload) == opened.statement


@pytest.mark.parametrize("name", [name for name in NAMES if "_bad_" in name])
def test_a_bad_vector_meets_the_error_that_it_names_in_one_line(name: str) -> None:
    said = vector(name)
    with pytest.raises(errors.ReidscopeError) as caught:
        read(said)
    assert type(caught.value).__name__ == said["error"]
    assert said.get("says", "") in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600


def test_there_is_a_good_and_a_bad_vector_of_every_kind() -> None:
    for kind in KINDS:
        assert f"{kind}_good" in NAMES
        assert any(name.startswith(f"{kind}_bad_") for name in NAMES)


def test_every_vector_is_either_good_or_bad() -> None:
    assert all(name.endswith("_good") or "_bad_" in name for name in NAMES)


def test_a_message_does_not_repeat_what_stood_in_a_field() -> None:
    for name in NAMES:
        if "_bad_" not in name:
            continue
        with pytest.raises(errors.ReidscopeError) as caught:
            read(vector(name))
        assert "committee" not in str(caught.value)
        assert "everybody" not in str(caught.value)
        assert "\x1b" not in str(caught.value)


def test_every_refusal_that_a_change_of_keys_can_meet_has_a_vector() -> None:
    source = Path(inspect.getsourcefile(key_change) or "").read_text(encoding="utf-8")
    reasons = set(re.findall(r'got="([^"]+)"', source))
    assert len(reasons) >= 4
    met = set()
    for name in NAMES:
        if name.startswith("key-change_bad_"):
            with pytest.raises(errors.ReidscopeError) as caught:
                read(vector(name))
            met.add(caught.value.problem.got)
    assert reasons <= met
    # and those of the envelope, the time and the audience, which a change shares with the others
    assert len(met) >= len(reasons) + 6
