"""New names for participants, sessions and files of a BIDS dataset.

A participant's label becomes the pseudonym that the same patient ID has in de-identified DICOM. A
label that the allow-list knows stays; any other (a date, a name, a ward) becomes a keyed code, the
same wherever it stands.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reidscope_deid.bids.allowed import Allowed, allowed
from reidscope_deid.reasons import QuarantinedError, Reason

if TYPE_CHECKING:
    from reidscope_deid.keys import SiteKey
    from reidscope_deid.pseudonyms import Person

_LABEL_DOMAIN = b"reidscope/deid/bids-label/v1"
_ENTITY = re.compile(r"([a-z0-9]+)-([^-_/]+)")
_NAME = re.compile(r"(?P<stem>[^/]+)_(?P<suffix>[A-Za-z0-9]+)(?P<ending>\.nii|\.nii\.gz|\.json)")
_CODE_CHARACTERS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageName:
    """A file name below `anat` or `pet`, taken apart.

    Attributes
    ----------
    subject, session : str
        Labels; `session` is empty where there is none.
    entities : tuple of (str, str)
        The others, in order.
    suffix : str
        Such as T1w.
    ending : str
        `.nii`, `.nii.gz` or `.json`.
    """

    subject: str
    session: str
    entities: tuple[tuple[str, str], ...]
    suffix: str
    ending: str


class Labels:
    """Renames under one key."""

    def __init__(self, key: SiteKey) -> None:
        self._key = key.branch(_LABEL_DOMAIN)
        self._allowed: Allowed = allowed()

    def label(self, entity: str, text: str) -> str:
        """Label that stays, or its code."""
        known = self._allowed.labels.get(entity)
        if known is not None and known.fullmatch(text):
            return text
        digest = hmac.digest(self._key, f"{entity}\0{text}".encode("utf-8", "replace"), "sha256")
        return f"x{digest.hex()[:_CODE_CHARACTERS]}"

    def image(self, name: ImageName, person: Person) -> str:
        """Give the new file name of an image or its sidecar."""
        session = [f"ses-{self.label('ses', name.session)}"] if name.session else []
        others = [f"{entity}-{self.label(entity, text)}" for entity, text in name.entities]
        stem = "_".join([f"sub-{participant(person)}", *session, *others, name.suffix])
        return stem + name.ending


def participant(person: Person) -> str:
    """Label of a person: BIDS allows letters and digits alone."""
    return person.pseudonym.replace("-", "")


def parse_image_name(name: str) -> ImageName:
    """Take a file name apart.

    Raises
    ------
    QuarantinedError
        It is none of an image that is offered.
    """
    match = _NAME.fullmatch(name)
    if match is None or match["suffix"] not in allowed().suffixes:
        raise QuarantinedError(Reason.NOT_OFFERED)
    pairs = [_ENTITY.fullmatch(part) for part in match["stem"].split("_")]
    entities = [(pair[1], pair[2]) for pair in pairs if pair is not None]
    named = dict(entities)
    if len(entities) != len(pairs) or len(named) != len(entities) or entities[0][0] != "sub":
        raise QuarantinedError(Reason.MALFORMED)
    return ImageName(
        subject=named["sub"],
        session=named.get("ses", ""),
        entities=tuple(pair for pair in entities if pair[0] not in {"sub", "ses"}),
        suffix=match["suffix"],
        ending=match["ending"],
    )
