"""What a hospital would know about a synthetic person: invented, and different for every seed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, time, timedelta

from reidscope_protocols.errors import InputError
from reidscope_site.synthetic.seeds import PersonSeed

_FAMILIES = [
    "Adewale",
    "Bergstrom",
    "Castellanos",
    "Dimitrov",
    "Eriksen",
    "Fontaine",
    "Grabowski",
    "Haraldsen",
    "Ivanova",
    "Jankowski",
    "Kowalczyk",
    "Lindqvist",
    "Marchetti",
    "Nakagawa",
    "Okonkwo",
    "Petrosyan",
    "Quintero",
    "Rasmussen",
    "Szymanski",
    "Takahashi",
    "Ulrichsen",
    "Vasquez",
    "Whitcombe",
    "Xanthos",
    "Yildirim",
    "Zamboni",
]
_GIVEN = [
    "Alma",
    "Bruno",
    "Carla",
    "Dario",
    "Elin",
    "Felix",
    "Greta",
    "Hugo",
    "Ines",
    "Jonas",
    "Karin",
    "Lukas",
    "Mira",
    "Nils",
    "Olga",
    "Pavel",
    "Rosa",
    "Stefan",
    "Tilda",
    "Viktor",
    "Wanda",
    "Yusuf",
    "Zofia",
    "Amir",
    "Bella",
    "Cyril",
]
_STREETS = [
    "Alder",
    "Birch",
    "Cedar",
    "Dogwood",
    "Elm",
    "Fir",
    "Gorse",
    "Hazel",
    "Juniper",
    "Linden",
    "Maple",
    "Rowan",
]
_TOWNS = ["Ashbourne", "Brindlewick", "Calderstone", "Dunmarsh", "Eastmere", "Fernhollow"]
_LABEL = re.compile(r"[a-z0-9][a-z0-9-]{0,11}")
_FIRST_SCAN = date(2019, 1, 7)
_DAYS_OF_SCANS = 1800
_YOUNGEST, _OLDEST = 21, 89


@dataclass(frozen=True, slots=True, kw_only=True)
class Particulars:
    """Identifiers of one synthetic person and examination: every field is in the DICOM files."""

    patient_id: str
    other_id: str
    family: str
    given: str
    sex: str
    born: date
    address: str
    telephone: str
    weight_kg: int
    scanned: date
    scanned_at: time
    accession: str
    institution: str
    institution_address: str
    referring: str
    radiologist: str
    operator: str
    device_serial: str
    station: str

    @property
    def age(self) -> int:
        """Whole years on the day of the scan."""
        before = (self.scanned.month, self.scanned.day) < (self.born.month, self.born.day)
        return self.scanned.year - self.born.year - before


def particulars(seed: PersonSeed, *, site: str) -> Particulars:
    """Invent a person.

    Parameters
    ----------
    seed : PersonSeed
        Who.
    site : str
        The hospital's label: at most 12 of a-z, 0-9 and -.

    Raises
    ------
    InputError
        If the label is none.
    """
    if not _LABEL.fullmatch(site):
        raise InputError(
            "a site's label", got="another", expected="1 to 12 of a-z, 0-9, -", do="choose another"
        )
    draw = seed.stream("particulars")

    def one(choices: list[str]) -> str:
        return choices[int(draw.integers(len(choices)))]

    scanned = _FIRST_SCAN + timedelta(days=int(draw.integers(_DAYS_OF_SCANS)))
    days_old = int(draw.integers(_YOUNGEST * 366, _OLDEST * 365))
    return Particulars(
        patient_id=f"{site.upper()}-{seed.number:06d}",
        other_id=f"INS{int(draw.integers(10**9)):09d}",
        family=one(_FAMILIES),
        given=one(_GIVEN),
        sex=one(["F", "M"]),
        born=scanned - timedelta(days=days_old),
        address=f"{int(draw.integers(1, 400))} {one(_STREETS)} Street, {one(_TOWNS)}",
        telephone=f"+00 555 {int(draw.integers(10**6)):06d}",
        weight_kg=int(draw.integers(48, 110)),
        scanned=scanned,
        scanned_at=time(int(draw.integers(7, 19)), int(draw.integers(60)), int(draw.integers(60))),
        accession=f"A{int(draw.integers(10**9)):09d}",
        institution=f"{site.title()} Memorial Hospital",
        institution_address=f"1 {one(_STREETS)} Square, {one(_TOWNS)}",
        referring=f"{one(_FAMILIES)}^{one(_GIVEN)}^^Dr",
        radiologist=f"{one(_FAMILIES)}^{one(_GIVEN)}^^Dr",
        operator=f"{one(_FAMILIES)}^{one(_GIVEN)}",
        device_serial=f"SN{int(draw.integers(10**6)):06d}",
        station=f"{site.upper()[:8]}-MR{int(draw.integers(1, 5))}",
    )
