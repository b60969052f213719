"""What is known of one person before matching: pictures, gates, flags; and nothing of a match."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, ValidationError

from reidscope_site.snapshot import PhotoBox


class Flag(StrEnum):
    """What somebody may want to look at."""

    NO_PHOTO = "no photo"
    UNREADABLE_PHOTO = "photo cannot be read"
    NO_FACE = "no face found on the photo"
    SEVERAL_FACES = "several faces on the photo"
    MARKED = "face marked by hand"
    NO_FACE_IN_MARK = "no face found where the hand marked one"
    UNREADABLE_SCAN = "scan cannot be read as a head"
    NOT_REGISTERED = "registration not believed"
    NO_FACE_IN_SCAN = "no face found in the scan"
    GATE_FAILED = "a defacer's gate failed"
    NO_DEFACED_SCAN = "a defacer left no scan"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class PhotoView(_Part):
    """A photo, with every face that was found.

    Attributes
    ----------
    width, height : int
        Pixels of the upright photo; boxes are in them.
    picture : str
        JPEG in base64, reduced, without metadata.
    faces : tuple of boxes
        Found by the detector; of a photo that was marked there are none.
    marked : box or None
        Drawn by hand.
    """

    width: int
    height: int
    picture: str
    faces: tuple[PhotoBox, ...]
    marked: PhotoBox | None


class ArmView(_Part):
    """A scan in one arm.

    Attributes
    ----------
    arm : str
        Its name.
    picture : str
        Render of the face from the front, JPEG in base64; empty where nothing stands out.
    failed : tuple of str
        Gates that did not hold, in words; empty if it passed.
    comparison : bool
        Whether the arm means to leave the face: its gates are shown and not flagged.
    measured : str
        What the gates saw, in words; empty where nothing was defaced.
    detected : tuple of 2 floats, or None
        How sure the detector is of a face before and after, 0 to 1: for the record, no gate.
    """

    arm: str
    picture: str
    failed: tuple[str, ...]
    comparison: bool = False
    measured: str = ""
    detected: tuple[float, float] | None = None


class ScanView(_Part):
    """One scan.

    Attributes
    ----------
    chosen : str
        Which series of the person it is, and why.
    measured : str
        What the registration says.
    arms : tuple of ArmView
        `unmodified` first.
    """

    chosen: str
    measured: str
    arms: tuple[ArmView, ...]


class Sheet(_Part):
    """One person's part of the contact sheet.

    Attributes
    ----------
    person : str
        First characters of the pseudonym.
    asked : str
        Keyed digest of the person's files, the mark, the arms and the package: another one, and
        the person is looked at again.
    photo : PhotoView or None
        None without a readable photo.
    scans : tuple of ScanView
        As they would be attacked.
    flags : tuple of Flag
        What stands out.

    Privacy
    -------
    Pictures of a person's face: written into the site's own folder alone, never sent
    (docs/privacy.md, "What stays at the site").
    """

    person: str
    asked: str
    photo: PhotoView | None
    scans: tuple[ScanView, ...]
    flags: tuple[Flag, ...]


def read_sheet(content: bytes) -> Sheet | None:
    """Read a sheet that was written before; None if it is none of this version's."""
    try:
        return Sheet.model_validate_json(content)
    except ValidationError:
        return None
