"""Whatever bytes come in, the answer is a typed error or the one statement that was signed."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reidscope_protocols.enrolment import Invitation, certificate_sha256
from reidscope_protocols.envelope import open_envelope, peek_payload, peek_type
from reidscope_protocols.errors import MalformedError, ReidscopeError
from reidscope_protocols.keys import KeyRecord, KeyRing
from reidscope_protocols.statements import Decision, Receipt, Release
from reidscope_protocols.study import Study
from reidscope_protocols.vocabulary import KeyRole
from reidscope_protocols.wire import pad, unpad

SAID = json.loads((Path(__file__).parent / "vectors" / "receipt_good.json").read_text())
GOOD = SAID["envelope"].encode()
RING = KeyRing.of(KeyRecord.model_validate_json(json.dumps(record)) for record in SAID["ring"])

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner),
    max_leaves=12,
)


def opens(data: bytes) -> bool:
    """Whether `data` opens; any error but ours goes through and fails the test."""
    try:
        open_envelope(data, Receipt, RING, role=KeyRole.COORDINATOR)
    except ReidscopeError:
        return False
    return True


def test_the_untouched_envelope_opens() -> None:
    assert opens(GOOD)


@settings(max_examples=250, deadline=None)
@given(place=st.integers(0, len(GOOD) - 1), byte=st.integers(0, 255))
def test_an_envelope_with_any_one_byte_changed_is_refused(place: int, byte: int) -> None:
    altered = GOOD[:place] + bytes([byte]) + GOOD[place + 1 :]
    assert opens(altered) == (altered == GOOD)


def test_no_other_last_character_of_a_base64_text_opens() -> None:
    """Base64 leaves bits unused at its end: a second text for the same bytes must not pass."""
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
    for field in (b'"payload":"', b'"sig":"'):
        start = GOOD.index(field) + len(field)
        end = GOOD.index(b'"', start)
        for place in range(end - 4, end):
            for character in alphabet:
                altered = GOOD[:place] + bytes([character]) + GOOD[place + 1 :]
                assert opens(altered) == (altered == GOOD)


@settings(max_examples=100, deadline=None)
@given(cut=st.integers(0, len(GOOD) - 1))
def test_an_envelope_cut_anywhere_is_refused(cut: int) -> None:
    assert not opens(GOOD[:cut])
    assert not opens(GOOD[cut + 1 :])


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300) | json_values.map(lambda value: json.dumps(value).encode()))
@example(b"\xef\xbb\xbf{}")
@example(b"\xff\xfe{\0}\0")
@example(b"[" * 100_000)
@example(b'{"a":' * 50_000)
@example(b'{"payload":"","payloadType":"","signatures":[' + b"9" * 5000 + b"]}")
def test_random_bytes_are_refused_by_every_reader_with_a_typed_error(data: bytes) -> None:
    assert not opens(data)
    for reader in (
        Study.parse,
        Decision.parse,
        Release.parse,
        Receipt.parse,
        Invitation.parse,
        peek_payload,
        peek_type,
        unpad,
    ):
        with pytest.raises(ReidscopeError):
            reader(data)


@settings(max_examples=150, deadline=None)
@given(payload=json_values, kind=st.sampled_from([Receipt.payload_type, "", "text/plain"]))
def test_an_envelope_around_any_json_is_refused_with_a_typed_error(
    payload: object, kind: str
) -> None:
    envelope = {
        "payload": base64.b64encode(json.dumps(payload).encode()).decode(),
        "payloadType": kind,
        "signatures": [{"keyid": SAID["ring"][1]["public"], "sig": "AAAA"}],
    }
    assert not opens(json.dumps(envelope).encode())


@given(st.text(min_size=50, max_size=200))
def test_what_is_no_certificate_is_malformed(text: str) -> None:
    with pytest.raises(MalformedError):
        certificate_sha256(text)


@given(content=st.binary(max_size=500), frame=st.integers(504, 700))
def test_a_frame_gives_back_its_content_and_has_always_one_size(content: bytes, frame: int) -> None:
    framed = pad(content, frame=frame)
    assert len(framed) == frame
    assert unpad(framed, frame=frame) == content


@given(content=st.binary(max_size=60), place=st.integers(0, 63), byte=st.integers(1, 255))
def test_a_frame_with_a_byte_in_its_padding_is_refused(
    content: bytes, place: int, byte: int
) -> None:
    framed = bytearray(pad(content, frame=64))
    if place < 4 + len(content):
        return
    framed[place] = byte
    with pytest.raises(MalformedError):
        unpad(bytes(framed), frame=64)


@given(st.integers(0, 200))
def test_a_frame_of_another_length_is_refused(length: int) -> None:
    framed = pad(b"words", frame=64).ljust(length, b"\0")[:length]
    if length != 64:
        with pytest.raises(MalformedError):
            unpad(framed, frame=64)


def test_a_content_too_long_for_its_frame_is_refused() -> None:
    assert len(pad(bytes(60), frame=64)) == 64
    with pytest.raises(MalformedError):
        pad(bytes(61), frame=64)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_a_frame_longer_than_it_is_lies_and_is_refused(content: bytes) -> None:
    framed = bytearray(pad(content, frame=256))
    framed[:4] = (1 << 31).to_bytes(4, "big")
    with pytest.raises(MalformedError):
        unpad(bytes(framed), frame=256)
