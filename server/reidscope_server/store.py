"""The coordinator's SQLite file: the truth about sites, studies and what came in."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

from reidscope_protocols.database import Step, open_migrated, transaction

__all__ = ["connect", "timestamp", "transaction"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS site (
  name TEXT PRIMARY KEY, certificate_sha256 TEXT NOT NULL, transport_key TEXT NOT NULL,
  statement_key TEXT NOT NULL, enrolled_at TEXT NOT NULL, revoked_at TEXT);
CREATE TABLE IF NOT EXISTS token (
  sha256 TEXT PRIMARY KEY, site TEXT NOT NULL, not_after TEXT NOT NULL,
  tries INTEGER NOT NULL DEFAULT 0, used_at TEXT);
CREATE TABLE IF NOT EXISTS study (
  sha256 TEXT PRIMARY KEY, study_id TEXT NOT NULL UNIQUE, envelope BLOB NOT NULL,
  opened_at TEXT NOT NULL, collecting INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS decision (
  study_sha256 TEXT NOT NULL, site TEXT NOT NULL, nonce TEXT NOT NULL, issued_at TEXT NOT NULL,
  verdict TEXT NOT NULL, envelope BLOB NOT NULL, PRIMARY KEY (study_sha256, site, nonce));
CREATE TABLE IF NOT EXISTS release (
  study_sha256 TEXT NOT NULL, site TEXT NOT NULL, envelope BLOB NOT NULL,
  received_at TEXT NOT NULL, PRIMARY KEY (study_sha256, site));
CREATE TABLE IF NOT EXISTS standing (
  study_sha256 TEXT NOT NULL, site TEXT NOT NULL, word TEXT NOT NULL, heard_at TEXT NOT NULL,
  PRIMARY KEY (study_sha256, site));
CREATE TABLE IF NOT EXISTS sum_attempt (
  study_sha256 TEXT NOT NULL, attempt INTEGER NOT NULL, phase TEXT NOT NULL, since TEXT NOT NULL,
  listed BLOB, told BLOB, PRIMARY KEY (study_sha256, attempt));
CREATE TABLE IF NOT EXISTS sum_key (
  study_sha256 TEXT NOT NULL, attempt INTEGER NOT NULL, site TEXT NOT NULL,
  envelope BLOB NOT NULL, PRIMARY KEY (study_sha256, attempt, site));
CREATE TABLE IF NOT EXISTS masked (
  study_sha256 TEXT NOT NULL, attempt INTEGER NOT NULL, site TEXT NOT NULL,
  envelope BLOB NOT NULL, received_at TEXT NOT NULL, PRIMARY KEY (study_sha256, attempt, site));
CREATE TABLE IF NOT EXISTS receipt (
  site TEXT NOT NULL, counter INTEGER NOT NULL, study_sha256 TEXT NOT NULL,
  envelope BLOB NOT NULL, PRIMARY KEY (site, counter));
"""
_KEYS = """
ALTER TABLE site ADD COLUMN key_since TEXT;
ALTER TABLE site ADD COLUMN root TEXT;
CREATE TABLE former_key (
  site TEXT NOT NULL, public TEXT NOT NULL, not_before TEXT NOT NULL, not_after TEXT NOT NULL,
  ended_at TEXT, PRIMARY KEY (site, public));
CREATE TABLE former_certificate (
  sha256 TEXT PRIMARY KEY, site TEXT NOT NULL, transport_key TEXT NOT NULL, root TEXT,
  ends_at TEXT NOT NULL);
CREATE TABLE key_change (
  site TEXT NOT NULL, old_key TEXT NOT NULL, envelope BLOB NOT NULL, nonce TEXT NOT NULL,
  certificate_pem TEXT NOT NULL, PRIMARY KEY (site, old_key));
CREATE TABLE renewal (
  site TEXT NOT NULL, nonce TEXT NOT NULL, envelope BLOB NOT NULL, certificate_pem TEXT NOT NULL,
  PRIMARY KEY (site, nonce));
CREATE TABLE greeting (
  site TEXT PRIMARY KEY, said TEXT NOT NULL, own TEXT NOT NULL, accepted INTEGER NOT NULL,
  heard_at TEXT NOT NULL)
"""
_STEPS: tuple[Step, ...] = (_SCHEMA, _KEYS)
"""Only ever longer: a step that was published is never changed."""


def connect(path: Path) -> sqlite3.Connection:
    """Open (and, the first time, make) the coordinator's database.

    Raises
    ------
    ConfigError
        A newer version of reidscope wrote it.
    """
    return open_migrated(path, _STEPS)


def timestamp() -> str:
    """Now, UTC, sortable."""
    return datetime.now(UTC).isoformat(timespec="seconds")
