"""The second reader: every output is read from the disk again before it gets its name.

The first of a kind is read whole by pydicom. One that repeats it, byte for byte but for values that
pydicom found the places of, is walked by pydicom as the first one was; then only those values are
judged again. Nothing here comes from the engine: places are pydicom's, rules are the profile's.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pydicom
from pydicom.dataelem import RawDataElement
from pydicom.filereader import read_dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

from reidscope_deid.layout import Layout, Span
from reidscope_deid.verification import (
    DECLARED_TAGS,
    file_findings,
    may_stand,
    read_again,
    rule_findings,
    rules_of,
)

if TYPE_CHECKING:
    from pathlib import Path

    from pydicom.dataset import Dataset, FileDataset

    from reidscope_deid.profile import Profile
    from reidscope_deid.verification import ByDepth

_SYNTAXES = frozenset((ExplicitVRLittleEndian, ImplicitVRLittleEndian))
_META_LENGTH, _META_INSTANCE, _INSTANCE, _PIXELS = 0x00020000, 0x00020003, 0x00080018, 0x7FE00010
_CLASS = 0x00080016
_ALWAYS = frozenset((_META_LENGTH, _META_INSTANCE, _INSTANCE))
_LAST_META = 0x0002FFFF
_SMALL = 16 << 20  # bytes; larger files are read whole by pydicom, value by value
_LONG = 4  # bytes of a length
_KEPT = 4


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class _Seen:
    """An output that pydicom read whole and that was clean."""

    layout: Layout
    spans: dict[int, Span]
    varying: tuple[Span, ...]
    content: bytes
    done: frozenset[str]
    rules: ByDepth
    explicit: bool
    samples: int


class SecondReader:
    """Reads outputs of one profile.

    Parameters
    ----------
    profile : Profile
        What they were written under.
    """

    __slots__ = ("_profile", "_seen")

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._seen: list[_Seen] = []

    def is_clean(self, path: Path, done: frozenset[str]) -> bool:
        """Whether an output may be kept.

        Parameters
        ----------
        path : Path
            What was written, read from there.
        done : frozenset of str
            CID 7050 codes of what was done with its samples.
        """
        try:
            content = path.read_bytes() if path.stat().st_size < _SMALL else b""
            return self._repeats(content, done) or self._read(path, content, done)
        except Exception:  # noqa: BLE001 - pydicom raises many kinds, with values in them
            return False

    def _read(self, path: Path, content: bytes, done: frozenset[str]) -> bool:
        data_set = read_again(path)
        spans = _spans(data_set) if content else {}
        if next(file_findings(data_set, self._profile, done=done), None) is not None:
            return False
        if spans:
            self._learn(data_set, content, spans, done)
        return True

    def _learn(
        self, data_set: FileDataset, content: bytes, spans: dict[int, Span], done: frozenset[str]
    ) -> None:
        pixels = spans.get(_PIXELS)
        if pixels is None or pixels.stop != len(content) or pixels.tag != max(spans):
            return
        rules = rules_of(str(data_set.SOPClassUID), self._profile)
        tags = _ALWAYS
        for index, seen in enumerate(self._seen):
            if list(seen.spans) == list(spans):
                tags |= {span.tag for span in seen.varying} | {
                    tag
                    for tag, old in seen.spans.items()
                    if tag != _PIXELS and _value(seen.content, old) != _value(content, spans[tag])
                }
                del self._seen[index]
                break
        varying = tuple(
            span for tag, span in spans.items() if tag in tags and _may_vary(tag, rules)
        )
        if not {span.tag for span in varying} >= _ALWAYS:
            return
        seen = _Seen(
            layout=Layout.of(content, varying, pixels.value, "little"),
            spans=spans,
            varying=varying,
            content=content,
            done=done,
            rules=rules,
            explicit=data_set.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian,
            samples=pixels.stop - pixels.value,
        )
        self._seen.insert(0, seen)
        del self._seen[_KEPT:]

    def _repeats(self, content: bytes, done: frozenset[str]) -> bool:
        for index, seen in enumerate(self._seen):
            fitted = seen.layout.fit(content)
            if fitted is None or seen.done != done or fitted[1] + seen.samples != len(content):
                continue
            if index:
                self._seen.insert(0, self._seen.pop(index))
            values = {
                span.tag: content[start:stop]
                for span, (start, stop) in zip(seen.varying, fitted[0], strict=True)
            }
            return self._agree(seen, values) and all(
                self._stands(seen, tag, value) for tag, value in values.items() if tag > _LAST_META
            )
        return False

    def _agree(self, seen: _Seen, values: dict[int, bytes]) -> bool:
        """File meta information names the instance, and says how long it is itself."""
        longer = len(values[_META_INSTANCE]) - len(_value(seen.content, seen.spans[_META_INSTANCE]))
        before = int.from_bytes(_value(seen.content, seen.spans[_META_LENGTH]), "little")
        return (
            values[_META_INSTANCE] == values[_INSTANCE]
            and int.from_bytes(values[_META_LENGTH], "little") == before + longer
        )

    def _stands(self, seen: _Seen, tag: int, value: bytes) -> bool:
        rule = seen.rules[0][tag]
        if rule.vr != b"SQ":
            return may_stand(rule, value, self._profile)
        span = seen.spans[tag]
        header = seen.content[_start(span, seen) : span.length_at]
        size = span.value - span.length_at
        element = header + len(value).to_bytes(size, "little") + value
        with warnings.catch_warnings():
            # A warning of pydicom's holds the value that it is about.
            warnings.simplefilter("ignore")
            data_set: Dataset = read_dataset(io.BytesIO(element), not seen.explicit, True)
            return (
                next(rule_findings(data_set, rule, self._profile, seen.rules, depth=0), None)
                is None
            )


def _start(span: Span, seen: _Seen) -> int:
    # Tag, VR and two reserved bytes; tag and VR; tag.
    long = span.value - span.length_at == _LONG
    return span.length_at - (8 if seen.explicit and long else 6 if seen.explicit else 4)


def _may_vary(tag: int, rules: ByDepth) -> bool:
    if tag in _ALWAYS:
        return True
    odd = tag >> 16 & 1
    named = tag > _LAST_META and tag != _CLASS and tag not in DECLARED_TAGS
    return not odd and named and tag in rules[0]


def _value(content: bytes, span: Span) -> bytes:
    return content[span.value : span.stop]


def _spans(data_set: FileDataset) -> dict[int, Span]:
    """Places of the elements that pydicom has not decoded yet, by tag; none if it says none."""
    meta = data_set.file_meta
    syntax = pydicom.uid.UID(str(meta.TransferSyntaxUID))
    if syntax not in _SYNTAXES:
        return {}
    found: dict[int, Span] = {}
    for part, explicit in ((meta, True), (data_set, syntax == ExplicitVRLittleEndian)):
        for tag in part.keys():  # noqa: SIM118 - iterating a Dataset itself would decode every value
            raw = part.get_item(tag, keep_deferred=True)
            if isinstance(raw, RawDataElement):
                short = explicit and raw.VR not in EXPLICIT_VR_LENGTH_32
                at = raw.value_tell
                found[int(tag)] = Span(int(tag), at - (2 if short else 4), at, at + raw.length)
            elif int(tag) == _META_LENGTH and raw.file_tell is not None:
                # pydicom decodes it to find the end of its group.
                at = raw.file_tell
                found[_META_LENGTH] = Span(_META_LENGTH, at - 2, at, at + 4)
    return dict(sorted(found.items()))
