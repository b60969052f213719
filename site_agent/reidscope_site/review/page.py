"""Sheets become pages: HTML that is whole in itself and asks nobody for anything."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.resources import files as resources
from string import Template

from reidscope_protocols.durable import write_durably
from reidscope_protocols.vocabulary import UNMODIFIED
from reidscope_site.review.folder import ReviewFolder
from reidscope_site.review.sheet import ArmView, Flag, PhotoView, ScanView, Sheet
from reidscope_site.snapshot import PhotoBox

PEOPLE_A_PAGE = 20
_HARMLESS = frozenset({Flag.MARKED})


def write_pages(
    folder: ReviewFolder,
    sheets: Sequence[Sheet],
    *,
    arms: Sequence[str],
    absent: Sequence[str],
    study: str | None,
    failed: Sequence[str],
    waiting: int,
) -> None:
    """Write all pages, people with something to look at first.

    Parameters
    ----------
    arms, absent : sequence of str
        Shown, and of the policy but not installed.
    study : str or None
        Name of the study whose arms they are.
    failed : sequence of str
        Names of people for whom memory or time did not suffice.
    waiting : int
        People who were not looked at yet.

    Privacy
    -------
    Faces of people, into the site's own folder; see `folder` (docs/privacy.md, "What stays at the
    site").
    """
    template = Template(
        resources("reidscope_site").joinpath("review/page.html").read_text(encoding="utf-8")
    )
    ordered = sorted(sheets, key=lambda sheet: (not needs_a_look(sheet), sheet.person))
    count = max(1, -(-len(ordered) // PEOPLE_A_PAGE))
    for number in range(1, count + 1):
        part = ordered[(number - 1) * PEOPLE_A_PAGE : number * PEOPLE_A_PAGE]
        page = template.substitute(
            whose=f"study {escape(study)}" if study else "the arms of this site's policy",
            people="".join(_person(sheet) for sheet in part),
            summary=_summary(sheets, failed, waiting),
            absent=_absent(absent),
            arms=escape(", ".join(arms)),
            links=_links(number, count),
            number=number,
            count=count,
        )
        write_durably(folder.page(number), page.encode())
    folder.keep_pages(count)


def needs_a_look(sheet: Sheet) -> bool:
    """Whether anything is flagged that a hand has not settled."""
    return bool(set(sheet.flags) - _HARMLESS)


def _summary(sheets: Sequence[Sheet], failed: Sequence[str], waiting: int) -> str:
    counts = [(flag, sum(flag in sheet.flags for sheet in sheets)) for flag in Flag]
    said = [f"<li><b>{count}</b> {escape(flag)}</li>" for flag, count in counts if count]
    if failed:
        names = escape(", ".join(failed))
        said.append(
            f"<li><b>{len(failed)}</b> not looked at for want of memory or time: {names}</li>"
        )
    if waiting > len(failed):
        rest = waiting - len(failed)
        said.append(f"<li><b>{rest}</b> not looked at yet: give the command again</li>")
    return f"<li><b>{len(sheets)}</b> people looked at</li>{''.join(said)}"


def _absent(arms: Sequence[str]) -> str:
    if not arms:
        return ""
    return f"<p>Not installed here, so not shown: {escape(', '.join(arms))}.</p>"


def _links(number: int, count: int) -> str:
    if count == 1:
        return ""
    links = (
        f"<b>{page}</b>"
        if page == number
        else f'<a href="{"index.html" if page == 1 else f"page-{page}.html"}">{page}</a>'
        for page in range(1, count + 1)
    )
    return f'<nav aria-label="Pages">Pages: {" ".join(links)}</nav>'


def _person(sheet: Sheet) -> str:
    flags = "".join(
        f'<span class="flag{" settled" if flag in _HARMLESS else ""}">{escape(flag)}</span>'
        for flag in sheet.flags
    )
    photo = "" if sheet.photo is None else _photo(sheet.person, sheet.photo)
    scans = "".join(_scan(scan) for scan in sheet.scans)
    kind = "person" if needs_a_look(sheet) else "person fine"
    return (
        f'<article class="{kind}"><header><h2>{escape(sheet.person)}</h2>{flags}</header>'
        f'<div class="row">{photo}<div class="scans">{scans}</div></div></article>'
    )


def _photo(person: str, photo: PhotoView) -> str:
    width, height = photo.width, photo.height
    found = "".join(_rect("found", box) for box in photo.faces)
    marked = "" if photo.marked is None else _rect("marked", photo.marked)
    faces = len(photo.faces)
    said = (
        "marked by hand"
        if photo.marked is not None
        else f"{faces} face{'' if faces == 1 else 's'} found"
    )
    return (
        f'<figure class="photo"><div class="frame" data-person="{escape(person)}"'
        f' data-width="{width}" data-height="{height}">'
        f'<img alt="photo" draggable="false" src="data:image/jpeg;base64,{photo.picture}">'
        f'<svg viewBox="0 0 {width} {height}" preserveAspectRatio="none">{found}{marked}</svg>'
        f"</div><figcaption>photo, {width} x {height}: {said}</figcaption></figure>"
    )


def _rect(kind: str, box: PhotoBox) -> str:
    left, top, right, bottom = box
    return (
        f'<rect class="{kind}" x="{left}" y="{top}"'
        f' width="{right - left}" height="{bottom - top}"/>'
    )


def _scan(scan: ScanView) -> str:
    arms = "".join(_arm(arm) for arm in scan.arms)
    return (
        f'<section><p class="chosen">{escape(scan.chosen)}<br>{escape(scan.measured)}</p>'
        f'<div class="arms">{arms}</div></section>'
    )


def _arm(arm: ArmView) -> str:
    picture = (
        f'<img alt="face" src="data:image/jpeg;base64,{arm.picture}">'
        if arm.picture
        else '<div class="none">nothing stands out</div>'
    )
    if arm.arm == UNMODIFIED:
        verdict = "as it is"
    elif arm.failed:
        said = escape("; ".join(arm.failed))
        verdict = (
            f"<span>a comparison, no defacer: {said}</span>"
            if arm.comparison
            else f'<span class="bad">failed: {said}</span>'
        )
    else:
        verdict = '<span class="good">passed</span>'
    details = [escape(arm.measured)] if arm.measured else []
    if arm.detected is not None:
        details.append("detector {:.2f} before, {:.2f} after".format(*arm.detected))
    return (
        f"<figure>{picture}<figcaption><b>{escape(arm.arm)}</b><br>{verdict}"
        + "".join(f"<br>{line}" for line in details)
        + "</figcaption></figure>"
    )
