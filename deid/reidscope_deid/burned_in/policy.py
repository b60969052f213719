"""What is done with which image: rules by class, modality and image type, and zones by device.

    burned_in_policy.toml -> rules, the first that fits counts
    burned_in_zones.toml  -> rectangles that a device writes into, blanked whatever is in them

Both are data, and a site may pass its own. No detector of text that was measured finds low-contrast
text over texture, so a rule that has a file looked at also says whether a person looks at it after
the detector (`review`); a file that is not free of it by its making is never called clean.
"""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from reidscope_deid.burned_in.mask import Box
from reidscope_protocols.errors import ConfigError

if TYPE_CHECKING:
    from reidscope_deid.burned_in.image import ImageFacts

_POLICY_SCHEMA = "reidscope.burned-in-policy/1"
_ZONES_SCHEMA = "reidscope.burned-in-zones/1"
_LIMIT = 1 << 20  # bytes
_Uid = Annotated[str, Field(pattern=r"^[0-9.]{1,64}$")]
_Pattern = Annotated[str, Field(min_length=1, max_length=64)]
_Edge = Annotated[int, Field(ge=0, le=65535)]
_Shape = TypeVar("_Shape", bound=BaseModel)

Action = Literal["trust", "detect", "blank-outside-regions", "refuse"]
"""trust: not looked at. detect: zones and detector. blank-outside-regions: the same, and whatever
lies outside the ultrasound regions too. refuse: left out."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class Conditions(_Strict):
    """Which images a rule or a zone is for: all that is given must fit, and any one value of each.

    Attributes
    ----------
    sop_class : list of str
        UIDs.
    modality, image_type, manufacturer, model : list of str
        Shell patterns, upper or lower case alike; `image_type` is compared with each value.
    rows, columns : int or None
        Exact.
    """

    sop_class: list[_Uid] = []
    modality: list[_Pattern] = []
    image_type: list[_Pattern] = []
    manufacturer: list[_Pattern] = []
    model: list[_Pattern] = []
    rows: _Edge | None = None
    columns: _Edge | None = None

    def fit(self, image: ImageFacts) -> bool:
        """Whether these conditions are met."""
        exact = ((self.rows, image.rows), (self.columns, image.columns))
        return (
            (not self.sop_class or image.sop_class in self.sop_class)
            and _like(self.modality, (image.modality,))
            and _like(self.image_type, image.image_type)
            and _like(self.manufacturer, (image.manufacturer,))
            and _like(self.model, (image.model,))
            and all(wanted is None or wanted == got for wanted, got in exact)
        )

    @property
    def fit_all(self) -> bool:
        """Whether every image meets them."""
        return not any(self.model_dump(exclude={"why", "action", "review", "source"}).values())


class Rule(Conditions):
    """What is done with images of one kind.

    Attributes
    ----------
    why : str
        For a reader.
    action : Action
        What is done.
    review : bool
        Whether a person looks at every output of this rule.
    """

    why: str
    action: Action
    review: bool

    @model_validator(mode="after")
    def _nothing_to_review(self) -> Self:
        if self.review and self.action in ("trust", "refuse"):
            raise ValueError("what is not looked at or left out is not on the review list")
        return self


class DetectorSettings(_Strict):
    """How the detector is used.

    Attributes
    ----------
    frames : int
        Frames of a clip that are looked at: all of them up to here, else so many evenly spaced,
        with the largest and the smallest value of each pixel over all frames. What is found in
        one is blanked in every frame.
    margin : int
        Pixels added on every side of what is found.
    largest_share : float
        Share of the image, 0 to 1. More found text than this is no text: the file is refused.
    rounds : int
        How often what is still found after blanking is blanked with a wider margin, before the file
        is refused.
    fine_contrast : bool
        Look at fine contrast alone too; doubles the time.
    inverted : bool
        Look at the negative too; doubles the time.
    """

    frames: Annotated[int, Field(ge=1, le=10_000)] = 16
    margin: Annotated[int, Field(ge=0, le=64)] = 4
    largest_share: Annotated[float, Field(gt=0, le=1)] = 0.5
    rounds: Annotated[int, Field(ge=0, le=8)] = 4
    fine_contrast: bool = True
    inverted: bool = False


class PolicyFile(_Strict):
    """What stands in a policy file.

    Attributes
    ----------
    schema_name : str
        Names the shape of the file.
    name, about : str
        For a reader.
    detector : DetectorSettings
        How the detector is used.
    rule : list of Rule
        The first that fits counts; the last fits every image.
    """

    schema_name: Annotated[Literal["reidscope.burned-in-policy/1"], Field(alias="schema")]
    name: str
    about: str = ""
    detector: DetectorSettings = DetectorSettings()
    rule: Annotated[list[Rule], Field(min_length=1)]

    @model_validator(mode="after")
    def _fits_every_image(self) -> Self:
        if not self.rule[-1].fit_all or self.rule[-1].action == "trust":
            raise ValueError("the last rule is for every image, and trusts none")
        return self


class Zone(Conditions):
    """Where a device writes.

    Attributes
    ----------
    source : str
        Who says so.
    blank : list of (top, left, height, width)
        In pixels, from the upper left corner.
    """

    source: Annotated[str, Field(min_length=1)]
    blank: Annotated[
        list[Annotated[list[_Edge], Field(min_length=4, max_length=4)]], Field(min_length=1)
    ]

    @model_validator(mode="after")
    def _is_of_one_device(self) -> Self:
        if self.rows is None or not self.model:
            raise ValueError("a zone is for one model and one number of rows")
        return self


class ZonesFile(_Strict):
    """What stands in a file of zones.

    Attributes
    ----------
    schema_name : str
        Names the shape of the file.
    about : str
        For a reader.
    zone : list of Zone
        All that fit are blanked.
    """

    schema_name: Annotated[Literal["reidscope.burned-in-zones/1"], Field(alias="schema")]
    about: str = ""
    zone: list[Zone] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelPolicy:
    """Rules, zones and the detector's settings, as they are applied.

    Attributes
    ----------
    name : str
        Of the policy file.
    rules : tuple of Rule
        In order.
    zones : tuple of Zone
        Of devices.
    detector : DetectorSettings
        How the detector is used.
    """

    name: str
    rules: tuple[Rule, ...]
    zones: tuple[Zone, ...]
    detector: DetectorSettings

    @property
    def digest(self) -> str:
        """SHA-256 of what it says: another one gives other outputs."""
        parts = [*self.rules, *self.zones, self.detector]
        text = "\n".join(part.model_dump_json() for part in parts)
        return hashlib.sha256(text.encode()).hexdigest()

    def rule_for(self, image: ImageFacts) -> Rule:
        """Find the rule for an image; the last rule of a file is for every image."""
        return next(rule for rule in self.rules if rule.fit(image))

    def zones_for(self, image: ImageFacts) -> list[Box]:
        """Rectangles that are blanked, whatever is in them."""
        return [
            Box(top, left, top + height, left + width)
            for zone in self.zones
            if zone.fit(image)
            for top, left, height, width in zone.blank
        ]


def load_policy(policy: Path | None = None, zones: Path | None = None) -> PixelPolicy:
    """Read the policy and the zones.

    Parameters
    ----------
    policy, zones : Path or None
        A site's own files; None for the shipped ones.

    Raises
    ------
    ConfigError
        A file that cannot be used.
    """
    rules = _parsed(PolicyFile, _text(policy, "burned_in_policy.toml"), _POLICY_SCHEMA)
    places = _parsed(ZonesFile, _text(zones, "burned_in_zones.toml"), _ZONES_SCHEMA)
    return PixelPolicy(
        name=rules.name,
        rules=tuple(rules.rule),
        zones=tuple(places.zone),
        detector=rules.detector,
    )


def _text(path: Path | None, shipped: str) -> str:
    if path is None:
        return files("reidscope_deid").joinpath("data", shipped).read_text("utf-8")
    try:
        with path.open("rb") as stream:
            content = stream.read(_LIMIT + 1)
        if len(content) > _LIMIT:
            raise _unusable("a file that large", shipped)
        return content.decode("utf-8")
    except (OSError, UnicodeDecodeError):
        raise _unusable("a file that cannot be read", shipped) from None


def _parsed(shape: type[_Shape], text: str, schema: str) -> _Shape:
    try:
        return shape.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise _unusable(f"no TOML ({error})", schema) from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise _unusable(f"{place}: {first['msg']}", schema) from None


def _unusable(got: str, expected: str) -> ConfigError:
    return ConfigError(
        "the file on burned-in text",
        got=got,
        expected=f"a file like the shipped {expected}",
        do="start from a copy of the shipped one",
    )


def _like(patterns: list[str], values: tuple[str, ...]) -> bool:
    return not patterns or any(
        fnmatchcase(value.upper(), pattern.upper()) for pattern in patterns for value in values
    )
