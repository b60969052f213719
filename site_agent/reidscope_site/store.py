"""The site's SQLite file: durable settings, a schema in numbered steps, immediate transactions."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from reidscope_protocols.database import Step, open_migrated, transaction
from reidscope_protocols.errors import LedgerError

__all__ = ["connect", "file_system_of", "transaction"]

_PERSON = """
CREATE TABLE IF NOT EXISTS person (
  pseudonym TEXT PRIMARY KEY, scans TEXT NOT NULL, photo TEXT)"""
_SCHEMA = f"""{_PERSON};
CREATE TABLE IF NOT EXISTS photo_mark (
  pseudonym TEXT PRIMARY KEY, box TEXT NOT NULL, photo TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS snapshot (
  only INTEGER PRIMARY KEY CHECK (only = 1), digest TEXT NOT NULL, taken_at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS header_index (
  only INTEGER PRIMARY KEY CHECK (only = 1), package_sha256 TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS header (
  place BLOB PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, sealed BLOB NOT NULL)
  WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS finding (place BLOB PRIMARY KEY, sealed BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS study (
  sha256 TEXT PRIMARY KEY, envelope BLOB NOT NULL, received_at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS decision (
  number INTEGER PRIMARY KEY AUTOINCREMENT, study_sha256 TEXT NOT NULL, verdict TEXT NOT NULL,
  package_sha256 TEXT NOT NULL, policy_sha256 TEXT NOT NULL, snapshot_digest TEXT NOT NULL,
  envelope BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS outcome (
  study_sha256 TEXT NOT NULL, pseudonym TEXT NOT NULL, sealed BLOB NOT NULL,
  PRIMARY KEY (study_sha256, pseudonym));
CREATE TABLE IF NOT EXISTS ledger (
  sequence INTEGER PRIMARY KEY, kind TEXT NOT NULL, study_sha256 TEXT NOT NULL,
  table_name TEXT NOT NULL, nano INTEGER NOT NULL, digest TEXT NOT NULL, salt BLOB NOT NULL,
  written_at TEXT NOT NULL, head TEXT NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS one_charge_a_table
  ON ledger (study_sha256, table_name) WHERE kind = 'charged';
CREATE TABLE IF NOT EXISTS instance (
  only INTEGER PRIMARY KEY CHECK (only = 1), id TEXT NOT NULL, place TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS released (study_sha256 TEXT PRIMARY KEY, envelope BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS receipt (counter INTEGER PRIMARY KEY, envelope BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS outbox (
  number INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, study_sha256 TEXT NOT NULL,
  envelope BLOB NOT NULL, delivered_at TEXT);
CREATE TABLE IF NOT EXISTS journal (
  number INTEGER PRIMARY KEY AUTOINCREMENT, written_at TEXT NOT NULL, event TEXT NOT NULL,
  study_sha256 TEXT);
"""
_REMOTE_FILE_SYSTEMS = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4"}
    | {"smb2", "smb3", "smbfs", "fuse.ceph", "fuse.glusterfs", "fuse.s3fs", "fuse.sshfs"}
)


def _forget_older_snapshot(connection: sqlite3.Connection) -> None:
    """Drop a snapshot of one series a person: whatever needs one asks for `index` again."""
    columns = [row[1] for row in connection.execute("PRAGMA table_info(person)")]
    if "files" not in columns:
        return
    connection.execute("DROP TABLE person")
    connection.execute("DELETE FROM snapshot")
    connection.execute(_PERSON)


_VOICE = """
CREATE TABLE voice (
  number INTEGER PRIMARY KEY AUTOINCREMENT, study_sha256 TEXT NOT NULL, role TEXT NOT NULL,
  uid INTEGER NOT NULL, signer TEXT NOT NULL, package_sha256 TEXT NOT NULL,
  policy_sha256 TEXT NOT NULL, snapshot_digest TEXT NOT NULL, given_at TEXT NOT NULL)"""
_ATTRIBUTES = """
DELETE FROM snapshot;
DELETE FROM person;
ALTER TABLE person ADD COLUMN attributes TEXT NOT NULL DEFAULT '{}'"""
"""A snapshot without people's attributes has no cohorts: `index` is asked for again."""

_STUDY_KEY = """
CREATE TABLE study_key (
  study_sha256 TEXT PRIMARY KEY, wrapped BLOB, made_at TEXT NOT NULL, destroyed_at TEXT);
DELETE FROM outcome"""
"""Outcomes of before were sealed otherwise; a new package asks for a new approval anyway."""
_SUMS = """
CREATE TABLE sum_attempt (
  study_sha256 TEXT NOT NULL, attempt INTEGER NOT NULL, sealed BLOB, keys BLOB, round BLOB,
  masked BLOB, done INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (study_sha256, attempt));
ALTER TABLE ledger ADD COLUMN alone_nano INTEGER NOT NULL DEFAULT 0"""
_OTHERS = """
DELETE FROM snapshot;
DELETE FROM person;
ALTER TABLE person ADD COLUMN others TEXT NOT NULL DEFAULT '[]'"""
"""A snapshot that does not say what a scan is has nobody for a study of PET: `index` is asked for
again."""
_STEPS: tuple[Step, ...] = (
    *(_SCHEMA, _forget_older_snapshot, _VOICE, _ATTRIBUTES, _STUDY_KEY, _SUMS),
    _OTHERS,
)
"""Only ever longer: a step that was published is never changed."""


def connect(path: Path) -> sqlite3.Connection:
    """Open (and, the first time, make) the site's database.

    Raises
    ------
    LedgerError
        The file lies on a network file system, whose locks and fsync cannot carry a ledger.
    """
    if file_system_of(path.parent) in _REMOTE_FILE_SYSTEMS:
        raise LedgerError(
            "site home",
            got="a network file system",
            expected="a local disk, whose locks and fsync can be trusted",
            do="move the home folder",
        )
    return open_migrated(path, _STEPS)


def file_system_of(folder: Path) -> str:
    """Type of the file system that holds `folder`, as the kernel names it; empty if unknown."""
    resolved = folder.resolve()
    best, found = "", ""
    try:
        lines = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    for line in lines:
        _, escaped, kind, *_ = line.split(" ")
        mounted = escaped.replace(r"\040", " ").replace(r"\011", "\t").replace(r"\134", "\\")
        holds = resolved == Path(mounted) or Path(mounted) in resolved.parents
        if holds and len(mounted) >= len(best):
            best, found = mounted, kind
    return found
