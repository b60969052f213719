"""The record, element by element, and its page: the same every time, and nobody in it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from reidscope_deid import Profile, Record, SiteKey, deidentify_tree, load_profile
from reidscope_deid.cli import app
from reidscope_deid.record import key_name
from reidscope_deid.review.page import record_page
from reidscope_deid.review.record_file import parse_record, read_record
from reidscope_deid.review.standing import with_standing
from reidscope_protocols.errors import MalformedError

Plant = Callable[[str], tuple[bytes, dict[bytes, str]]]
EXPLICIT = "1.2.840.10008.1.2.1"


def recorded(folder: Path, key: SiteKey, profile: Profile, content: bytes) -> Record:
    (folder / "in").mkdir(parents=True)
    (folder / "in/planted.dcm").write_bytes(content)
    (folder / "in/Doe-Jane.txt").write_text("no DICOM")
    out = folder / "out"
    record = deidentify_tree(folder / "in", out, key=key, profile=profile, durable=False)
    return with_standing(replace(record, key=key_name(key)), sorted(out.rglob("*.dcm")), profile)


def as_file(record: Record) -> bytes:
    return json.dumps(record.document()).encode()


@pytest.fixture
def record(tmp_path: Path, key: SiteKey, profile: Profile, plant: Plant) -> Record:
    return recorded(tmp_path, key, profile, plant(EXPLICIT)[0])


def test_the_record_names_each_element_the_action_the_count_and_the_rule(record: Record) -> None:
    rows = {(one.tag, one.action): one for one in record.elements}
    name = rows["00100010", "pseudonym"]
    assert (name.name, name.source) == ("Patient's Name", "PS3.15 basic Z")
    assert rows["00080020", "shift"].source == "PS3.15 retain longitudinal modified dates C"
    assert rows["00081030", "drop"].name == "Study Description"
    assert rows["00081030", "drop"].count == 1
    assert rows["private", "drop"].count > 3
    assert rows["unknown", "drop"].source.startswith("neither")
    assert all(one.name and one.source and one.count > 0 for one in record.elements)


def test_what_the_outputs_hold_is_counted_by_another_reader(record: Record) -> None:
    standing = {one.tag: one for one in record.standing}
    assert (standing["00280010"].name, standing["00280010"].action) == ("Rows", "keep")
    assert standing["00280010"].files == record.written == 1
    assert standing["00120063"].action == "declared"
    assert standing["00080104"].action == "codes"
    assert "00081030" not in standing


def test_the_same_input_gives_the_same_record_byte_for_byte(
    tmp_path: Path, key: SiteKey, profile: Profile, plant: Plant
) -> None:
    content = plant(EXPLICIT)[0]
    first = recorded(tmp_path / "a", key, profile, content)
    assert as_file(first) == as_file(recorded(tmp_path / "b", key, profile, content))


def test_a_keys_name_tells_keys_apart_and_is_not_made_of_the_key(key: SiteKey) -> None:
    assert re.fullmatch(r"K-[0-9a-f]{16}", key_name(key))
    assert key_name(key) != key_name(key.for_study("a")) != key_name(key.for_study("b"))
    assert key_name(key)[2:] not in key.secret.hex()


def test_neither_record_nor_page_holds_an_identifier(
    record: Record, plant: Plant, tmp_path: Path
) -> None:
    content = as_file(record)
    page = record_page(parse_record(content)).encode()
    for token in (*plant(EXPLICIT)[1], b"MRN-0042", b"Doe", str(tmp_path).encode(), b"planted"):
        assert token not in content
        assert token not in page


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [name for name, _ in attrs if name in {"src", "href"}]


def test_the_page_is_whole_in_itself(record: Record) -> None:
    page = record_page(parse_record(as_file(replace(record, review=("2.25.77",)))))
    links = Links()
    links.feed(page)
    assert not links.fetched
    assert not {"script", "link", "img", "iframe"} & set(links.tags)
    assert "url(" not in page
    assert not re.search(r"\$\w", page)
    for part in ("(0008,0020)", "2.25.77", "Text burned into the images", "Faces", "not-dicom"):
        assert part in page


def test_what_was_looked_at_is_not_called_unseen(record: Record) -> None:
    seen = replace(
        record,
        actions={**record.actions, "pixels": {"113101": 1, "113102": 1}},
        sources={**record.sources, "pixels": ("Pixel Data", "declared")},
    )
    page = record_page(parse_record(as_file(seen)))
    assert "Text burned into" not in page
    assert "not removed from" not in page
    assert "What was not looked at" in page


def test_true_dates_and_true_uids_are_called_so(tmp_path: Path, key: SiteKey, plant: Plant) -> None:
    profile = load_profile("limited-data-set", ("retain_uids",))
    record = recorded(tmp_path, key, profile, plant(EXPLICIT)[0])
    page = record_page(parse_record(as_file(record)))
    assert "still personal data" in page
    assert "UIDs are the true ones" in page


def test_words_of_a_record_are_shown_and_never_run(record: Record) -> None:
    document = record.document() | {"profile": "<script>alert(1)</script>"}
    page = record_page(parse_record(json.dumps(document).encode()))
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


@pytest.mark.parametrize(
    "change", [{"schema": "reidscope.deid-record/1"}, {"people": -1}, {"more": 1}, {"review": [1]}]
)
def test_a_file_that_is_no_record_is_refused_and_not_quoted(
    record: Record, change: dict[str, object]
) -> None:
    with pytest.raises(MalformedError) as caught:
        parse_record(json.dumps(record.document() | change).encode())
    assert "deid-record/1" not in str(caught.value)


def test_run_writes_record_and_page_that_say_the_same(
    tmp_path: Path, plant: Plant, key: SiteKey
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.dcm").write_bytes(plant(EXPLICIT)[0])
    (tmp_path / "key").write_text(f"reidscope-site-key v1\n{key.secret.hex()}\n")
    (tmp_path / "key").chmod(0o600)
    report, page = tmp_path / "record.json", tmp_path / "page.html"
    words = ["run", tmp_path / "in", tmp_path / "out", "--key", tmp_path / "key"]
    words += ["--report", report, "--page", page]
    done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0
    _, parsed = read_record(report)
    assert parsed.key == key_name(key)
    assert parsed.standing
    assert page.read_text() == record_page(parsed)


def test_no_file_is_no_record(tmp_path: Path) -> None:
    with pytest.raises(MalformedError):
        read_record(tmp_path / "none")
