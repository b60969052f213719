"""What else has to be looked at: labels of slides, samples of waveforms, tables of colors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from reidscope_deid.allowed import load_allow_list
from reidscope_deid.elements import read_items
from reidscope_deid.reasons import QuarantinedError, Reason

if TYPE_CHECKING:
    from reidscope_deid.elements import Element
    from reidscope_deid.part10 import Opened

_CLASS, _IMAGE_TYPE, _LABEL = 0x00080016, 0x00080008, 0x00480010
_TISSUE = (b"VOLUME", b"THUMBNAIL")
"""Third value of Image Type: what shows no label (PS3.3 C.8.12.4.1.1)."""
_WAVEFORMS, _DATA, _PADDING_VALUE = 0x54000100, 0x54001010, 0x5400100A
_CHANNELS, _SAMPLES, _ALLOCATED = 0x003A0005, 0x003A0010, 0x54001004
_PADDING = b" \0"
_PALETTES = ((0x00281101, 0x00281201), (0x00281102, 0x00281202), (0x00281103, 0x00281203))
"""Descriptor and table of each color."""
_ENTRIES = 1 << 16  # what a descriptor's 0 stands for

JUDGED_WITH_THE_FILE = frozenset({_LABEL}.union(*_PALETTES))
"""Tags of the top level that are looked at here, and nowhere else."""


def check_objects(opened: Opened) -> None:
    """Refuse a slide that may show its label, and samples or tables with room for more.

    Raises
    ------
    QuarantinedError
        One of them.
    """
    for descriptor, table in _PALETTES:
        data = opened.raw(table)
        if data:
            order: Literal["little", "big"] = "little" if opened.encoding.little else "big"
            entries = int.from_bytes(opened.raw(descriptor)[:2], order) or _ENTRIES
            if len(data) not in (entries + (entries & 1), 2 * entries):
                raise QuarantinedError(Reason.MALFORMED)
    kind = load_allow_list().kind_of.get(opened.value(_CLASS))
    if kind == "slide":
        values = [value.strip(_PADDING) for value in opened.value(_IMAGE_TYPE).split(b"\\")]
        shown = values[2] if len(values) > len(_TISSUE) else b""
        if shown not in _TISSUE or opened.value(_LABEL) == b"YES":
            raise QuarantinedError(Reason.SLIDE_LABEL)
    elif kind == "waveform":
        for element in opened.elements:
            if element.tag == _WAVEFORMS:
                for item in read_items(opened.data, element, opened.encoding, depth=1):
                    _check_waveform(opened, item)


def _check_waveform(opened: Opened, item: list[Element]) -> None:
    order: Literal["little", "big"] = "little" if opened.encoding.little else "big"
    raw = {one.tag: opened.data[one.value : one.stop] for one in item if not one.undefined}
    channels, samples, bits = (
        int.from_bytes(raw.get(tag, b""), order) for tag in (_CHANNELS, _SAMPLES, _ALLOCATED)
    )
    expected = channels * samples * bits // 8
    data, padding = raw.get(_DATA, b""), raw.get(_PADDING_VALUE, b"")
    behind = data[expected:]
    if len(data) < expected or len(behind) > 1 or any(behind) or len(padding) > max(2, bits // 8):
        raise QuarantinedError(Reason.MALFORMED)
