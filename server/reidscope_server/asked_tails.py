"""What a person types about opt-in tables -> the questions of a study, with their public errors.

An edge of u, or a gallery size, that lies between two whose error the calibration knows takes the
larger of the two: it errs on the safe side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

from pydantic import ValidationError

from reidscope_protocols import comma_lists
from reidscope_protocols.errors import InputError
from reidscope_protocols.privacy import PrivacyLoss
from reidscope_protocols.statements import malformed
from reidscope_protocols.tail_tables import (
    FEWEST_FACES,
    PPM,
    Beyond,
    EdgeError,
    OpenSet,
    PooledTail,
    Scores,
    TailError,
)
from reidscope_protocols.vocabulary import Attacker


@dataclass(frozen=True, slots=True, kw_only=True)
class TailAnswers:
    """What a person decides about the opt-in tables of u and of larger galleries.

    Attributes
    ----------
    score_columns, beyond_columns : tuple of str
        Columns of the joint table that get a table each; only where something is asked of them.
    fmr_ppm : tuple of int
        False match rates, parts per million.
    open_set : tuple of tuple of int
        Gallery size and FPIR (parts per million).
    above : tuple of int
        Gallery sizes of the tabular thresholds.
    beyond_sizes : tuple of int
        Galleries larger than a tenth of the reference.
    epsilon : PrivacyLoss
        Of each of these tables, on top.
    """

    score_columns: tuple[str, ...] = ()
    fmr_ppm: tuple[int, ...] = ()
    open_set: tuple[tuple[int, int], ...] = ()
    above: tuple[int, ...] = ()
    beyond_columns: tuple[str, ...] = ()
    beyond_sizes: tuple[int, ...] = ()
    epsilon: PrivacyLoss = field(default_factory=lambda: PrivacyLoss(500_000_000))


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicTails:
    """What a calibration says about u and about strangers' tails.

    Attributes
    ----------
    sigma_edges : mapping
        Count of faces to sigma_G of the share beaten by no more, parts per million.
    pairs : mapping
        Reading (`arm/attacker`) to the public pairs that its tail was estimated from.
    spread : mapping
        Reading, then model, then gallery size, to what few probes add there, parts per million.
    """

    sigma_edges: Mapping[int, int] = field(default_factory=dict)
    pairs: Mapping[str, int] = field(default_factory=dict)
    spread: Mapping[str, Mapping[str, Mapping[int, int]]] = field(default_factory=dict)


def scores_asked(answers: TailAnswers, held: PublicTails, *, reference_size: int) -> Scores | None:
    """Write down the questions to the tables of u; None where nothing is asked.

    Raises
    ------
    InputError
        Rates that the reference cannot measure, or a calibration that knows no error of u.
    """
    if not (answers.fmr_ppm or answers.open_set or answers.above):
        return None
    try:
        asked = Scores(
            columns=answers.score_columns,
            fmr_ppm=answers.fmr_ppm,
            open_set=tuple(OpenSet(gallery_size=n, fpir_ppm=ppm) for n, ppm in answers.open_set),
            above=answers.above,
        )
    except ValidationError as error:
        raise malformed("tables of u", error) from None
    if min((*answers.above, FEWEST_FACES)) < 2:  # noqa: PLR2004 (a gallery holds one stranger)
        raise InputError(
            "above",
            got="a gallery of fewer than 2",
            expected="gallery sizes of the study",
            do="correct --above",
        )
    edges = asked.edges(reference_size)
    if edges[0] < FEWEST_FACES:
        raise InputError(
            "tables of u",
            got=f"a false match rate that {edges[0]} of {reference_size} public faces stand for",
            expected=f"at least {FEWEST_FACES} faces: rates from "
            f"{FEWEST_FACES / reference_size:.6f} on (rule of 30)",
            do="ask for a larger rate or a smaller gallery, or build a larger reference",
        )
    if not held.sigma_edges:
        raise InputError(
            "tables of u",
            got="a calibration that does not say what one gallery adds to their error",
            expected="one with sigma_edges",
            do="build the reference again with this version",
        )
    return asked.model_copy(
        update={
            "edge_error": tuple(
                EdgeError(faces=edge, sigma_ppm=_sigma(edge, held.sigma_edges)) for edge in edges
            )
        }
    )


def _tail_error(size: int, spread: Mapping[str, Mapping[int, int]]) -> TailError:
    return TailError(
        gallery_size=size,
        gpd_ppm=_sigma(size, spread["gpd"]),
        normal_ppm=_sigma(size, spread["normal"]),
    )


def _sigma(edge: int, known: Mapping[int, int]) -> int:
    """Return the larger of the errors that are known on either side of an edge."""
    below = max((faces for faces in known if faces <= edge), default=min(known))
    beyond = min((faces for faces in known if faces >= edge), default=max(known))
    return max(known[below], known[beyond])


def beyond_asked(
    answers: TailAnswers, held: PublicTails, attackers: Sequence[Attacker]
) -> Beyond | None:
    """Write down the questions beyond the reference; None where nothing is asked.

    Parameters
    ----------
    answers, held
        What was typed, and what is public.
    attackers : sequence of Attacker
        The study's; the first one's columns are named by their arm alone.

    Raises
    ------
    InputError
        A column whose strangers' tail is not public.
    """
    if not answers.beyond_sizes or not attackers:
        return None
    names = {
        column: column if "/" in column else f"{column}/{attackers[0]}"
        for column in answers.beyond_columns
    }
    without = [column for column, name in names.items() if name not in held.spread]
    if without:
        raise InputError(
            "galleries beyond the reference",
            got="columns without a public tail of strangers' scores: " + ", ".join(without),
            expected="columns out of those with one: " + (", ".join(sorted(held.spread)) or "none"),
            do="build a reference with at least 100,000 public pairs, or leave them out",
        )
    try:
        return Beyond(
            tails=tuple(
                PooledTail(
                    column=column,
                    pairs=held.pairs[name],
                    error=tuple(
                        _tail_error(size, held.spread[name]) for size in answers.beyond_sizes
                    ),
                )
                for column, name in names.items()
            ),
            gallery_sizes=answers.beyond_sizes,
        )
    except ValidationError as error:
        raise malformed("galleries beyond the reference", error) from None


def read_answers(
    *,
    scores: str,
    fmr: str,
    open_set: str,
    above: str,
    beyond: str,
    beyond_sizes: str,
    epsilon: str,
) -> TailAnswers:
    """Read what was typed on a command line; empty text asks for nothing.

    Raises
    ------
    InputError
        Something else than rates, N:FPIR pairs and gallery sizes.
    """
    return TailAnswers(
        score_columns=comma_lists.words(scores),
        fmr_ppm=tuple(_rate(word, "fmr") for word in comma_lists.words(fmr)),
        open_set=tuple(_point(word) for word in comma_lists.words(open_set)),
        above=comma_lists.whole_numbers(above, "above") if above.strip() else (),
        beyond_columns=comma_lists.words(beyond),
        beyond_sizes=comma_lists.whole_numbers(beyond_sizes, "beyond-sizes")
        if beyond_sizes.strip()
        else (),
        epsilon=PrivacyLoss.asked_for(epsilon),
    )


def _point(word: str) -> tuple[int, int]:
    size, colon, fpir = word.partition(":")
    if not colon:
        raise _mistyped("open-set", "N:FPIR, such as 100:0.3")
    (number,) = comma_lists.whole_numbers(size, "open-set")
    return number, _rate(fpir, "open-set")


def _rate(word: str, option: str) -> int:
    """Read a rate between 0 and 1 as parts per million, without a rest."""
    try:
        ppm = Decimal(word) * PPM
        whole = ppm == ppm.to_integral_value()
    except InvalidOperation:
        raise _mistyped(option, "a rate such as 0.01") from None
    if not whole or not 0 < ppm < PPM:
        raise _mistyped(option, "rates between 0 and 1 in whole parts per million")
    return int(ppm)


def _mistyped(option: str, expected: str) -> InputError:
    return InputError(option, got="something else", expected=expected, do=f"correct --{option}")
