"""Masks: over all participants they cancel exactly, over any fewer nothing can be read."""

from __future__ import annotations

import hashlib
from itertools import permutations

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from reidscope_protocols.errors import MalformedError
from reidscope_protocols.secure_sum import MODULUS, MaskedTable, Participants, unmasked_sum, words
from reidscope_site.masks import masks

FALSE_ALARM = 1e-6
NAMES = ("alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel")
Count = st.integers(-(1 << 62), 1 << 62)


def group(
    count: int, *, marker: str = "one", attempt: int = 1
) -> tuple[dict[str, X25519PrivateKey], Participants]:
    private = {name: X25519PrivateKey.generate() for name in NAMES[:count]}
    of = Participants(
        study_sha256=hashlib.sha256(b"study").hexdigest(),
        attempt=attempt,
        keys={name: key.public_key().public_bytes_raw() for name, key in private.items()},
        envelopes={},
        sha256=hashlib.sha256(marker.encode()).hexdigest(),
    )
    return private, of


def covered(
    private: dict[str, X25519PrivateKey], of: Participants, tables: dict[str, list[int]]
) -> dict[str, tuple[int, ...]]:
    """Each site's masked words, as they would travel and be read again."""
    sent = {}
    for name, counts in tables.items():
        (cover,) = masks(private[name], name, of, [("joint", len(counts))])
        said = words(count + word for count, word in zip(counts, cover, strict=True))
        table = MaskedTable(table="joint", words=said, epsilon_nano=1, alone_nano=1)
        sent[name] = table.cells()
    return sent


@settings(max_examples=40, deadline=None)
@given(data=st.data(), sites=st.integers(2, 8), cells=st.integers(1, 30))
def test_whatever_the_tables_the_unmasked_sum_is_their_sum_mod_2_to_the_64(
    data: st.DataObject, sites: int, cells: int
) -> None:
    private, of = group(sites)
    column = st.lists(Count, min_size=cells, max_size=cells)
    tables = {name: data.draw(column) for name in of.keys}
    sent = covered(private, of, tables)
    order = data.draw(st.permutations(list(sent.values())))
    summed = unmasked_sum(order)
    exact = [sum(column) for column in zip(*tables.values(), strict=True)]
    assert [each % MODULUS for each in summed] == [each % MODULUS for each in exact]
    assert all(-MODULUS // 2 <= each < MODULUS // 2 for each in summed)


def test_sums_of_counts_that_sites_can_have_are_exact_and_signed() -> None:
    private, of = group(3)
    tables = {"alpha": [5, -2, 0], "bravo": [0, -9, 7], "charlie": [1, 1, -8]}
    for order in permutations(covered(private, of, tables).values()):
        assert unmasked_sum(order) == (6, -10, -1)


def test_any_fewer_than_all_leave_words_that_are_uniform_whatever_the_tables() -> None:
    """Chi-square of the bytes of sums over K - 1; false alarms: one in a million each."""
    for fill in (0, 84):
        seen = []
        for _ in range(40):
            private, of = group(4)
            sent = covered(private, of, {name: [fill] * 64 for name in of.keys})
            for missing in of.keys:
                rest = [cells for name, cells in sent.items() if name != missing]
                seen += [word % MODULUS for word in unmasked_sum(rest)]
        content = b"".join(word.to_bytes(8, "big") for word in seen)
        counts = np.bincount(np.frombuffer(content, np.uint8), minlength=256)
        assert stats.chisquare(counts).pvalue > FALSE_ALARM


def test_one_masked_vector_is_as_likely_from_any_other_table() -> None:
    """Whatever table one has in mind, one mask takes it to the words that were sent."""
    private, of = group(3)
    cells = 16
    (cover,) = masks(private["alpha"], "alpha", of, [("joint", cells)])
    sent = [(84 + word) % MODULUS for word in cover]
    for other in (0, 84, 10**9, -1):
        needed = [(word - other) % MODULUS for word in sent]
        assert [(other + word) % MODULUS for word in needed] == sent
    # and the mask is nobody's to compute who lacks a private half: one more key, another mask
    (again,) = masks(group(3)[0]["alpha"], "alpha", of, [("joint", cells)])
    assert not set(again) & set(cover)


@pytest.mark.parametrize("bent", ["marker", "attempt"])
def test_masks_for_two_lists_do_not_cancel(bent: str) -> None:
    private, of = group(3)
    other = Participants(
        study_sha256=of.study_sha256,
        attempt=2 if bent == "attempt" else of.attempt,
        keys=of.keys,
        envelopes={},
        sha256=hashlib.sha256(b"two").hexdigest() if bent == "marker" else of.sha256,
    )
    tables = {name: [1] * 50 for name in of.keys}
    sent = covered(private, of, {n: c for n, c in tables.items() if n != "charlie"})
    sent |= covered(private, other, {"charlie": tables["charlie"]})
    assert max(map(abs, unmasked_sum(sent.values()))) > 1 << 50


def test_each_table_and_each_pair_has_its_own_words() -> None:
    private, of = group(4)
    joint, gates = masks(private["alpha"], "alpha", of, [("joint", 40), ("gates", 40)])
    assert not set(joint) & set(gates)
    pairs = [
        set(masks(private["alpha"], "alpha", narrowed(of, peer), [("joint", 40)])[0])
        for peer in ("bravo", "charlie", "delta")
    ]
    assert not pairs[0] & pairs[1]
    assert not pairs[1] & pairs[2]


def narrowed(of: Participants, peer: str) -> Participants:
    """The list of alpha and one other: one pair's words alone."""
    return Participants(
        study_sha256=of.study_sha256,
        attempt=of.attempt,
        keys={name: of.keys[name] for name in ("alpha", peer)},
        envelopes={},
        sha256=of.sha256,
    )


@pytest.mark.parametrize("point", [bytes(32), b"\x01" + bytes(31)])
def test_a_key_of_low_order_is_refused(point: bytes) -> None:
    private, of = group(2)
    bent = Participants(
        study_sha256=of.study_sha256,
        attempt=1,
        keys={**of.keys, "bravo": point},
        envelopes={},
        sha256=of.sha256,
    )
    with pytest.raises(MalformedError, match="low order"):
        masks(private["alpha"], "alpha", bent, [("joint", 3)])
