"""What a sealed element looks like: for readers who cannot open it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydicom.dataset import Dataset

SEALED = 0x04000500
"""EncryptedAttributesSequence."""

CONTENT_SYNTAX, CONTENT = 0x04000510, 0x04000520
EXPLICIT_UID = b"1.2.840.10008.1.2.1"
_ENVELOPED = bytes.fromhex("06092a864886f70d010703")
_OID_WITHIN = 24  # bytes from the start of an envelope
_ITEM = frozenset({CONTENT_SYNTAX, CONTENT})


def is_sealed(items: Iterable[Dataset]) -> bool:
    """Whether a sequence is one that `Seal` writes: an envelope, and nothing beside it."""
    return all(
        {int(tag) for tag in item.keys()} == _ITEM  # noqa: SIM118 - iterating would decode values
        and str(item[CONTENT_SYNTAX].value).encode() == EXPLICIT_UID
        and _ENVELOPED in bytes(item[CONTENT].value[:_OID_WITHIN])
        for item in items
    )
