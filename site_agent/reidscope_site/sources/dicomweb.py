"""A site's archive over DICOMweb: which series it has (QIDO-RS), their headers and files (WADO-RS).

Read only. https, or http on this machine alone; no redirects and no proxies: what is asked for
names patients. Every answer is bounded, whatever the archive says about its length.
"""

from __future__ import annotations

import json
import logging
import re
import ssl
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx
from pydicom import Dataset
from pydicom.datadict import tag_for_keyword

from reidscope_protocols.errors import (
    ConfigError,
    DeclinedCallError,
    ReidscopeError,
    UnreachableError,
)
from reidscope_protocols.keys import read_private_file
from reidscope_site.config import SiteConfig
from reidscope_site.sources.facts import HEADER_TAGS, MALFORMED, silenced
from reidscope_site.sources.multipart import boundary_of, malformed_answer, parts

PAGE = 200
"""Series asked for at a time."""

LARGEST_JSON = 256 << 20
"""Bytes of a list or of a series' headers."""

LARGEST_SERIES = 4 << 30
"""Bytes of a series' files."""

_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
_UID = re.compile(r"[0-9.]{1,64}")
_QUERY = re.compile(r"([A-Za-z][A-Za-z0-9]*)=([^&]+)")
_JSON = "application/dicom+json"
_FILES = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_TRIES = 3
WAIT_SECONDS = 0.5
"""Before the second try; then twice as long."""
_TIMEOUT = httpx.Timeout(60.0, connect=10.0)
_AGAIN = frozenset({429, 500, 502, 503, 504})
_NO_CONTENT = 204
_REFUSED_FROM = 300
_KEPT = frozenset(f"{tag_for_keyword(keyword):08X}" for keyword in HEADER_TAGS)
_T = TypeVar("_T")

# Its lines about requests hold addresses, and addresses hold a patient's UIDs.
logging.getLogger("httpx").setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedSeries:
    """One series as the archive lists it.

    Attributes
    ----------
    study_uid, series_uid : str
        What names it there.
    instances : int
        How many files; 0 where the archive does not tell.
    """

    study_uid: str
    series_uid: str
    instances: int

    @property
    def place(self) -> str:
        """Its address below the archive's."""
        return f"/studies/{self.study_uid}/series/{self.series_uid}"


class Archive:
    """An open connection to the archive."""

    def __init__(self, client: httpx.Client, query: Mapping[str, str]) -> None:
        self._client = client
        self._query = dict(query)

    @classmethod
    @contextmanager
    def of(cls, config: SiteConfig) -> Iterator[Self]:
        """Hold a connection as `site.toml` says for the block.

        Raises
        ------
        ConfigError
            The address, the query or the token's file cannot be used.
        """
        url = _checked(config.dicomweb)
        headers = {}
        if config.dicomweb_token:
            token = read_private_file(Path(config.dicomweb_token), what="archive's token")
            headers["Authorization"] = f"Bearer {token.decode('ascii', 'replace').strip()}"
        client = httpx.Client(
            base_url=url,
            headers=headers,
            timeout=_TIMEOUT,
            follow_redirects=False,
            trust_env=False,
            # The machine's own authorities: hospitals sign their archives themselves.
            verify=ssl.create_default_context(),
        )
        with client:
            yield cls(client, _query(config.dicomweb_query))

    def series(self, modality: str) -> Iterator[ArchivedSeries]:
        """List series of one modality, page by page (QIDO-RS).

        Raises
        ------
        TransportError
            Nobody answers, the archive refuses, or answers something else.
        """
        met: set[str] = set()
        while True:
            asked = {"Modality": modality, **self._query, "limit": PAGE, "offset": len(met)}
            page = [_listed(each) for each in self._json("/series", asked)]
            new = {each.series_uid: each for each in page if each.series_uid not in met}
            if page and not new:
                raise malformed_answer("the same page of series twice")
            yield from new.values()
            met.update(new)
            if not page:
                return

    def headers(self, series: ArchivedSeries) -> tuple[Dataset, ...]:
        """Headers of a series' files (WADO-RS metadata), less what an index does not look at.

        Raises
        ------
        TransportError
            As `series`.
        """
        return tuple(_dataset(each) for each in self._json(f"{series.place}/metadata", {}))

    def fetch(self, series: ArchivedSeries, folder: Path) -> int:
        """Write a series' files into an empty folder (WADO-RS); return how many.

        Raises
        ------
        TransportError
            As `series`; what is in the folder then is no whole series.

        Privacy
        -------
        Identified scans, as the archive holds them: the folder is the site's own (docs/privacy.md,
        "What stays at the site").
        """

        def attempt() -> int:
            for left in folder.iterdir():
                left.unlink()
            with self._answer(series.place, {}, _FILES) as answer:
                boundary = boundary_of(answer.headers.get("content-type", ""))
                chunks = _bounded(answer.iter_bytes(), LARGEST_SERIES)
                return _write_parts(parts(chunks, boundary), folder)

        return _again(attempt)

    def _json(self, place: str, asked: Mapping[str, Any]) -> list[Any]:
        def attempt() -> list[Any]:
            with self._answer(place, asked, _JSON) as answer:
                if answer.status_code == _NO_CONTENT:
                    return []
                content = b"".join(_bounded(answer.iter_bytes(), LARGEST_JSON))
            try:
                said = json.loads(content)
            except (ValueError, RecursionError):
                said = None
            if not isinstance(said, list):
                raise malformed_answer("no list in JSON")
            return said

        return _again(attempt)

    @contextmanager
    def _answer(self, place: str, asked: Mapping[str, Any], kind: str) -> Iterator[httpx.Response]:
        with self._client.stream("GET", place, params=dict(asked), headers={"Accept": kind}) as got:
            if got.status_code in _AGAIN:
                raise _Busy(got.status_code)
            if got.status_code >= _REFUSED_FROM:
                raise declined(got.status_code)
            yield got


class _Busy(Exception):  # noqa: N818 - never leaves this module
    """The archive may answer another time."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class UndeliveredError(DeclinedCallError):
    """The archive lists a series and does not deliver it."""


def declined(status: int) -> DeclinedCallError:
    """Error for a status that says no."""
    refused = status in (401, 403)
    kind = DeclinedCallError if refused or status < 400 else UndeliveredError  # noqa: PLR2004 - HTTP
    return kind(
        "the archive",
        got=f"HTTP status {status}",
        expected="an answer",
        do="give the site an account and its token (dicomweb_token in site.toml)"
        if refused
        else "ask whoever runs the archive",
    )


def _again(attempt: Callable[[], _T]) -> _T:
    """Try a few times where another time may help."""
    for number in range(1, _TRIES + 1):
        try:
            return attempt()
        except _Busy as busy:
            failed: ReidscopeError = declined(busy.status)
        except httpx.HTTPError:
            # Its text holds the address, which may name a patient.
            failed = _unreachable()
        if number < _TRIES:
            time.sleep(WAIT_SECONDS * 2 ** (number - 1))
    raise failed


def _unreachable() -> UnreachableError:
    return UnreachableError(
        "the archive",
        got="no answer, or one that broke off",
        expected="DICOMweb at the address of dicomweb in site.toml",
        do="check the address, the network and the certificate, then index again",
    )


def _bounded(chunks: Iterator[bytes], most: int) -> Iterator[bytes]:
    length = 0
    for chunk in chunks:
        length += len(chunk)
        if length > most:
            raise malformed_answer(f"more than {most >> 20} MiB")
        yield chunk


def _write_parts(pieces: Generator[bytes | None, None, None], folder: Path) -> int:
    """Write every part as a file of its own."""
    number, ended = 0, False
    while not ended:
        path = folder / f"{number:06d}.dcm"
        wrote, ended = False, True
        with path.open("xb") as out:
            for piece in pieces:
                if piece is None:
                    wrote, ended = True, False
                    break
                out.write(piece)
        if wrote:
            number += 1
        else:
            path.unlink()
    return number


def _listed(said: Any) -> ArchivedSeries:
    study, series = (_first(said, tag) for tag in ("0020000D", "0020000E"))
    if not (isinstance(study, str) and isinstance(series, str)):
        raise malformed_answer("a series without its UIDs")
    if not (_UID.fullmatch(study) and _UID.fullmatch(series)):
        raise malformed_answer("a UID that is none")
    count = _first(said, "00201209")
    return ArchivedSeries(
        study_uid=study,
        series_uid=series,
        instances=count if isinstance(count, int) and count > 0 else 0,
    )


def _first(said: Any, tag: str) -> Any:
    try:
        return said[tag]["Value"][0]
    except (LookupError, TypeError):
        return None


def _dataset(said: Any) -> Dataset:
    if not isinstance(said, dict):
        raise malformed_answer("a header that is no object")
    wanted = {tag: value for tag, value in said.items() if tag.upper() in _KEPT}
    try:
        with silenced():
            return Dataset.from_json(wanted)
    except MALFORMED:
        raise malformed_answer("a header that is no DICOM JSON") from None


def _checked(address: str) -> str:
    try:
        url = httpx.URL(address)
    except (httpx.InvalidURL, TypeError):
        url = httpx.URL("")
    got = (
        "an address with a password in it"
        if url.userinfo
        else "an address with a query"
        if url.query or url.fragment
        else "no https address"
        if url.scheme != "https" and not (url.scheme == "http" and url.host in _LOCAL)
        else "an address without a host"
        if not url.host
        else None
    )
    if got is not None:
        raise ConfigError(
            "dicomweb in site.toml",
            got=got,
            expected="https://HOST/PATH, or http to this machine alone",
            do="correct it; a token goes into a file of its own (dicomweb_token)",
        )
    return address.rstrip("/")


def _query(pairs: tuple[str, ...]) -> dict[str, str]:
    found = [_QUERY.fullmatch(pair) for pair in pairs]
    asked = {match[1]: match[2] for match in found if match}
    if len(asked) != len(pairs) or {"limit", "offset", "Modality"} & set(asked):
        raise ConfigError(
            "dicomweb_query in site.toml",
            got="something else than Attribute=value pairs",
            expected='such as ["StudyDate=20200101-20241231"]',
            do="correct it",
        )
    return asked
