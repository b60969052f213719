"""How a command-line defacer is called: a few lines of TOML.

    name = "pydeface"
    intent = "removed"                      # or "replaced"
    format = "nifti"                        # or "dicom": a folder of slices
    command = ["pydeface", "{input}", "--outfile", "{output}", "--force"]
    version = ["pydeface", "--version"]     # left out: the program's sha256 stands for it
    expects = "2.1.0"                       # what it must say; left out: any version will do
    timeout_s = 900
    outputs = ["defaced.nii.gz"]            # the first that exists is read
    environment = ["FSLDIR"]                # passed on; nothing else is, but PATH and a locale

Placeholders: `{input}`, `{output}` (the first of `outputs`), `{folder}` (the private folder of the
run), `{brain_mask}` (a file with the registered average brain, written only if asked for),
`{timeout_s}` and `{env.NAME}` (a variable listed under `environment`; also in `version`).
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from reidscope_protocols.errors import ConfigError, UnsupportedError
from reidscope_protocols.programs import VERSION

_PLACEHOLDER = re.compile(r"\{([a-z_]+|env\.[A-Z][A-Z0-9_]*)\}")
_KNOWN = frozenset({"input", "output", "folder", "brain_mask", "timeout_s"})
_LARGEST_BYTES = 1 << 16
_SUFFIX = ".toml"

Word = Annotated[str, Field(min_length=1, max_length=1000)]


class Description(BaseModel):
    """A command-line defacer. Attributes: see the module.

    Attributes
    ----------
    about : str
        For people.
    needs : list of str
        Further programs without which it does not run.
    expects : str
        Version that the program must say (or "sha256:" and 16 digits, of one that says none):
        another one is refused when a study is approved.
    input_name : str
        Name of the scan's file in the private folder; of the folder, for DICOM. An input that the
        program changes in place is also named under `outputs`.
    not_a_number_is_air : bool
        Whether voxels that are no numbers were emptied (SPM); else they are refused.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]
    about: str = ""
    intent: Literal["removed", "replaced"]
    format: Literal["nifti", "dicom"] = "nifti"
    command: Annotated[list[Word], Field(min_length=1)]
    needs: list[Word] = []
    version: list[Word] = []
    expects: Annotated[str, Field(max_length=80, pattern=f"^(|{VERSION})$")] = ""
    timeout_s: Annotated[int, Field(ge=1, le=86_400)] = 900
    input_name: Word = "scan.nii.gz"
    outputs: Annotated[list[Word], Field(min_length=1)]
    not_a_number_is_air: bool = False
    environment: list[Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")]] = []

    @field_validator("input_name", "outputs")
    @classmethod
    def _inside(cls, names: str | list[str]) -> str | list[str]:
        for name in [names] if isinstance(names, str) else names:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts:
                raise ValueError("a name that leaves the private folder")
        return names

    @model_validator(mode="after")
    def _filled(self) -> Description:
        said = self.placeholders
        unknown = said - _KNOWN - {f"env.{name}" for name in self.environment}
        if unknown:
            raise ValueError("an unknown placeholder, or a variable not under `environment`")
        if not said & {"input", "folder"}:
            raise ValueError("a command without {input}")
        return self

    @property
    def placeholders(self) -> frozenset[str]:
        """Names in braces of the command."""
        return frozenset(name for word in self.command for name in _PLACEHOLDER.findall(word))

    @property
    def sha256(self) -> str:
        """Digest of what the description says, in hexadecimal; words for people do not count."""
        text = json.dumps(self.model_dump(mode="json", exclude={"about"}), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def filled(words: Sequence[str], values: Mapping[str, str]) -> list[str]:
    """Replace every placeholder of a command, once; one without a value by nothing."""
    return [_PLACEHOLDER.sub(lambda match: values.get(match[1], ""), word) for word in words]


def described(name: str, *, own: Path | None = None) -> Description:
    """Find a description: the site's own first, then the shipped.

    Parameters
    ----------
    name : str
        Of the defacer.
    own : Path, optional
        A TOML file, or a folder of such.

    Raises
    ------
    UnsupportedError
        None of that name.
    ConfigError
        It is no description.
    """
    found = descriptions(own=own)
    if name not in found:
        raise UnsupportedError(
            "the external defacer",
            got="a name without a description",
            expected=" or ".join(sorted(found)),
            do="choose one, or describe it in a TOML file",
        )
    return found[name]


def descriptions(*, own: Path | None = None) -> dict[str, Description]:
    """Read every description, the shipped and the site's own, by name."""
    shipped = resources.files(__package__).joinpath("descriptions")
    texts = [
        entry.read_text("utf-8") for entry in shipped.iterdir() if entry.name.endswith(_SUFFIX)
    ]
    if own is not None:
        texts += [
            _text(path) for path in (sorted(own.glob("*" + _SUFFIX)) if own.is_dir() else [own])
        ]
    read = [_parsed(text) for text in texts]
    return {one.name: one for one in read}


def _text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as stream:
            return stream.read(_LARGEST_BYTES)
    except (OSError, UnicodeDecodeError):
        raise _malformed("a file that cannot be read") from None


def _parsed(text: str) -> Description:
    try:
        return Description.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError:
        raise _malformed("no TOML") from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise _malformed(f"{first['type']} at {where}") from None


def _malformed(got: str) -> ConfigError:
    return ConfigError(
        "the description of an external defacer",
        got=got,
        expected="name, intent, format, command, outputs as the documentation shows",
        do="correct it",
    )
