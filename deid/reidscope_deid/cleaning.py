"""Free text reduced to what is known to name nobody, and a count of what was left out and why.

    text -> tokens (what each looks like) -> those that are public -> again, until nothing changes

What is kept: words of words.json, numbers of one digit that stand alone, and measures ("5 mm",
"1.5T", "TE 20"): a number of at most four digits with its unit or its parameter. Words and numbers
that stand in the headers of the person's files go whatever they are. All else goes: dates, numbers,
phones, addresses, mail, names, and words that nobody has listed.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from reidscope_deid.vocabulary import WORD, load_words, load_words_of_names

if TYPE_CHECKING:
    from collections.abc import Iterator

_MONTH = (
    rb"(?:JAN(?:UARY)?|FEB(?:RUARY)?|MAR(?:CH)?|APR(?:IL)?|MAY|JUNE?|JULY?|AUG(?:UST)?"
    rb"|SEPT?(?:EMBER)?|OCT(?:OBER)?|NOV(?:EMBER)?|DEC(?:EMBER)?)"
)
_DAY = rb"(?:MON|TUES|WEDNES|THURS|FRI|SATUR|SUN)DAY"
_START, _END = rb"(?<![0-9A-Z])", rb"(?![0-9A-Z])"
_LETTERS = rb"[A-Z\x80-\xff'-]{1,40}"
_TITLE = rb"(?:DR|PROF|PROFESSOR|DOCTOR|MRS|MISS|HERR|FRAU|SIR|MME|NURSE|SIGNED|NAMED?|MR\.|MS\.)"
_UNIT = (
    rb"(?:MM[23]?|CM[23]?|T|TESLA|DEG|DEGREES?|MS|MSEC|SEC|S|ML|CC|MG|K?HZ|MHZ|KVP?|MAS?|KEV|MGY|HU"
    rb"|PPM)"
)
_PARAMETER = rb"(?:TE|TR|TI|FA|B|ETL|NEX|NSA|MB|GRAPPA|SENSE)"
# Bounded, each of them: nobody's text takes long, whatever is in it.
_PATTERNS = (
    ("mail", rb"[^\s<>(),;]{1,64}@[^\s<>(),;]+|(?:HTTPS?|FTP)://\S+|WWW\.\S+"),
    (
        "date",
        _START + rb"(?:19|20)\d\d[-./ ]?(?:0?[1-9]|1[0-2])[-./ ]?(?:0?[1-9]|[12]\d|3[01])" + _END
        + rb"|" + _START + rb"\d{1,2}[-./]\d{1,2}[-./]\d{2,4}" + _END
        + rb"|" + _START + rb"\d{1,2}(?:ST|ND|RD|TH)?[-., ]*" + _MONTH + _END
        + rb"(?:[-., ]*\d{2,4})?"
        + rb"|" + _START + _MONTH + rb"[-., ]*\d{1,4}" + _END + rb"(?:[-., ]+\d{2,4})?"
        + rb"|" + _START + rb"\d{1,2}:\d\d(?::\d\d(?:\.\d+)?)?(?: ?[AP]M" + _END + rb")?"
        + rb"|" + _START + _DAY + _END,
    ),
    (
        "measure",
        _START + rb"(?P<amount>\d+(?:[.,]\d+)?) ?(?P<unit>" + _UNIT + rb")" + _END
        + rb"|" + _START + rb"(?P<parameter>" + _PARAMETER + rb") ?[=:]? ?(?P<level>\d+(?:\.\d+)?)"
        + rb"(?![0-9A-Z]|[.,:/-]\d)",
    ),
    ("phone", rb"\+?\(?\d(?:[ ()/.-]{0,3}\d){5,}" + _END),
    (
        "address",
        _START + rb"P\.?\s?O\.?\s?BOX\s?\d*"
        + rb"|" + _START + rb"\d{1,5}[A-Z]?,? (?:" + _LETTERS + rb"[ .]+){1,3}?"
        rb"(?:STREET|ST|ROAD|RD|AVENUE|AVE|LANE|DRIVE|COURT|WAY|BOULEVARD|BLVD)" + _END
        + rb"|[A-Z\x80-\xff-]{3,40}(?:STRASSE|STR|WEG|PLATZ|GASSE|ALLEE|STRAAT|LAAN)\.? ?"
        + rb"\d{1,4}[A-Z]?" + _END
        + rb"|" + _START + rb"(?:RUE|CALLE|PIAZZA|PLAZA) (?:" + _LETTERS + rb" ?){1,3}",
    ),
    (
        "name",
        rb"[^\s^]{1,64}(?:\^[^\s^]*)+"
         rb"|" + _START + _TITLE + rb"[.:=, ]+(?:" + _LETTERS + rb"\.?[ ,]*){1,2}"
        + rb"|" + _START + rb"(?:BY|PATIENT[:=]) *" + _LETTERS
        + rb"|" + _START + rb"[A-KM-QS-Z]\. ?(?P<surname>[A-Z]{2,})",
    ),
    ("number", rb"\d+(?:[.,:/-]\d+)+" + _END),
    ("word", rb"[0-9A-Z\x80-\xff]+"),
)  # fmt: skip
_CONTRAST = rb"[ _-]+(?:C|CONTRAST|GAD|IV|KM)" + _END
_WITH = re.compile(
    _START + rb"(?:W/(?!O" + _END + rb")|W(?=[ _-]+WO" + _END + rb")|W(?=" + _CONTRAST + rb")"
    rb"|(?:MIT|AVEC)" + _END + rb")",
    re.IGNORECASE,
)
_WITHOUT = re.compile(
    _START + rb"(?:(?:W/O|W\.O\.|OHNE|SANS|SENZA|SIN)" + _END + rb"|WO(?=" + _CONTRAST + rb"))"
    rb"|(?:(?<=WITH )|(?<=WITH  ))WO" + _END,
    re.IGNORECASE,
)
"""A text that loses these says the opposite; the words that they become name nobody."""
_TOKEN = re.compile(b"|".join(b"(?P<%b>%b)" % (kind.encode(), one) for kind, one in _PATTERNS))
_DIGITS_OF_MEASURE = 4
_YEARS = range(1850, 2101)
_ROUND = 50  # a round number of milliseconds or of s/mm2 is no year
_LONG = 6  # bytes of a known word that is looked for across words too
OWN = "own-identifier"
_WHY = {"digit": "number", "measure": "number"}


class _Token(NamedTuple):
    """One piece of a text, and what it may be: `kept` is what would be written of it."""

    kind: str
    kept: bytes
    numeric: bool


def clean(value: bytes, known: frozenset[bytes]) -> bytes:
    """Reduce a text to public words and measures.

    Parameters
    ----------
    value : bytes
        As in the file.
    known : frozenset of bytes
        From `known_words`.

    Returns
    -------
    bytes
        In upper case, in order; often nothing.
    """
    return cleaned(value, known)[0]


def cleaned(value: bytes, known: frozenset[bytes]) -> tuple[bytes, Counter[str]]:
    """Reduce a text as `clean` does, and count what was left out by why.

    Returns
    -------
    tuple of (bytes, Counter)
        The text, and pieces left out: ``own-identifier``, ``date``, ``number``, ``phone``,
        ``mail``, ``address``, ``name``, ``word``. Never a piece itself.
    """
    left_out: Counter[str] = Counter()
    before = _WITHOUT.sub(b"WITHOUT", _WITH.sub(b"WITH ", value))
    while True:
        # Again: what stands side by side now may mean something that it did not before.
        after = _once(before, known, left_out)
        if after == before:
            return after, left_out
        before = after


def is_clean(value: bytes) -> bool:
    """Whether `clean` could have written this value."""
    return clean(value, frozenset()) == value.strip(b" \0")


def foreign_words(value: bytes) -> set[bytes]:
    """Words of a text that `clean` does not keep, whosever it is."""
    stay = set(WORD.findall(clean(value, frozenset())))
    words = load_words()
    return {
        word
        for word in WORD.findall(value)
        if word.upper() not in words and not any(word.upper() in one for one in stay)
    }


def _once(value: bytes, known: frozenset[bytes], left_out: Counter[str]) -> bytes:
    tokens = list(_tokens(value))
    kept: list[bytes] = []
    for index, token in enumerate(tokens):
        before = tokens[index - 1] if index else None
        after = tokens[index + 1] if index + 1 < len(tokens) else None
        if token.kept and _is_known(token.kept, known):
            left_out[OWN] += 1
        elif not token.kept or not _fits(token, before, after):
            left_out[_WHY.get(token.kind, token.kind)] += 1
        else:
            kept.append(token.kept)
    return b" ".join(_without_runs(kept, known, left_out))


def _tokens(value: bytes) -> Iterator[_Token]:
    upper, words = value.upper(), load_words()
    for found in _TOKEN.finditer(upper):
        kind = str(found.lastgroup)
        raw = found[0]
        if found["measure"]:
            yield _measure(found)
        elif found["surname"]:
            # An initial in front of a word that is nobody's name is no initial.
            surname = found["surname"]
            named = surname in load_words_of_names() or surname not in words
            yield _Token("name" if named else "word", b"" if named else surname, numeric=False)
        elif kind != "word":
            yield _Token(kind, b"", numeric=kind in ("date", "phone", "number"))
        elif raw in words:
            yield _Token("word", raw, numeric=False)
        elif raw.isdigit() and len(raw) == 1:
            yield _Token("digit", raw, numeric=True)
        elif any(character in b"0123456789" for character in raw):
            yield _Token("number", b"", numeric=True)
        else:
            own = value[found.start() : found.end()]
            yield _Token("name" if own.istitle() else "word", b"", numeric=False)


def _measure(found: re.Match[bytes]) -> _Token:
    number = (found["amount"] or found["level"]).replace(b",", b".")
    digits = number.replace(b".", b"")
    whole = number.split(b".", maxsplit=1)[0]
    listed = found[0] in load_words()
    sound = (
        len(digits) <= _DIGITS_OF_MEASURE
        and (whole == b"0" or not whole.startswith(b"0"))
        and not (int(digits) in _YEARS and int(digits) % _ROUND)
    )
    if not sound and not listed:
        return _Token("number", b"", numeric=True)
    parts = (number, found["unit"]) if found["unit"] else (found["parameter"], number)
    return _Token("measure", b"".join(parts), numeric=False)


def _fits(token: _Token, before: _Token | None, after: _Token | None) -> bool:
    """Whether a token may stand where it stands: a number beside a number is part of a longer one.

    A word that is also a name needs one of its own company.
    """
    if token.kind in {"digit", "measure"}:
        first = token.kept[:1].isdigit()
        return not (
            (before is not None and before.numeric and first)
            or (after is not None and after.numeric and not token.kept[-1:].isalpha())
        )
    company = load_words_of_names().get(token.kept)
    if not company:
        return True
    return any(one is not None and one.kept in company for one in (before, after))


def _is_known(kept: bytes, known: frozenset[bytes]) -> bool:
    if not known:
        return False
    digits = bytes(character for character in kept if character in b"0123456789.")
    return kept in known or (bool(digits) and not known.isdisjoint([*digits.split(b"."), digits]))


def _without_runs(
    kept: list[bytes], known: frozenset[bytes], left_out: Counter[str]
) -> Iterator[bytes]:
    """Leave out words that together spell a known one."""
    run = b"".join(kept)
    spans = [
        (at.start(), at.end())
        for word in known
        if len(word) >= _LONG
        for at in re.finditer(re.escape(word), run)
    ]
    at = 0
    for word in kept:
        stop = at + len(word)
        if any(start < stop and at < end for start, end in spans):
            left_out[OWN] += 1
        else:
            yield word
        at = stop
