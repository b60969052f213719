"""Everything as files: for air-gapped sites, and whenever the wire is not to be had.

export: decisions and releases, each as NAME.dsse.json     import: studies, receipts, constants,
                                                          changes of the coordinator's keys
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from reidscope_protocols.durable import write_durably
from reidscope_protocols.envelope import peek_type
from reidscope_protocols.errors import ConstantMismatchError, InputError, MalformedError
from reidscope_protocols.secure_sum import SumRound
from reidscope_protocols.statements import Receipt
from reidscope_protocols.study import Study
from reidscope_site.agent import Agent
from reidscope_site.following import CHANGES
from reidscope_site.journal import Event
from reidscope_site.taking_part import take_round

_PUBLIC = 0o644


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What one imported file turned out to be."""

    kind: str
    sha256: str


def export_statements(agent: Agent, folder: Path) -> tuple[Path, ...]:
    """Write every statement that this site ever signed for the coordinator.

    Privacy
    -------
    The very bytes that the wire would carry, and nothing else (docs/privacy.md, "The wire").

    Raises
    ------
    InputError
        The folder cannot be written.
    """
    agent.home.check_not_held()
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for item in agent.outbox.every():
            agent.sent.keep(f"exported-{item.kind}", item.envelope)
            name = f"{agent.config.name}-{item.kind}-{item.study_sha256[:12]}-{item.number}"
            write_durably(folder / f"{name}.dsse.json", item.envelope, mode=_PUBLIC)
            written.append(folder / f"{name}.dsse.json")
    except OSError:
        raise InputError(
            "export", got="a folder that cannot be written", expected="one", do="name another"
        ) from None
    agent.journal.write(Event.EXPORTED)
    return tuple(written)


def import_file(agent: Agent, path: Path) -> Imported:
    """Take in one file: a study or a receipt by its payload type, else a constant by its sha256.

    Raises
    ------
    StatementError
        A statement that does not hold.
    ConstantMismatchError
        Neither a statement nor a constant of any study that is here.
    InputError
        The file cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError:
        raise InputError(
            "import", got="a file that cannot be read", expected="a readable file", do="check it"
        ) from None
    try:
        kind = peek_type(content)
    except MalformedError:
        # No envelope at all: then it can only be a constant, which its sha256 decides.
        kind = ""
    if kind == Study.payload_type:
        study = agent.studies.receive(content)
        agent.journal.write(Event.STUDY_RECEIVED, study.sha256)
        return Imported(kind="study", sha256=study.sha256)
    if kind == Receipt.payload_type:
        agent.take_receipt(content)
        return Imported(kind="receipt", sha256=hashlib.sha256(content).hexdigest())
    sha256 = hashlib.sha256(content).hexdigest()
    if kind in CHANGES:
        return Imported(kind="change" if agent.follow(content) else "known change", sha256=sha256)
    if kind == SumRound.payload_type:
        take_round(agent, content)
        return Imported(kind="round of a secure sum", sha256=sha256)
    for study in agent.studies.every():
        for constant in study.statement.constants:
            if constant.sha256 == sha256:
                agent.keep_constant(content, constant)
                return Imported(kind=f"constant {constant.role}", sha256=sha256)
    raise ConstantMismatchError(
        "import",
        got=f"a file with sha256 {sha256[:16]}... that is no statement and no study's constant",
        expected="a study, a receipt, or a constant of a study that was imported before",
        do="import the study first, or ask the coordinator for the file that the study names",
    )
