"""Why a file is left out. A closed list of constants, so that saying why can never say who."""

from __future__ import annotations

from enum import StrEnum

from reidscope_protocols.errors import UnparsableDicomError


class Reason(StrEnum):
    """Why nothing of a file was written."""

    NOT_DICOM = "not-dicom"
    UNREADABLE = "unreadable"
    TRUNCATED = "truncated"
    MALFORMED = "malformed"
    TOO_DEEP = "too-deep"
    TOO_LARGE = "too-large"
    REPEATED_ELEMENT = "repeated-element"
    TRANSFER_SYNTAX = "transfer-syntax"
    SOP_CLASS = "sop-class"
    NO_INSTANCE = "no-instance"
    NO_IDENTITY = "no-identity"
    BURNED_IN = "burned-in-text"
    EMBEDDED = "embedded-metadata"
    DOCUMENT = "document"
    MODEL = "model"
    DIRECTORY = "directory"
    SLIDE_LABEL = "slide-label"
    SAMPLES_TWICE = "samples-changed-twice"
    FACE = "face"
    UNVERIFIED = "unverified"
    CONFLICT = "conflict"
    NOT_OFFERED = "not-offered"

    @property
    def by_design(self) -> bool:
        """Whether the file is sound, but not something that this version takes."""
        return self in _BY_DESIGN


_BY_DESIGN = frozenset(
    {
        Reason.NOT_OFFERED,
        Reason.NOT_DICOM,
        Reason.TRANSFER_SYNTAX,
        Reason.SOP_CLASS,
        Reason.NO_INSTANCE,
        Reason.BURNED_IN,
        Reason.EMBEDDED,
        Reason.DOCUMENT,
        Reason.MODEL,
        Reason.DIRECTORY,
        Reason.SLIDE_LABEL,
        Reason.SAMPLES_TWICE,
        Reason.FACE,
    }
)

_EXPECTED = {
    Reason.NOT_DICOM: "a DICOM file with file meta information",
    Reason.UNREADABLE: "a file that can be opened",
    Reason.TRUNCATED: "elements that end within the file",
    Reason.MALFORMED: "elements encoded as PS3.5 says",
    Reason.TOO_DEEP: "sequences nested a few levels deep",
    Reason.TOO_LARGE: "a data set of bounded size once inflated",
    Reason.REPEATED_ELEMENT: "each element once",
    Reason.TRANSFER_SYNTAX: "a transfer syntax of PS3.5 whose pixel data can be walked",
    Reason.SOP_CLASS: "a class listed in keep.json",
    Reason.NO_INSTANCE: "a SOP class and a SOP instance UID",
    Reason.NO_IDENTITY: "a patient ID or a study UID",
    Reason.BURNED_IN: "an image declared or known to be free of burned-in text",
    Reason.EMBEDDED: "compressed frames that decode alike without their comments",
    Reason.DOCUMENT: "no document of another format: nobody looks into it",
    Reason.MODEL: "no model of a body's surface: it may be a face",
    Reason.DIRECTORY: "the files that a directory lists, not the directory: it names everybody",
    Reason.SLIDE_LABEL: "an image of the tissue alone: a slide's label says whose it is",
    Reason.SAMPLES_TWICE: "burned-in text or a face to remove, not both",
    Reason.FACE: "a series whose face was removed, and whose brain was left whole",
    Reason.UNVERIFIED: "an output that an independent reader finds clean",
    Reason.CONFLICT: "one content for one SOP instance UID, or one file for one name",
    Reason.NOT_OFFERED: "a kind of file of a BIDS dataset that is offered",
}


class QuarantinedError(UnparsableDicomError):
    """A file is left out, and nothing of it was written.

    Parameters
    ----------
    reason : Reason
        Which of the constants applies.
    """

    def __init__(self, reason: Reason) -> None:
        self.reason = reason
        super().__init__(
            "a DICOM file",
            got=reason.value,
            expected=_EXPECTED[reason],
            do="nothing of it was written; look at the source",
        )

    def __reduce__(self) -> tuple[type[QuarantinedError], tuple[Reason]]:
        return (QuarantinedError, (self.reason,))
