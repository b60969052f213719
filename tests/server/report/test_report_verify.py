"""Reports verified: an honest one, and every way in which one may have been tampered with."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread, imsave

from reidscope_protocols.errors import (
    BadSignatureError,
    ImplausibleError,
    InputError,
    MalformedError,
    ReidscopeError,
    StaleError,
    WrongAudienceError,
)
from reidscope_protocols.keys import KeyRing, StatementKey
from reidscope_protocols.privacy import NANO
from reidscope_protocols.report import Report
from reidscope_protocols.vocabulary import KeyRole
from reidscope_server.report.figures import sketches
from reidscope_server.report.verify import Verified, verify_report

Consortium = Any  # the fixture's class, in conftest.py
NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(days=400)


def verified(path: Path, **options: Any) -> Verified:
    return verify_report(path, now=LATER, **options)


@pytest.mark.parametrize("name", ["", "report.json", "report.dsse.json"])
def test_an_honest_report_is_verified_from_any_of_its_names(
    folder: Path, report: Report, name: str
) -> None:
    result = verified(folder / name)
    assert result.report == report
    assert (result.releases, result.decisions) == (3, 1)
    assert (result.page, result.figures) == ("same bytes", "not there")
    assert result.sha256 == hashlib.sha256((folder / "report.json").read_bytes()).hexdigest()
    assert not any(key.pinned for key in result.keys)
    assert len(result.keys) == 5


def test_a_lone_envelope_under_another_name_is_verified(folder: Path, tmp_path: Path) -> None:
    lone = tmp_path / "downloaded.json"
    lone.write_bytes((folder / "report.dsse.json").read_bytes())
    assert verified(lone).page == "not there"


def test_pinned_keys_are_told_from_carried_ones(folder: Path, consortium: Consortium) -> None:
    pinned = KeyRing(consortium.records[:2])
    keys = {key.record.role: key.pinned for key in verified(folder, ring=pinned).keys}
    assert keys == {KeyRole.COORDINATOR: True, KeyRole.STUDY: True, KeyRole.SITE: False}


def test_a_report_by_other_keys_fails_against_a_pinned_ring(
    folder: Path, consortium: Consortium, another: Callable[..., Consortium]
) -> None:
    keys = {name: StatementKey.generate() for name in consortium.keys}
    stranger = another(keys=keys)
    for place in range(3):  # the study's, the coordinator's, one site's
        with pytest.raises(BadSignatureError):
            verified(folder, ring=KeyRing(stranger.records[place : place + 1]))
    assert verified(folder, ring=KeyRing(consortium.records))


def test_a_report_from_the_future_or_past_its_end_is_not_verified(folder: Path) -> None:
    for when in (NOW, NOW + timedelta(days=4000)):
        with pytest.raises(StaleError):
            verify_report(folder, now=when)


def raise_a_rate(said: dict[str, Any]) -> None:
    said["identification"][0]["rate"] += 1e-6


def change_a_count(said: dict[str, Any]) -> None:
    said["tables"][0]["counts"]["east"][3] += 1


def narrow_an_interval(said: dict[str, Any]) -> None:
    said["comparisons"][0]["high"] -= 0.01


def hide_a_site(said: dict[str, Any]) -> None:
    del said["sites"][0]


def understate_epsilon(said: dict[str, Any]) -> None:
    said["privacy"]["epsilon_total"] = 1.0


def drop_releases(said: dict[str, Any]) -> None:
    del said["evidence"]["releases"][1:]


def repeat_a_release(said: dict[str, Any]) -> None:
    said["evidence"]["releases"].append(said["evidence"]["releases"][0])


def rename_the_population(said: dict[str, Any]) -> None:
    said["study"]["population"] = "patients"


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (raise_a_rate, "identification.0.rate"),
        (change_a_count, "tables.0.counts.east.3"),
        (narrow_an_interval, "comparisons.0.high"),
        (hide_a_site, "sites"),
        (understate_epsilon, "privacy.epsilon_total"),
        (rename_the_population, "study.population"),
        (drop_releases, "1 releases"),
        (repeat_a_release, "two releases of east"),
    ],
)
def test_a_lying_coordinators_own_signature_does_not_help(
    folder: Path,
    consortium: Consortium,
    change: Callable[[dict[str, Any]], None],
    place: str,
) -> None:
    with pytest.raises(MalformedError, match=re.escape(place)):
        verified(consortium.forge(folder, change))


def test_one_changed_byte_in_the_signed_report_is_noticed(folder: Path) -> None:
    signed = json.loads((folder / "report.dsse.json").read_bytes())
    for change in (
        {"payload": one_letter_changed(signed["payload"])},
        {
            "signatures": [
                signed["signatures"][0]
                | {"sig": one_letter_changed(signed["signatures"][0]["sig"])}
            ]
        },
    ):
        (folder / "report.dsse.json").write_text(json.dumps(signed | change))
        with pytest.raises((BadSignatureError, MalformedError)):
            verified(folder)


def one_letter_changed(base64: str) -> str:
    """Change one letter near the start."""
    return base64[:20] + ("A" if base64[20] != "A" else "B") + base64[21:]


def test_a_release_that_its_site_did_not_sign_is_noticed(
    folder: Path, consortium: Consortium, another: Callable[..., Consortium]
) -> None:
    study = consortium.study()
    impostor = another(keys={**consortium.keys, "east": StatementKey.generate()})
    forged = impostor.release("east", study).envelope.decode()

    def swap(said: dict[str, Any]) -> None:
        said["evidence"]["releases"][0] = forged

    with pytest.raises(BadSignatureError):
        verified(consortium.forge(folder, swap))


def test_swapped_keys_are_noticed(folder: Path, consortium: Consortium) -> None:
    def swap(said: dict[str, Any]) -> None:
        east, north = (k for k in said["evidence"]["keys"] if k["site"] in {"east", "north"})
        east["public"], north["public"] = north["public"], east["public"]

    with pytest.raises(BadSignatureError):
        verified(consortium.forge(folder, swap))


def test_a_key_that_was_not_yet_valid_is_noticed(folder: Path, consortium: Consortium) -> None:
    def postdate(said: dict[str, Any]) -> None:
        east = next(k for k in said["evidence"]["keys"] if k["site"] == "east")
        east["not_before"] = (NOW + timedelta(days=2)).isoformat()

    with pytest.raises(BadSignatureError):
        verified(consortium.forge(folder, postdate))


def test_another_studys_releases_are_noticed(
    folder: Path, consortium: Consortium, another: Callable[..., Consortium]
) -> None:
    other = another(study_id="other").study()

    def swap(said: dict[str, Any]) -> None:
        said["evidence"]["study"] = other.envelope.decode()

    with pytest.raises(WrongAudienceError):
        verified(consortium.forge(folder, swap))


def test_a_release_that_overspent_is_noticed(folder: Path, consortium: Consortium) -> None:
    study = consortium.study()
    joint, gates = consortium.release("east", study).statement.tables
    dearer = {"epsilon_nano": 3 * NANO, "scale": repr(1 / 3)}
    dear = consortium.release("east", study, tables=(joint.model_copy(update=dearer), gates))

    def swap(said: dict[str, Any]) -> None:
        said["evidence"]["releases"][0] = dear.envelope.decode()

    with pytest.raises(ImplausibleError):
        verified(consortium.forge(folder, swap))


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("report.json", b'"rank":1', b'"rank":2'),
        ("identification.csv", b"0.", b"1."),
        ("tables.csv", b"east", b"west"),
        ("failed_gates.csv", b"0.", b"1."),
        ("methods.txt", b"sites released", b"hospitals released"),
        ("index.html", b"% of people", b"0% of people"),
        ("index.html", b"</main>", b"<script>x</script></main>"),
    ],
)
def test_a_changed_file_beside_the_signed_report_is_noticed(
    folder: Path, name: str, old: bytes, new: bytes
) -> None:
    content = (folder / name).read_bytes()
    assert old in content
    (folder / name).write_bytes(content.replace(old, new, 1))
    with pytest.raises(MalformedError, match=re.escape(name)):
        verified(folder)


def test_a_drawing_that_differs_in_a_digit_is_told_from_one_of_the_same_bytes(
    folder: Path,
) -> None:
    text = (folder / "index.html").read_text()
    moved = re.sub(r'(<path d="M )(\d+)', r"\g<1>0\2", text, count=1)
    assert moved != text
    (folder / "index.html").write_text(moved)
    assert verified(folder).page == "same words"


@pytest.mark.slow
def test_figures_are_drawn_again_with_the_page_and_the_crate_names_their_bytes(
    whole: Path, report: Report
) -> None:
    result = verified(whole)
    assert (result.page, result.figures) == ("same bytes", "same bytes")
    assert result.estimates == sum(
        len(rows)
        for rows in (
            report.identification,
            report.after_any,
            report.by_site,
            report.acquired,
            report.comparisons,
            report.failed_gates,
            report.damage,
            report.catchment,
            report.risks,
            report.over_sites,
            report.robust,
            report.oddities,
            [site for site in report.sites if site.subjects],
        )
    )
    crate = whole / "ro-crate-metadata.json"
    crate.write_text(crate.read_text().replace("CC-BY-4.0", "CC-BY-3.0"))
    with pytest.raises(MalformedError, match="ro-crate"):
        verified(whole)


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_a_figure_that_shows_something_else_is_noticed(
    whole: Path, another: Callable[..., Consortium], kind: str
) -> None:
    for other in (whole / "figures").iterdir():
        if other.suffix != f".{kind}":
            other.unlink()
    (whole / "ro-crate-metadata.json").unlink()
    arms = ("unmodified", "facemask", "quickshear")
    stranger = sketches(another(asked={"arms": arms}).report())["gates"]
    forged = {"svg": stranger.svg().encode(), "png": stranger.png()}[kind]
    (whole / "figures" / f"gates.{kind}").write_bytes(forged)
    with pytest.raises(MalformedError, match=f"gates.{kind}"):
        verified(whole)


def test_a_figure_that_is_no_picture_is_noticed(whole: Path) -> None:
    for other in (whole / "figures").iterdir():
        if other.name != "gates.png":
            other.unlink()
    (whole / "figures" / "gates.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    with pytest.raises(MalformedError, match=r"gates\.png"):
        verified(whole)


def test_a_picture_that_differs_by_a_shade_shows_the_same(whole: Path) -> None:
    path = whole / "figures" / "gates.png"
    for other in (whole / "figures").iterdir():
        if other != path:
            other.unlink()
    picture = np.round(imread(path) * 255).astype(np.uint8)
    imsave(path, np.minimum(picture, 252))
    assert verified(whole).figures == "same words and pictures"


@pytest.mark.slow
def test_pages_and_figures_of_other_versions_are_not_compared(
    tmp_path: Path, consortium: Consortium, report: Report
) -> None:
    old = report.model_copy(update={"versions": {**report.versions, "matplotlib": "3.0"}})
    folder = consortium.write(tmp_path / "old", old)
    (folder / "index.html").write_text("an older page")
    (folder / "figures" / "gates.png").write_bytes(b"an older picture")
    (folder / "ro-crate-metadata.json").unlink()
    result = verified(folder)
    assert (result.page, result.figures) == ("drawn by other versions",) * 2


def test_a_folder_without_a_signed_report_is_the_readers_mistake(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text("{}")
    for path in (tmp_path, tmp_path / "report.json", tmp_path / "nothing"):
        with pytest.raises(InputError):
            verify_report(path)


def test_what_is_no_report_is_refused_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "x").write_text('{"payload": 1}')
    with pytest.raises(ReidscopeError, match="expected"):
        verify_report(tmp_path / "x")
