"""Pairwise masks: what a site adds to its tables and the others take away again.

For each pair of participants and each table, X25519 -> HKDF-SHA256 -> ChaCha20 -> one 64-bit word
a cell. The site whose name sorts first adds the words, the other subtracts them, mod 2^64: over
all participants they cancel; over any fewer, what is left is uniform to whoever lacks a pair's key.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from reidscope_protocols.errors import MalformedError
from reidscope_protocols.secure_sum import MODULUS, Participants

_DOMAIN = "reidscope/sum-mask/1"
_KEY_BYTES = 32
_WORD_BYTES = 8
# Safety: a nonce may repeat only under another key; every (round, pair, table) has its own key.
_NONCE = bytes(16)


def masks(
    private: X25519PrivateKey, own: str, of: Participants, tables: Sequence[tuple[str, int]]
) -> tuple[tuple[int, ...], ...]:
    """Compute a site's whole mask of each table.

    Parameters
    ----------
    private : X25519PrivateKey
        The half that this site keeps of its key in `of`.
    own : str
        This site's name, one of `of.keys`.
    of : Participants
        The checked list: its digest is in every mask.
    tables : sequence of (str, int)
        Name and cells of each table.

    Returns
    -------
    tuple of tuple of int
        A word a cell, 0 <= w < 2^64.

    Raises
    ------
    MalformedError
        A participant's key is a point of low order: the secret would be known to everybody.
    """
    sums = [[0] * cells for _, cells in tables]
    for peer, public in of.keys.items():
        if peer == own:
            continue
        secret = _agreed(private, public)
        sign = 1 if own < peer else -1
        for total, (table, cells) in zip(sums, tables, strict=True):
            words = _words(secret, of, sorted((own, peer)), table, cells)
            total[:] = [(t + sign * word) % MODULUS for t, word in zip(total, words, strict=True)]
    return tuple(map(tuple, sums))


def _agreed(private: X25519PrivateKey, public: bytes) -> bytes:
    try:
        return private.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        # The library says nothing else with it: all other 32-byte strings are points.
        raise MalformedError(
            "sum keys",
            got="a key of low order",
            expected="a random X25519 key",
            do="refuse the list; tell the coordinator and the sites",
        ) from None


def _words(
    secret: bytes, of: Participants, pair: Sequence[str], table: str, cells: int
) -> tuple[int, ...]:
    info = json.dumps([_DOMAIN, of.study_sha256, of.attempt, *pair, table], separators=(",", ":"))
    salt = bytes.fromhex(of.sha256)
    key = HKDF(SHA256(), _KEY_BYTES, salt, info.encode()).derive(secret)
    stream = Cipher(algorithms.ChaCha20(key, _NONCE), None).encryptor()
    return struct.unpack(f">{cells}Q", stream.update(bytes(_WORD_BYTES * cells)))
