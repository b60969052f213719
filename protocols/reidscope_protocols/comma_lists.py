"""Lists as people type them on a command line: separated by commas."""

from __future__ import annotations

from reidscope_protocols.cohort import Modality
from reidscope_protocols.errors import InputError
from reidscope_protocols.vocabulary import Attacker


def words(text: str) -> tuple[str, ...]:
    """Split at commas; blanks around a word and empty words go."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def whole_numbers(text: str, what: str) -> tuple[int, ...]:
    """Read whole numbers; `what` names the option.

    Raises
    ------
    InputError
        Something else, or nothing.
    """
    typed = words(text)
    if not typed or not all(word.isascii() and word.isdigit() for word in typed):
        raise InputError(
            what,
            got="something that is no whole number, or nothing",
            expected="whole numbers separated by commas",
            do=f"correct --{what}",
        )
    return tuple(int(word) for word in typed)


def modalities(text: str) -> tuple[Modality, ...]:
    """Read what may be a scan, in the order of the vocabulary: two lists of one meaning are one.

    Raises
    ------
    InputError
        None, an unknown one, or one twice.
    """
    typed = [word.upper() for word in words(text)]
    if not typed or not set(typed) <= set(Modality) or len(set(typed)) < len(typed):
        raise InputError(
            "scans",
            got="none, an unknown modality, or one twice",
            expected="out of " + ", ".join(Modality),
            do="correct --scans",
        )
    return tuple(one for one in Modality if one in typed)


def attackers(text: str) -> tuple[Attacker, ...]:
    """Read attackers.

    Raises
    ------
    InputError
        None, or an unknown one.
    """
    known = [attacker.value for attacker in Attacker]
    typed = words(text)
    if not typed or not set(typed) <= set(known):
        raise InputError(
            "attackers",
            got="none, or an unknown one",
            expected="out of " + ", ".join(known),
            do="correct --attackers",
        )
    return tuple(map(Attacker, typed))
