"""Files of one person in, de-identified files out: what the site's agent calls.

Each output is written beside its final place, read again by an independent reader, and only then
renamed: a reader of the folder never sees half a file, or one that was not verified.
"""

from __future__ import annotations

import mmap
import os
import secrets
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from reidscope_deid.known import KnownWords, known_in
from reidscope_deid.part10 import NewFile, Worked, deidentify_opened, open_part10
from reidscope_deid.pseudonyms import Namer, Pseudonym
from reidscope_deid.reasons import QuarantinedError, Reason
from reidscope_deid.record import Record, make_record
from reidscope_deid.repeats import Repeats
from reidscope_deid.second_reader import SecondReader
from reidscope_deid.uids import UidMap
from reidscope_protocols.durable import sync_folder
from reidscope_protocols.errors import DeidError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from reidscope_deid.elements import Buffer
    from reidscope_deid.engine import Piece
    from reidscope_deid.keys import SiteKey
    from reidscope_deid.pixel_change import PixelStage
    from reidscope_deid.profile import Profile
    from reidscope_deid.sealing import Seal

_CHUNK = 1 << 20  # bytes
_MAPPED_FROM = 16 << 20  # bytes; larger files are mapped, not read, so that memory stays bounded


@dataclass(frozen=True, slots=True, kw_only=True)
class DeidentifiedSeries:
    """De-identified files of one person, in the order of their originals.

    Attributes
    ----------
    files : tuple of Path
        One for each original.
    pseudonym : Pseudonym
        Whose they are.
    record : Record
        What was done.
    """

    files: tuple[Path, ...]
    pseudonym: Pseudonym
    record: Record


@dataclass(frozen=True, slots=True, repr=False)
class Deidentifier:
    """One key and one profile, made ready once for many files.

    Attributes
    ----------
    profile : Profile
        The rules.
    namer : Namer
        Names people.
    uids : UidMap
        New UIDs.
    reader : SecondReader
        Reads what was written.
    tally : Counter
        Grows with each file that is written.
    stages : tuple of PixelStage
        Look at the samples of each file.
    seal : Seal or None
        Encrypts into each output what was taken out of it.
    repeats : Repeats
        Earlier files: most repeat one.
    known : KnownWords
        Words of the files of each person.
    """

    profile: Profile
    namer: Namer
    uids: UidMap
    reader: SecondReader
    tally: Counter[tuple[int | str, str]] = field(default_factory=Counter)
    stages: tuple[PixelStage, ...] = ()
    seal: Seal | None = None
    repeats: Repeats = field(default_factory=Repeats)
    known: KnownWords = field(default_factory=KnownWords)

    @classmethod
    def of(
        cls,
        key: SiteKey,
        profile: Profile,
        stages: tuple[PixelStage, ...] = (),
        seal: Seal | None = None,
    ) -> Deidentifier:
        """Deidentifier of a site."""
        return cls(
            profile,
            Namer.of(key, whole_weeks=profile.whole_weeks),
            UidMap(key, retain=profile.retains_uids),
            SecondReader(profile),
            stages=stages,
            seal=seal,
        )

    def knowing(self, files: Iterable[Path]) -> Deidentifier:
        """Give the same, knowing the words of the people whose files these are."""
        return replace(self, known=known_in(files, profile=self.profile, namer=self.namer))

    def write_new(self, source: Path, target: Path, *, durable: bool) -> NewFile:
        """De-identify `source` into `target`, and verify what was written.

        Parameters
        ----------
        source : Path
            Only read.
        target : Path
            Must not exist; removed again if anything fails.
        durable : bool
            Whether to wait until the disk has it.

        Raises
        ------
        QuarantinedError
            The file is left out; `target` does not exist.
        """
        tally: Counter[tuple[int | str, str]] = Counter()
        data = _load(source)
        new = self._repeated(data, tally)
        worked: Worked | None = None
        if new is None:
            opened = open_part10(data)
            worked = deidentify_opened(
                opened,
                profile=self.profile,
                namer=self.namer,
                uids=self.uids,
                tally=tally,
                stages=self.stages,
                seal=self.seal,
                known=self.known,
            )
            new = worked.new
        done = frozenset[str]() if new.change is None else new.change.codes
        try:
            with os.fdopen(
                os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb"
            ) as out:
                _write(out, new.pieces, data)
                if durable:
                    out.flush()
                    os.fsync(out.fileno())
            self._verify(target, done)
        except BaseException:
            # Broad on purpose: whatever stopped it (Ctrl-C too), nothing unverified stays and the
            # error goes on.
            target.unlink(missing_ok=True)
            raise
        if worked is not None and not self.stages and self.seal is None and worked.follows(opened):
            self.repeats.learn(opened, worked)
        self.tally.update(tally)
        return new

    def _repeated(self, data: Buffer, tally: Counter[tuple[int | str, str]]) -> NewFile | None:
        """Work on what differs from an earlier file; what is looked at or sealed always differs."""
        if self.stages or self.seal is not None or not isinstance(data, bytes):
            return None
        return self.repeats.find(data, tally)

    def _verify(self, path: Path, done: frozenset[str]) -> None:
        if not self.reader.is_clean(path, done):
            raise QuarantinedError(Reason.UNVERIFIED)


def place_of(new: NewFile) -> Path:
    """Where a new file belongs, relative to the output folder: named after new UIDs alone."""
    return Path(new.person.pseudonym, new.study, new.series, f"{new.instance}.dcm")


def deidentify_files(
    files: Sequence[Path], out: Path, *, key: SiteKey, profile: Profile, durable: bool = False
) -> DeidentifiedSeries:
    """De-identify one person's files, all or none.

    What is left of a free text depends on the files that are passed together, not on their order:
    it loses the words of all of their headers.

    Parameters
    ----------
    files : sequence of Path
        One person's; only read.
    out : Path
        An existing folder; files come to stand at ``pseudonym/study/series/instance.dcm``.
    key : SiteKey
        The site's.
    profile : Profile
        The rules.
    durable : bool
        Whether to wait until the disk has each file; not needed for a temporary folder.

    Raises
    ------
    QuarantinedError
        One of the files is left out: then none is written.
    DeidError
        The files are not one person's: then none is written.

    Privacy
    -------
    What is written is de-identified as far as the profile goes; faces and burned-in text are not
    its business (docs/privacy.md, "De-identification").
    """
    deidentifier = Deidentifier.of(key, profile).knowing(files)
    placed: list[Path] = []
    added: list[Path] = []
    run = secrets.token_hex(8)
    names: set[Pseudonym] = set()
    try:
        for index, source in enumerate(files):
            partial = out / f".{run}.{index}.partial"
            new = deidentifier.write_new(source, partial, durable=durable)
            names.add(new.person.pseudonym)
            target = out / place_of(new)
            placed.append(target)
            if place(partial, target, durable=durable):
                added.append(target)
        _check_one_person(names)
    except BaseException:
        # Broad on purpose: all or none, whatever stopped it; the error goes on.
        for path in added:
            path.unlink(missing_ok=True)
        raise
    record = make_record(
        profile,
        tally=deidentifier.tally,
        left_out=Counter(),
        written=len(added),
        duplicates=len(placed) - len(added),
        people=1,
    )
    return DeidentifiedSeries(files=tuple(placed), pseudonym=names.pop(), record=record)


def _check_one_person(names: set[Pseudonym]) -> None:
    if len(names) != 1:
        raise DeidError(
            "the files of one person",
            got=f"those of {len(names)} people",
            expected="one person's",
            do="pass one person's files at a time",
        )


def place(partial: Path, target: Path, *, durable: bool) -> bool:
    """Rename a verified file to its place; True unless the same bytes stand there already.

    Raises
    ------
    QuarantinedError
        Other bytes stand there: two files claim one SOP instance UID. What stood there stays.
    """
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if target.exists():
        same = target.read_bytes() == partial.read_bytes()
        partial.unlink()
        if not same:
            raise QuarantinedError(Reason.CONFLICT)
        return False
    partial.rename(target)
    if durable:
        sync_folder(target.parent)
    return True


def _write(out: BinaryIO, pieces: Sequence[Piece], data: Buffer) -> None:
    """Write the pieces; of a mapped file, never more than a chunk stays in memory."""
    if not isinstance(data, mmap.mmap):
        out.writelines(pieces)
        return
    for piece in pieces:
        for at in range(0, len(piece), _CHUNK):
            out.write(piece[at : at + _CHUNK])
            data.madvise(mmap.MADV_DONTNEED)


def _load(path: Path) -> bytes | mmap.mmap:
    try:
        with path.open("rb") as stream:
            if os.fstat(stream.fileno()).st_size < _MAPPED_FROM:
                return stream.read()
            return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError):
        raise QuarantinedError(Reason.UNREADABLE) from None
