"""The errors of reidscope, by whose fault they are and what to do about them.

    ReidscopeError                      1   the root: never raised itself
    ├── InvariantError                  5   reidscope contradicts itself: a defect of ours
    ├── InputError                     10   what a person handed to a command
    │   ├── NoDicomError               11   a folder without a readable DICOM image
    │   ├── LinkError                  12   a link file that cannot be followed
    │   ├── NoUsablePeopleError        13   an index that would hold nobody
    │   ├── ConfigError                14   a configuration, policy or key file
    │   ├── UnsupportedError           15   a choice that this version does not offer
    │   └── GeometryError              16   a series that is no volume
    ├── StatementError                 20   a signed statement or a constant
    │   ├── MalformedError             21   not the shape that its schema gives
    │   ├── BadSignatureError          22   not signed by whom it must be signed
    │   ├── StaleError                 23   not valid at this time
    │   ├── WrongAudienceError         24   meant for somebody else, or another study
    │   └── ConstantMismatchError      25   a file whose sha256 is not the study's
    ├── RefusalError                   30   the site's own, and a normal outcome
    │   ├── BudgetExhaustedError       31   an epsilon over what the policy file leaves
    │   ├── PolicyRefusalError         32   a study outside the site's policy
    │   ├── ConsentMissingError        33   no approval that binds this digest
    │   ├── OutcomeMissingError        34   a table that this site cannot release
    │   └── LedgerError                35   a ledger that does not hold together
    ├── EnrolmentError                 40   becoming a site
    │   ├── NotEnrolledError           41   no certificate and no pinned coordinator
    │   └── TokenRefusedError          42   unknown, used, expired or another site's
    ├── TransportError                 50   the wire
    │   ├── UnreachableError           51   nobody answers
    │   └── DeclinedCallError          52   the other side answers: not this
    ├── DeidError                      60   a file that could not be de-identified
    │   ├── UnparsableDicomError       61   fails closed: quarantined, never passed on
    │   ├── ResidualIdentifierError    62   the audit found something in the output
    │   ├── DefacerFailedError         63   a defacer of others left no defaced scan
    │   └── DefacerStoppedError        64   a defacer of others did not end, or did not start
    ├── AdmissionError                 70   the coordinator's own refusals
    │   ├── ReplayedError              71   a statement that was already superseded
    │   └── ImplausibleError           72   counts that no site of that size can have
    └── NotReadyError                  75   ask again later (EX_TEMPFAIL)

A message is one line: what, got, expected, what to do. It never holds the value of a DICOM element,
a name, or a path below the one that the user typed.
"""

from __future__ import annotations

from typing import ClassVar


class ReidscopeError(Exception):
    """Root of every error that reidscope raises on purpose."""

    exit_code: ClassVar[int] = 1


class Problem:
    """One line in four parts, so that no message forgets one of them."""

    __slots__ = ("do", "expected", "got", "what")

    def __init__(self, what: str, *, got: str, expected: str, do: str) -> None:
        self.what = what
        self.got = got
        self.expected = expected
        self.do = do

    def __str__(self) -> str:
        return f"{self.what}: got {self.got}, expected {self.expected}; {self.do}"


class DescribedError(ReidscopeError):
    """An error that says what, got, expected and what to do.

    Parameters
    ----------
    what : str
        What was looked at.
    got, expected : str
        What stood there and what should have stood there; never the value of a DICOM element,
        a name or a path.
    do : str
        What the reader does next.
    """

    def __init__(self, what: str, *, got: str, expected: str, do: str) -> None:
        self.problem = Problem(what, got=got, expected=expected, do=do)
        super().__init__(str(self.problem))

    def __reduce__(self) -> tuple[object, ...]:
        """Rebuild the error whole in another process: a worker's errors reach its parent."""
        parts = self.problem.what, self.problem.got, self.problem.expected, self.problem.do
        return _described, (type(self), *parts)


def _described(
    kind: type[DescribedError], what: str, got: str, expected: str, do: str
) -> DescribedError:
    return kind(what, got=got, expected=expected, do=do)


class InvariantError(DescribedError):
    """Reidscope contradicts itself: a defect of ours, nobody else's."""

    exit_code = 5


class InputError(DescribedError):
    """What a person handed to a command cannot be used."""

    exit_code = 10


class NoDicomError(InputError):
    """A folder holds no readable DICOM image."""

    exit_code = 11


class LinkError(InputError):
    """A link file cannot be followed."""

    exit_code = 12


class NoUsablePeopleError(InputError):
    """An index would hold nobody."""

    exit_code = 13


class ConfigError(InputError):
    """A configuration, policy or key file is wrong."""

    exit_code = 14


class UnsupportedError(InputError):
    """A choice that this version does not offer."""

    exit_code = 15


class GeometryError(InputError):
    """A series is no volume of a head."""

    exit_code = 16


class StatementError(DescribedError):
    """A signed statement or a constant of a study cannot be accepted."""

    exit_code = 20


class MalformedError(StatementError):
    """A statement has not the shape that its schema gives."""

    exit_code = 21


class BadSignatureError(StatementError):
    """A statement is not signed by whom it must be signed."""

    exit_code = 22


class StaleError(StatementError):
    """A statement is not valid at this time."""

    exit_code = 23


class WrongAudienceError(StatementError):
    """A statement is meant for somebody else, or speaks of another study."""

    exit_code = 24


class ConstantMismatchError(StatementError):
    """A constant's sha256 is not the one in the study."""

    exit_code = 25


class RefusalError(DescribedError):
    """The site refuses: a normal outcome."""

    exit_code = 30


class BudgetExhaustedError(RefusalError):
    """An epsilon is over what the site's policy file leaves."""

    exit_code = 31


class PolicyRefusalError(RefusalError):
    """A study lies outside the site's policy."""

    exit_code = 32


class ConsentMissingError(RefusalError):
    """No approval binds this study digest, package and policy."""

    exit_code = 33


class OutcomeMissingError(RefusalError):
    """A table that this site cannot release, or will not release again."""

    exit_code = 34


class LedgerError(RefusalError):
    """The ledger does not hold together; nothing is released until a person looks."""

    exit_code = 35


class EnrolmentError(DescribedError):
    """Becoming a site failed."""

    exit_code = 40


class NotEnrolledError(EnrolmentError):
    """The site holds no certificate and no pinned coordinator."""

    exit_code = 41


class TokenRefusedError(EnrolmentError):
    """A token is unknown, used, expired or another site's."""

    exit_code = 42


class TransportError(DescribedError):
    """The wire failed."""

    exit_code = 50


class UnreachableError(TransportError):
    """Nobody answers at that address."""

    exit_code = 51


class DeclinedCallError(TransportError):
    """The other side refuses what was sent to it."""

    exit_code = 52


class DeidError(DescribedError):
    """A file could not be de-identified."""

    exit_code = 60


class UnparsableDicomError(DeidError):
    """A file is not DICOM that can be walked to its end: quarantined, never passed on."""

    exit_code = 61


class ResidualIdentifierError(DeidError):
    """The audit found something in the output that the profile should have removed."""

    exit_code = 62


class DefacerFailedError(DeidError):
    """A defacer of others left something that is no defaced scan: says something of the scan."""

    exit_code = 63


class DefacerStoppedError(DeidError):
    """A defacer of others did not end in time, or did not start: says nothing of the scan."""

    exit_code = 64


class AdmissionError(DescribedError):
    """The coordinator refuses what a site sent."""

    exit_code = 70


class ReplayedError(AdmissionError):
    """A statement was already superseded."""

    exit_code = 71


class ImplausibleError(AdmissionError):
    """Counts that no site of that size can have."""

    exit_code = 72


class NotReadyError(DescribedError):
    """What was asked for is not there yet: ask again later."""

    exit_code = 75
