"""What the page says and shows: attackers, failed gates and damage beside every rate."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import combinations
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from reidscope_protocols.face_experiment import FaceExperiment, GalleryError, Renders
from reidscope_protocols.recogniser import SFACE
from reidscope_protocols.report import Report
from reidscope_protocols.vocabulary import (
    Attacker,
    Direction,
    FailedGate,
    Fusion,
    Mate,
    ScanRule,
)
from reidscope_server.publish import headlines
from reidscope_server.report.drawing import Sketch, fitted, percent
from reidscope_server.report.figures import sketches
from reidscope_server.report.page import page
from reidscope_server.report.readings import arms, chance
from reidscope_server.report.words import facts, found_means, of_100

Consortium = Any  # the fixture's class, in conftest.py
BOTH = (Attacker.CALIBRATED, Attacker.REPAIRING)
EVERYBODY = (Attacker.RAW, Attacker.CALIBRATED, Attacker.REPAIRING)
WIDE = "m" * 30  # the widest letter that a name may hold, as many as it may hold
WITH_RATES = ("rates", "effects", "risk", "forest")


@pytest.fixture(scope="session")
def armed(another: Callable[..., Consortium]) -> Report:
    """Two attackers, and damage of one defacer of two."""
    report: Report = another(asked={"attackers": BOTH, "damage_arms": ("blur",)}).report()
    return report


@pytest.fixture(scope="session")
def armed_page(armed: Report) -> str:
    return page(armed)


@pytest.fixture(scope="session")
def crowded(report: Report) -> Report:
    """Built by hand, for no table could hold it: eight defacers, three attackers, long names."""
    first = report.identification[0]
    unmodified = [row for row in report.identification if row.arm == "unmodified"]
    names = [f"{WIDE}{number:02d}" for number in range(8)]
    numbers = {"rate": 0.004, "low": 0.001, "high": 0.997}
    made = [
        first.model_copy(update={"arm": name, "attacker": attacker, **numbers})
        for name in names
        for attacker in EVERYBODY
    ]
    compared = report.comparisons[0]
    failed = report.failed_gates[0]
    at_a_site = report.by_site[0]
    sites = [
        report.sites[0].model_copy(update={"site": f"{'w' * 38}{number:02d}"})
        for number in range(6)
    ]
    return report.model_copy(
        update={
            "identification": (*unmodified, *made),
            "comparisons": tuple(
                compared.model_copy(
                    update={
                        "arm": row.arm,
                        "attacker": row.attacker,
                        "difference": -0.99,
                        "low": -1.0,
                        "high": -0.5,
                    }
                )
                for row in made
            ),
            "failed_gates": tuple(
                failed.model_copy(update={"arm": name, **numbers}) for name in names
            ),
            "by_site": tuple(
                at_a_site.model_copy(
                    update={"site": site.site, "arm": row.arm, "attacker": row.attacker, **numbers}
                )
                for site in sites
                for row in (*unmodified[:1], *made)
            ),
            "sites": tuple(sites),
        }
    )


def texts(sketch: Sketch) -> list[tuple[str, Bbox]]:
    """Every text of a figure that can be seen, and where it stands, in dots."""
    with sketch.drawn() as figure:
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        found = figure.findobj(Text)
        seen = [each for each in found if isinstance(each, Text) and each.get_visible()]
        return [
            (each.get_text(), each.get_window_extent(canvas.get_renderer()))
            for each in seen
            if each.get_text().strip()
        ]


def assert_nothing_overflows(sketch: Sketch) -> None:
    with sketch.drawn() as figure:
        wide, tall = figure.get_size_inches() * figure.dpi
    placed = texts(sketch)
    for text, box in placed:
        inside = box.x0 >= -1 and box.x1 <= wide + 1 and box.y0 >= -1 and box.y1 <= tall + 1
        assert inside, (sketch.name, text, box.extents, (wide, tall))
    for (one, box), (other, beside) in combinations(placed, 2):
        across = min(box.x1, beside.x1) - max(box.x0, beside.x0)
        down = min(box.y1, beside.y1) - max(box.y0, beside.y0)
        assert across < 2 or down < 3, (sketch.name, one, other)


@pytest.mark.parametrize("name", ["rates", "effects", "risk", "gates", "forest"])
def test_the_widest_names_of_eight_defacers_and_of_sites_fit(crowded: Report, name: str) -> None:
    assert_nothing_overflows(sketches(crowded)[name])


@pytest.mark.parametrize("name", ["rates", "effects", "risk", "gates", "forest", "counts"])
def test_a_usual_report_fits(armed: Report, name: str) -> None:
    assert_nothing_overflows(sketches(armed)[name])


@pytest.mark.parametrize("name", WITH_RATES)
def test_no_figure_shows_an_arms_rate_without_its_failed_gates(armed: Report, name: str) -> None:
    shown = " ".join(text for text, _ in texts(sketches(armed)[name]))
    for row in armed.failed_gates:
        assert f"{percent(row.rate)} failed gates" in shown


def test_no_row_of_the_page_shows_an_arms_rate_without_its_failed_gates(
    armed: Report, armed_page: str
) -> None:
    text = armed_page
    for row in armed.failed_gates:
        failed = f"{100 * row.rate:.1f}% ({100 * row.low:.1f} to {100 * row.high:.1f}%)"
        lines = re.findall(rf'<tr><th scope="row">{row.arm}</th>.*class="n">100</td>.*</tr>', text)
        assert len(lines) >= len(BOTH)
        assert all(failed in re.sub(r"</?span[^>]*>", "", line) for line in lines)
    best = min(arms(armed)[1:], key=lambda arm: arm.worst.rate)
    head = text.split('<p class="headline">')[1].split("</p>")[0]
    assert best.failed is not None
    assert best.name in head
    assert f"its gates failed for {100 * best.failed.rate:.0f}%" in head


def test_each_headline_on_the_terminal_says_who_attacks_and_which_gates_failed(
    armed: Report, report: Report
) -> None:
    said = headlines(armed)
    failed = {row.arm: f"its gates failed for {row.rate:.0%}" for row in armed.failed_gates}
    assert len(said) == len(armed.identification)
    for line, row in zip(said, armed.identification, strict=True):
        assert line.startswith(f"{row.arm} ({row.attacker}): found among")
        assert failed.get(row.arm, "") in line
    assert headlines(report)[0].startswith("unmodified: found among 100 faces: ")


def test_attackers_stand_beside_each_arm(armed: Report, report: Report) -> None:
    shown = [text for text, _ in texts(sketches(armed)["rates"])]
    for row in armed.identification:
        if row.gallery_size == 100:
            assert f"{percent(row.rate)} {row.attacker}" in shown
    alone = " ".join(text for text, _ in texts(sketches(report)["rates"]))
    assert "calibrated" not in alone  # one attacker needs no telling apart


def test_the_headline_takes_the_attacker_who_finds_most(armed: Report, armed_page: str) -> None:
    best = min(arms(armed)[1:], key=lambda arm: arm.worst.rate)
    assert best.worst.rate == max(row.rate for row in best.found)
    assert f"the one who finds most counts here: {best.worst.attacker}" in armed_page


def test_risk_stands_against_damage_where_it_was_asked_for_and_against_gates_elsewhere(
    another: Callable[..., Consortium], armed: Report, report: Report
) -> None:
    lost, failed = "who lost 1% of the brain or more", "whose scan failed the gates"
    every = another(asked={"damage_arms": ("blur", "quickshear")}).report()
    for each, wanted in ((report, {failed}), (armed, {lost, failed}), (every, {lost})):
        shown = " ".join(text for text, _ in texts(sketches(each)["risk"])).replace("\n", " ")
        assert {axis for axis in (lost, failed) if axis in shown} == wanted


def test_every_figure_has_a_sentence_for_everybody_beside_it(
    armed: Report, armed_page: str
) -> None:
    text = armed_page
    assert text.count('<p class="lay">') == text.count('<div class="plot"') == len(sketches(armed))


def test_every_table_that_left_is_listed_with_its_price(armed: Report, armed_page: str) -> None:
    for table in armed.tables:
        line = next(x for x in armed_page.splitlines() if f'"row">{table.table}</th>' in x)
        assert f'<td class="n">{len(table.cells)}</td><td class="n">{table.epsilon:g}</td>' in line


def test_wide_names_fit_beside_the_boxes(another: Callable[..., Consortium]) -> None:
    wide = ("unmodified", f"{WIDE}-a", f"{WIDE}-b")
    assert_nothing_overflows(sketches(another(asked={"arms": wide}).report())["counts"])
    both = another(asked={"arms": wide, "attackers": BOTH}).report()
    assert_nothing_overflows(sketches(both)["counts"])


@settings(deadline=None)
@given(st.text("abmiw-09", min_size=1, max_size=40), st.floats(0.4, 3))
def test_a_name_is_cut_in_its_middle_and_only_as_far_as_it_must(name: str, inches: float) -> None:
    said = fitted(name, inches)
    if said == name:
        return
    head, tail = said.split("\N{HORIZONTAL ELLIPSIS}")
    assert name.startswith(head)
    assert name.endswith(tail)
    assert len(said) < len(name)
    assert fitted(name, 2 * inches + 4) == name


def test_too_many_boxes_to_draw_are_added_up(another: Callable[..., Consortium]) -> None:
    report = another(asked={"attackers": EVERYBODY, "arms": ("unmodified", "a", "b", "c")}).report()
    shown = [text for text, _ in texts(sketches(report)["counts"])]
    assert "found in how many of the 9 defaced readings" in shown
    table = report.tables[0]
    summed = [sum(column) for column in zip(*table.counts.values(), strict=True)]
    twice = sum(
        count
        for label, count in zip(table.cells, summed, strict=True)
        if label.startswith("unmodified=0;") and label.count("=yes") == 2
    )
    assert str(twice).replace("-", "\N{MINUS SIGN}") in shown
    assert "too many to draw" in page(report)


def asked(**changed: Any) -> FaceExperiment:
    return FaceExperiment(
        **{
            "recogniser": SFACE,
            "anchors": (100,),
            "arms": ("unmodified", "blur"),
            "reference_size": 1000,
            "reference_people": "nobody",
            "gallery_error": (GalleryError(gallery_size=100, sigma_ppm=0),),
            **changed,
        }
    )


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, "whose own photo ranks first when their head scan is searched in a gallery"),
        ({"mate": Mate.SECOND_SCAN}, "whose own second scan ranks first when their head scan is"),
        (
            {"direction": Direction.POPULATION_TO_SAMPLE},
            "whose own head scan ranks first when their photo, which bears their name, is searched",
        ),
        (
            {"scan_rule": ScanRule.MOST_EXPOSED, "scan_cap": 3},
            "when any of their first 3 head scans is searched",
        ),
        (
            {
                "direction": Direction.POPULATION_TO_SAMPLE,
                "scan_rule": ScanRule.MOST_EXPOSED,
                "scan_cap": 3,
            },
            "of whose first 3 head scans one ranks first when their photo",
        ),
    ],
)
def test_found_is_explained_by_who_searches_whom(changed: dict[str, Any], words: str) -> None:
    assert words in found_means(asked(**changed))


@pytest.mark.parametrize(
    ("changed", "term", "words"),
    [
        ({}, "Pictures", "1 picture of a scan, from the front, by one lamp"),
        (
            {"renders": Renders(views=9, lights=3, fusion=Fusion.BEST, grey=True)},
            "Pictures",
            "27 pictures of a scan (9 views by 3 lamps), in grey: the best fit counts",
        ),
        ({}, "Scans", "each person's first scan by date; a guess finds at most 1% among 100"),
        (
            {"scan_rule": ScanRule.MOST_EXPOSED, "scan_cap": 5},
            "Scans",
            "found in any of each person's first 5 scans; a guess finds at most 5% among 100",
        ),
        ({}, "A scan that fails a defacer's gates", "nobody gets it"),
        (
            {"failed_gate": FailedGate.RELEASED},
            "A scan that fails a defacer's gates",
            "released all the same",
        ),
        ({}, "Recogniser", "sface: 1 network, 128 numbers a face; faces are found by yunet"),
        ({"mate": Mate.SECOND_SCAN}, "The attacker holds", "a second scan of each person"),
        (
            {"direction": Direction.POPULATION_TO_SAMPLE},
            "Who searches whom",
            "photos with names are searched among released scans",
        ),
        ({"attackers": BOTH}, "Attacker: repairing", "fills what a defacer took"),
    ],
)
def test_the_facts_say_how_the_attack_was_made(
    report: Report, changed: dict[str, Any], term: str, words: str
) -> None:
    assert words in dict(facts(asked(**changed), report))[term]


def test_the_line_of_chance_rises_with_the_scans_that_may_be_tried(
    another: Callable[..., Consortium], report: Report
) -> None:
    assert (chance(report, 100), chance(report, 1000)) == (0.01, 0.001)
    tried = another(asked={"scan_rule": ScanRule.MOST_EXPOSED, "scan_cap": 3}).report()
    assert (chance(tried, 100), chance(tried, 1000)) == (pytest.approx(0.03), pytest.approx(0.003))
    assert "A guess would find 3%" in page(tried)


def test_a_share_is_said_as_people_of_a_hundred() -> None:
    assert of_100(0.836) == "about 84 of 100 people"
    assert of_100(0.004) == "fewer than 1 of 100 people"


def test_a_figures_file_says_neither_when_nor_by_what_it_was_made(report: Report) -> None:
    sketch = sketches(report)["gates"]
    picture = sketch.png()
    assert picture == sketch.png()
    kinds = re.findall(rb"(IHDR|tEXt|iTXt|zTXt|tIME|pHYs|IEND)", picture)
    assert set(kinds) == {b"IHDR", b"pHYs", b"IEND"}
    text = sketch.svg()
    assert text == sketch.svg()
    root = ET.fromstring(text)  # noqa: S314 (drawn here, a line ago)
    assert root.tag.endswith("svg")
    assert set(re.findall(r'https?://[^"\s>]+', text)) == {
        "http://www.w3.org/1999/xlink",
        "http://www.w3.org/2000/svg",
    }
