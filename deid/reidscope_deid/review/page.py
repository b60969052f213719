"""The record as a page: one file, no script, nothing fetched; to read, to print, to sign.

Written for somebody who answers for the data and does not read DICOM: what was kept and why, what
was replaced, what was dropped, what nobody looked at, what a person must still look at.
"""

from __future__ import annotations

from html import escape
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING

from reidscope_deid.faces import FACES
from reidscope_deid.review.record_file import DoneRow, RecordFile, StandingRow, expected_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_PIXELS, _FACES = "113101", "113102"
_REPLACED = {
    "pseudonym": "pseudonym",
    "remap": "new UID",
    "shift": "date or time rewritten",
    "empty": "emptied",
    "dummy": "constant",
}
_KEPT = {
    "keep": "as it was",
    "walk": "a list, judged item by item",
    "codes": "public codes, in public words",
    "content": "content items with public names",
    "text": "text that names nobody of the file",
    "clean": "text, of which public words alone stay",
    "age": "age",
    "zone": "time zone",
    "uid": "UID of a device",
}
_WORDS = "text-"
"""Starts the names of actions that count words taken out of a text, by why."""
_SAID = {"declared": "what was done, declared", "sealed": "encrypted"}
_DATES = {
    "REMOVED": "Dates were removed.",
    "MODIFIED": "Dates are not the true ones.",
    "UNMODIFIED": "Dates and times are the true ones: these files are still personal data.",
}


def record_page(record: RecordFile) -> str:
    """Write the page of a record.

    Parameters
    ----------
    record : RecordFile
        As read back from its file.

    Returns
    -------
    str
        HTML, whole in itself.

    Privacy
    -------
    Says what the record says: exact counts and new UIDs, for the site's own eyes (docs/privacy.md,
    "De-identification").
    """
    template = Template(
        files("reidscope_deid").joinpath("review/record_page.html").read_text("utf-8")
    )
    unseen = _unseen(record)
    return template.substitute(
        profile=escape(record.profile),
        edition=escape(record.edition),
        figures=_figures(record),
        sentences=_list(_sentences(record)),
        unseen=_list(unseen),
        looked_class=" warn" if len(unseen) > 1 else "",
        review=_review(record),
        left_out=_left_out(record.files.left_out),
        replaced=_done(record.elements, _REPLACED),
        kept_about=_kept_about(record),
        kept=_standing(record.standing),
        dropped=_done(record.elements, {"drop": "dropped"} | _words(record)),
        facts=_facts(record),
    )


def _words(record: RecordFile) -> dict[str, str]:
    actions = {one.action for one in record.elements if one.action.startswith(_WORDS)}
    return {one: f"words taken out: {one.removeprefix(_WORDS)}" for one in actions}


def _figures(record: RecordFile) -> str:
    left_out = sum(record.files.left_out.values())
    shown = (
        ("files written", record.files.written, False),
        ("people", record.people, False),
        ("files left out", left_out, False),
        ("files to review", len(record.review), bool(record.review)),
    )
    return "".join(
        f'<div class="figure{" warn" if warn else ""}"><b>{count:,}</b>{label}</div>'
        for label, count, warn in shown
    )


def _sentences(record: RecordFile) -> list[str]:
    said = [
        (
            f"Files written: {record.files.written:,}, of people: {record.people:,}. Each was read "
            "again by another program before it was kept."
        ),
        "Names and patient IDs became pseudonyms; only who holds the site's key can make them.",
        _DATES.get(record.dates, ""),
        "An element that is on no list was dropped, not kept.",
    ]
    if record.files.duplicates:
        said.append(f"{record.files.duplicates:,} files repeated others and were not written anew.")
    if "retain_uids" in record.options:
        said.append("UIDs are the true ones: they can be looked up in the archive.")
    if record.risk is not None:
        said.append("How many people look alike in the outputs was measured: see the JSON record.")
    return [one for one in said if one]


def _unseen(record: RecordFile) -> list[str]:
    written = record.files.written
    text, faces = record.looked_at(_PIXELS), record.looked_at(_FACES)
    unseen = []
    if text < written:
        unseen.append(
            f"Text burned into the images: not looked for in {written - text:,} of {written:,} "
            "files. Classes of image that often hold such text were left out unless cleaned."
        )
    if faces < written:
        unseen.append(
            f"Faces: not removed from {written - faces:,} of {written:,} files. "
            "A scan of a head can be rendered as a face."
        )
    unseen.append(
        "What the images themselves show: a rare implant, a tattoo, an anatomy that somebody knows."
    )
    return unseen


def _review(record: RecordFile) -> str:
    if not record.review:
        return ""
    uids = "".join(f'<li class="uid">{escape(uid)}</li>' for uid in record.review)
    return (
        '<div class="note warn"><b>To be looked at before anything is passed on</b>'
        f'<ul class="uids">{uids}</ul>'
        "New UIDs of the files, as they stand in the output folder.</div>"
    )


def _left_out(left_out: Mapping[str, int]) -> str:
    if not left_out:
        return ""
    rows = [(escape(one), escape(expected_of(one)), count) for one, count in left_out.items()]
    return (
        "<h2>What was left out</h2><p>Nothing of these files was written.</p>"
        "<table><thead><tr><th>reason</th><th>what would have been taken</th>"
        '<th class="n">files</th></tr></thead><tbody>'
        + "".join(
            f'<tr><td>{reason}</td><td>{expected}</td><td class="n">{count:,}</td></tr>'
            for reason, expected, count in rows
        )
        + "</tbody></table>"
    )


def _kept_about(record: RecordFile) -> str:
    if not record.standing:
        return "Not counted: the record was made without a look at the outputs."
    return (
        "As another program counted it in the output folder; the number is that of the files that "
        "hold the element. Of most, a value stays only if it has the form that the element allows; "
        "no free text is kept unless an option says so."
    )


def _standing(rows: Iterable[StandingRow]) -> str:
    kept = _KEPT | _SAID
    shown = [
        (row.tag, row.name, kept[row.action], row.files, row.why)
        for row in rows
        if row.action in kept
    ]
    return _table("files", shown)


def _done(rows: Iterable[DoneRow], actions: Mapping[str, str]) -> str:
    shown = [
        (row.tag, row.name, actions[row.action], row.count, row.source)
        for row in rows
        if row.action in actions
    ]
    return _table("elements", shown)


def _table(counted: str, rows: list[tuple[str, str, str, int, str]]) -> str:
    if not rows:
        return '<p class="soft">Nothing.</p>'
    body = "".join(
        f'<tr><td class="tag">{escape(_tag(tag))}</td><td>{escape(name)}</td><td>{escape(what)}'
        f'</td><td class="n">{count:,}</td><td>{escape(why)}</td></tr>'
        for tag, name, what, count, why in rows
    )
    head = f'<th>what</th><th class="n">{counted}</th><th>by which rule</th>'
    return (
        f"<table><thead><tr><th>tag</th><th>attribute</th>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table>"
    )


def _tag(tag: str) -> str:
    return f"({tag[:4]},{tag[4:]})" if tag[:1].isdigit() or tag.isupper() else ""


def _facts(record: RecordFile) -> str:
    codes = (f"{code} {record.meanings.get(code, '')}" for code in record.codes)
    pixels = (
        f"{one.action} in {one.count:,} files" for one in record.elements if one.tag == "pixels"
    )
    faces = (f"{one.count:,} {one.action}" for one in record.elements if one.tag == FACES)
    options = (one.replace("_", " ") for one in record.options)
    facts = (
        ("Declared (CID 7050)", "; ".join(codes)),
        ("Of pixels", "; ".join(pixels) or "nothing"),
        ("Of faces", "; ".join(faces) or "no series defaced"),
        ("Options", "; ".join(options) or "none"),
        ("Key", record.key or "not named"),
        ("Made by", ", ".join(f"{name} {one}" for name, one in record.made_by.items())),
    )
    return "".join(f"<dt>{escape(name)}</dt><dd>{escape(what)}</dd>" for name, what in facts)


def _list(sentences: Iterable[str]) -> str:
    return "".join(f"<li>{escape(one)}</li>" for one in sentences)
