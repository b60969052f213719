"""The line that a link file's error names is the line that an editor shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from reidscope_protocols.errors import LinkError
from reidscope_site.sources.links import read_links, refuse_unknown


def link_file(folder: Path, text: str) -> Path:
    for name in ("a.png", "b.png"):
        (folder / name).touch()
    path = folder / "links.csv"
    path.write_text(text, newline="")
    return path


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_empty_lines_do_not_shift_the_line_that_is_named(tmp_path: Path, end: str) -> None:
    rows = ["patient_id,photo", "", "", "A,a.png", "", "A,b.png", ""]
    with pytest.raises(LinkError, match="line 6: got a patient who stood there before"):
        read_links(link_file(tmp_path, end.join(rows)), tmp_path)


def test_a_row_with_a_third_field_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(LinkError, match="line 2: got more than two fields"):
        read_links(link_file(tmp_path, "patient_id,photo\nA,a.png,b.png\n"), tmp_path)


def test_a_quote_that_is_never_closed_swallows_no_rows(tmp_path: Path) -> None:
    with pytest.raises(LinkError, match="no readable UTF-8 CSV"):
        read_links(link_file(tmp_path, 'patient_id,photo\nA,"a.png\nB,b.png\n'), tmp_path)


def test_the_row_of_an_unknown_patient_is_counted_below_the_header(tmp_path: Path) -> None:
    links = read_links(link_file(tmp_path, "patient_id,photo\n\nA,a.png\n\nB,b.png\n"), tmp_path)
    with pytest.raises(LinkError, match=r"1 rows that name nobody.*row 2 below the header"):
        refuse_unknown(links, {"A"})
