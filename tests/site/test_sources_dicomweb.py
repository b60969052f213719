"""An archive over DICOMweb that answers as it likes; `test_orthanc` has a real one."""

from __future__ import annotations

import json
import shutil
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.site.archives import JSON, Answer, answering, config, multipart, served, site

from reidscope_protocols.errors import (
    ConfigError,
    DeclinedCallError,
    NoDicomError,
    NoUsablePeopleError,
    TransportError,
    UnreachableError,
)
from reidscope_site.agent import Agent
from reidscope_site.indexing import index
from reidscope_site.sources import dicomweb
from reidscope_site.sources.dicomweb import Archive, ArchivedSeries
from reidscope_site.sources.multipart import boundary_of, parts

Series = Callable[..., tuple[Path, ...]]
SERIES = ArchivedSeries(study_uid="1.2.3", series_uid="1.2.3.4", instances=2)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicomweb, "WAIT_SECONDS", 0.001)


def listed(number: int) -> dict[str, Any]:
    return {
        "0020000D": {"vr": "UI", "Value": [f"1.2.{number}"]},
        "0020000E": {"vr": "UI", "Value": [f"1.2.{number}.1"]},
        "00201209": {"vr": "IS", "Value": [12]},
    }


@pytest.mark.parametrize(
    "url",
    [
        "http://pacs.example/dicom-web",
        "ftp://127.0.0.1/x",
        "https://user:SECRET@pacs.example/x",
        "https://pacs.example/x?token=SECRET",
        "https:///x",
        "SECRET",
        "http://127.0.0.1.evil.example/x",
    ],
)
def test_an_address_that_would_send_names_over_a_plain_wire_is_refused(url: str) -> None:
    with pytest.raises(ConfigError) as caught, Archive.of(config(url)):
        pass
    assert "SECRET" not in str(caught.value)


def test_a_token_comes_from_a_file_of_its_owner_alone(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("SECRET-TOKEN\n")
    token.chmod(0o644)

    def answer(_: str, __: object, headers: Any) -> Answer:
        allowed = headers.get("Authorization") == "Bearer SECRET-TOKEN"
        return (200, JSON, b"[]") if allowed else (401, JSON, b"")

    with answering(answer) as url:
        with pytest.raises(ConfigError), Archive.of(config(url, dicomweb_token=str(token))):
            pass
        token.chmod(0o600)
        with Archive.of(config(url, dicomweb_token=str(token))) as archive:
            assert list(archive.series("MR")) == []
        with pytest.raises(DeclinedCallError, match="401"), Archive.of(config(url)) as archive:
            list(archive.series("MR"))


def test_every_page_of_series_is_asked_for_with_the_sites_own_query() -> None:
    asked: list[dict[str, list[str]]] = []

    def answer(_: str, query: dict[str, list[str]], __: object) -> Answer:
        asked.append(query)
        start = int(query["offset"][0])
        # An archive may give fewer at a time than it is asked for.
        page = [listed(number) for number in range(start, min(start + 3, 7))]
        return 200, JSON, json.dumps(page).encode()

    with answering(answer) as url:
        held = config(url, dicomweb_query=("StudyDate=20200101-20201231",))
        with Archive.of(held) as archive:
            found = list(archive.series("CT"))
    assert [each.study_uid for each in found] == [f"1.2.{number}" for number in range(7)]
    assert {each["StudyDate"][0] for each in asked} == {"20200101-20201231"}
    assert {each["Modality"][0] for each in asked} == {"CT"}


def test_an_archive_that_is_busy_is_asked_again() -> None:
    statuses = iter([503, 500, 200])

    def answer(*_: object) -> Answer:
        return (next(statuses), JSON, b"[]")

    with answering(answer) as url, Archive.of(config(url)) as archive:
        assert list(archive.series("MR")) == []


HOSTILE: dict[str, Answer] = {
    "401": (401, JSON, b"SECRET"),
    "403": (403, JSON, b"SECRET"),
    "404": (404, "text/html", b"SECRET"),
    "500": (500, "text/html", b"SECRET"),
    "a redirect": (302, "text/html", b"SECRET"),
    "a page for people": (200, "text/html", b"<html>SECRET</html>"),
    "no list": (200, JSON, b'{"SECRET": 1}'),
    "too deep": (200, JSON, b"[" * 100_000),
    "no UIDs": (200, JSON, b'[{"SECRET": 1}]'),
    "a path for a UID": (
        200,
        JSON,
        json.dumps([listed(1) | {"0020000E": {"Value": ["../SECRET"]}}]).encode(),
    ),
    "the same page for ever": (200, JSON, json.dumps([listed(1)]).encode()),
    "too much": (200, JSON, b"[" + b" " * 5000 + b"]"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_an_archive_that_answers_something_else_ends_in_one_line_that_quotes_nothing(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dicomweb, "LARGEST_JSON", 4000)
    with (
        answering(lambda *_: HOSTILE[what]) as url,
        Archive.of(config(url)) as archive,
        pytest.raises(TransportError) as caught,
    ):
        list(archive.series("MR"))
    assert "SECRET" not in str(caught.value)
    assert "127.0.0.1" not in str(caught.value)


def test_nobody_at_the_address_is_said_without_the_address() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with (
            Archive.of(config(f"http://127.0.0.1:{port}/SECRET")) as archive,
            pytest.raises(UnreachableError) as caught,
        ):
            list(archive.series("MR"))
    assert "SECRET" not in str(caught.value)


@given(
    bodies=st.lists(st.binary(max_size=60), max_size=4),
    cuts=st.lists(st.integers(1, 30), min_size=1, max_size=20),
    preamble=st.sampled_from([b"", b"\r\n", b"hello\r\n"]),
)
def test_a_multipart_answer_is_read_the_same_however_it_is_cut(
    bodies: list[bytes], cuts: list[int], preamble: bytes
) -> None:
    boundary = "a boundary no body holds"
    content = preamble + multipart(*bodies, boundary=boundary)
    chunks, at = [], 0
    while at < len(content):
        size = cuts[len(chunks) % len(cuts)]
        chunks.append(content[at : at + size])
        at += size
    found, held = [], b""
    for piece in parts(chunks, boundary.encode()):
        if piece is None:
            found.append(held)
            held = b""
        else:
            held += piece
    assert found == bodies
    for end in {1, len(content) // 2, len(content) - len(boundary) - 6}:
        with pytest.raises(TransportError):
            list(parts([content[:end]], boundary.encode()))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ('multipart/related; type="application/dicom"; boundary=abc', b"abc"),
        ('multipart/related; boundary="a b"; type=x', b"a b"),
        ("application/dicom", None),
        ("multipart/related", None),
    ],
)
def test_a_boundary_is_what_the_answer_names(kind: str, expected: bytes | None) -> None:
    if expected is None:
        with pytest.raises(TransportError):
            boundary_of(kind)
    else:
        assert boundary_of(kind) == expected


FILES = {
    "whole": (200, "multipart/related; boundary=b", multipart(b"one", b"", b"three"), None),
    "cut": (200, "multipart/related; boundary=b", multipart(b"one")[:-8], TransportError),
    "no parts": (200, "application/dicom", b"one", TransportError),
    "too large": (200, "multipart/related; boundary=b", multipart(b"x" * 9000), TransportError),
    "gone": (410, "text/plain", b"", DeclinedCallError),
}


@pytest.mark.parametrize("what", FILES)
def test_a_series_is_fetched_whole_or_not_at_all(
    tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dicomweb, "LARGEST_SERIES", 8000)
    status, kind, body, error = FILES[what]
    with answering(lambda *_: (status, kind, body)) as url, Archive.of(config(url)) as archive:
        if error is not None:
            with pytest.raises(error):
                archive.fetch(SERIES, tmp_path)
            return
        assert archive.fetch(SERIES, tmp_path) == 3
    assert [path.read_bytes() for path in sorted(tmp_path.iterdir())] == [b"one", b"", b"three"]


def test_only_heads_are_fetched_once_into_the_sites_own_home(
    tmp_path: Path, series: Series
) -> None:
    held = tmp_path / "archive"
    series(held / "a", "SECRET-A", SeriesDate="20190101")
    series(held / "b", "SECRET-A", SeriesDate="20200101")
    series(held / "knee", "SECRET-B", BodyPartExamined="KNEE")
    asked: list[str] = []
    answer = served(held)

    def counted(path: str, query: dict[str, list[str]], headers: Any) -> Answer:
        asked.append(path)
        return answer(path, query, headers)

    with answering(counted) as url:
        agent = site(tmp_path, url)
        found = index(agent)
        assert len(found.resolution.people) == 1
        assert len(found.resolution.people[0].scans) == 2
        assert found.resolution.excluded == {"not-a-head": 1}
        assert found.resolution.series == {"taken": 2, "not-a-head": 1}
        fetched = agent.home.fetched
        assert len(list(fetched.iterdir())) == 2
        assert stat.S_IMODE(fetched.stat().st_mode) == 0o700
        assert not [path for path in fetched.rglob("*") if "SECRET" in str(path)]
        first = [path for path in asked if not path.endswith("/series")]
        assert len(first) == 5  # three looked at, two fetched
        asked.clear()
        assert index(agent).read == 0
        assert [path for path in asked if not path.endswith("/series")] == []
        before = agent.snapshot.digest()
        shutil.rmtree(held / "b")
        series(held / "c", "SECRET-A", SeriesDate="20210101")
        index(agent)
        assert len(list(fetched.iterdir())) == 2
        assert agent.snapshot.digest() != before
        agent.close()
    text = agent.home.site_file.read_text().replace(f'"{url}"', '""')
    agent.home.site_file.write_text(text.replace('dicom = ""', f'dicom = "{held}"'))
    again = Agent(agent.home)
    assert index(again).read == 36
    assert not fetched.exists()
    again.close()


NOT_DELIVERED = {
    "an error": (500, "text/plain", b""),
    "gone": (404, "text/plain", b""),
    "a page": (200, "text/html", b"<html>"),
    "cut": (200, "multipart/related; boundary=b", multipart(b"one")[:-8]),
    "nothing": (200, "multipart/related; boundary=b", b"--b--\r\n"),
    "pages": (200, "multipart/related; boundary=b", multipart(*[b"<html>"] * 12)),
}


@pytest.mark.parametrize("what", NOT_DELIVERED)
def test_a_series_that_is_not_delivered_leaves_the_others(
    tmp_path: Path, series: Series, what: str
) -> None:
    held = tmp_path / "archive"
    series(held / "a", "A", SeriesDate="20190101")
    series(held / "b", "A", SeriesDate="20200101")
    (lost,) = {pydicom.dcmread(path).SeriesInstanceUID for path in series(held / "c", "C")}
    answer = served(held)

    def broken(path: str, query: dict[str, list[str]], headers: Any) -> Answer:
        if path.endswith(lost):
            return NOT_DELIVERED[what]
        return answer(path, query, headers)

    with answering(broken) as url:
        agent = site(tmp_path, url)
        found = index(agent)
        assert len(found.resolution.people) == 1
        assert found.resolution.series["listed-by-the-archive-and-not-delivered"] == 1
        assert len(list(agent.home.fetched.iterdir())) == 2
        assert index(agent).resolution.series == found.resolution.series
    with pytest.raises(UnreachableError):
        index(agent)
    assert len(list(agent.snapshot.people())) == 1
    agent.close()


def test_a_series_whose_last_slices_are_not_delivered_is_no_shorter_head(
    tmp_path: Path, series: Series
) -> None:
    """Geometry does not miss what lies at the end of a stack; the archive's own list does."""
    held = tmp_path / "archive"
    series(held / "a", "A", SeriesDate="20190101")
    files = series(held / "b", "A", SeriesDate="20200101")
    short = pydicom.dcmread(files[0]).SeriesInstanceUID
    answer = served(held)

    def shortened(path: str, query: dict[str, list[str]], headers: Any) -> Answer:
        if path.endswith(short):
            some = [file.read_bytes() for file in files[:-2]]
            return 200, "multipart/related; boundary=b", multipart(*some)
        return answer(path, query, headers)

    with answering(shortened) as url:
        agent = site(tmp_path, url)
        with pytest.raises(NoUsablePeopleError, match="one-date-only"):
            index(agent)
        assert len(list(agent.home.fetched.iterdir())) == 1
        agent.close()


def test_an_archive_that_delivers_nothing_is_said_to(tmp_path: Path, series: Series) -> None:
    series(tmp_path / "archive", "A")
    answer = served(tmp_path / "archive")

    def lists_alone(path: str, query: dict[str, list[str]], headers: Any) -> Answer:
        listing = path.endswith(("/series", "/metadata"))
        return answer(path, query, headers) if listing else (404, "text/plain", b"")

    with answering(lists_alone) as url:
        agent = site(tmp_path, url)
        with pytest.raises(NoDicomError, match="1 series that it lists and does not deliver"):
            index(agent)
        agent.close()


def test_of_somebody_who_opted_out_nothing_but_headers_is_asked_for(
    tmp_path: Path, series: Series
) -> None:
    held, opted = tmp_path / "archive", tmp_path / "opt-outs.txt"
    for person in "AB":
        for year in ("2019", "2020"):
            series(held / person / year, f"SECRET-{person}", SeriesDate=f"{year}0101")
    opted.write_text("SECRET-B\n")
    with answering(served(held)) as url:
        agent = site(tmp_path, url, exclude=str(opted))
        found = index(agent)
        assert found.resolution.excluded == {"opted-out": 1}
        assert len(list(agent.home.fetched.iterdir())) == 2
        opted.write_text("")
        assert len(index(agent).resolution.people) == 2
        assert len(list(agent.home.fetched.iterdir())) == 4
        opted.write_text("SECRET-A\n")
        assert len(index(agent).resolution.people) == 1
        assert len(list(agent.home.fetched.iterdir())) == 2
        agent.close()
