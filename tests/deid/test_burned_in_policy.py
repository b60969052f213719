"""Which images are trusted, looked at, refused: data, and a site may pass its own."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.deid import burned_in_images as images

from reidscope_deid.burned_in import load_policy
from reidscope_deid.burned_in.image import image_facts
from reidscope_deid.burned_in.mask import Box
from reidscope_deid.burned_in.policy import Rule
from reidscope_protocols.errors import ConfigError

CT, US, SC = (
    "1.2.840.10008.5.1.4.1.1.2",
    "1.2.840.10008.5.1.4.1.1.6.1",
    "1.2.840.10008.5.1.4.1.1.7",
)
EMPTY = np.zeros((1, 8, 8), np.uint8)


def rule_for(**changes: object) -> Rule:
    opened = images.opened(images.native(EMPTY, **changes))
    return load_policy().rule_for(image_facts(opened))


@pytest.mark.parametrize(
    ("changes", "action", "review"),
    [
        ({"SOPClassUID": CT, "Modality": "CT", "ImageType": "ORIGINAL\\PRIMARY"}, "trust", False),
        ({"SOPClassUID": CT, "Modality": "CT", "ImageType": "DERIVED\\SECONDARY"}, "detect", False),
        ({"SOPClassUID": CT, "Modality": "CT", "ImageType": "X\\SCREEN SAVE"}, "detect", True),
        ({"SOPClassUID": CT, "Modality": "CT", "ImageType": "X\\DOSE_INFO"}, "refuse", False),
        ({"SOPClassUID": SC, "Modality": "MR"}, "detect", True),
        ({"SOPClassUID": SC, "ImageType": "DERIVED\\SECONDARY\\REPORT"}, "refuse", False),
        ({"SOPClassUID": US, "Modality": "US"}, "blank-outside-regions", True),
        ({"SOPClassUID": "1.2.3", "Modality": "XA"}, "detect", True),
        ({"SOPClassUID": "1.2.3", "Modality": "ZZ", "ImageType": ""}, "detect", True),
    ],
)
def test_the_shipped_policy_suspects_screens_captures_and_ultrasound(
    changes: dict[str, object], action: str, *, review: bool
) -> None:
    rule = rule_for(**changes)
    assert (rule.action, rule.review) == (action, review)


def test_every_shipped_rule_over_whose_images_people_write_has_a_person_look() -> None:
    drawn_over = {"US", "IVUS", "XA", "RF", "CR", "DX", "MG", "OT"}
    for rule in load_policy().rules:
        if drawn_over & set(rule.modality) and rule.action != "refuse":
            assert rule.review


def test_the_policy_says_in_the_file_what_no_detector_finds() -> None:
    text = files("reidscope_deid").joinpath("data/burned_in_policy.toml").read_text("utf-8")
    assert "LOW-CONTRAST TEXT OVER TEXTURE DEFEATS EVERY DETECTOR" in text


def test_every_shipped_zone_names_its_source_a_model_and_a_size() -> None:
    zones = load_policy().zones
    assert len(zones) > 50
    assert all(zone.source.startswith("deid: ") and zone.model and zone.rows for zone in zones)


def test_a_zone_is_for_one_model_and_one_size() -> None:
    changes: dict[str, Any] = {
        "Modality": "US",
        "Manufacturer": "Philips Medical Systems",
        "ManufacturerModelName": "iU22",
    }
    policy = load_policy()
    small = images.opened(images.native(np.zeros((1, 480, 640), np.uint8), **changes))
    other = images.opened(images.native(np.zeros((1, 481, 640), np.uint8), **changes))
    assert Box(0, 0, 47, 640) in policy.zones_for(image_facts(small))
    assert not policy.zones_for(image_facts(other))


def test_a_site_passes_its_own_policy_and_zones(tmp_path: Path) -> None:
    policy, zones = tmp_path / "policy.toml", tmp_path / "zones.toml"
    policy.write_text(
        'schema = "reidscope.burned-in-policy/1"\nname = "ours"\n'
        '[[rule]]\nwhy = "all"\naction = "detect"\nreview = false\n'
    )
    zones.write_text(
        'schema = "reidscope.burned-in-zones/1"\n'
        '[[zone]]\nsource = "we looked"\nmodel = ["X?"]\nrows = 8\nblank = [[1, 2, 3, 4]]\n'
    )
    ours = load_policy(policy, zones)
    facts = image_facts(images.opened(images.native(EMPTY, ManufacturerModelName="x1")))
    assert ours.name == "ours"
    assert ours.rule_for(facts).why == "all"
    assert ours.zones_for(facts) == [Box(1, 2, 4, 6)]


RULE = '[[rule]]\nwhy = "w"\naction = "detect"\nreview = true\n'
HEAD = 'schema = "reidscope.burned-in-policy/1"\nname = "n"\n'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no toml",
        HEAD,
        HEAD.replace("/1", "/2") + RULE,
        HEAD + RULE + 'modality = ["US"]\n',  # some images have no rule
        HEAD + RULE.replace("detect", "trust").replace("true", "false"),  # trusts what it ignores
        HEAD + RULE.replace("detect", "refuse"),  # nothing to review
        HEAD + RULE.replace("detect", "guess"),
        HEAD + RULE + "colour = 3\n",
        HEAD + "[detector]\nframes = 0\n" + RULE,
        HEAD + "[detector]\nlargest_share = 2.0\n" + RULE,
    ],
)
def test_a_policy_that_cannot_be_applied_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as error:
        load_policy(file)
    assert str(tmp_path) not in str(error.value)


@pytest.mark.parametrize(
    "zone",
    [
        'source = "s"\nrows = 8\nblank = [[0, 0, 1, 1]]',
        'source = "s"\nmodel = ["m"]\nblank = [[0, 0, 1, 1]]',
        'source = ""\nmodel = ["m"]\nrows = 8\nblank = [[0, 0, 1, 1]]',
        'source = "s"\nmodel = ["m"]\nrows = 8\nblank = [[0, 0, 1]]',
        'source = "s"\nmodel = ["m"]\nrows = 8\nblank = [[0, 0, 1, -1]]',
        'source = "s"\nmodel = ["m"]\nrows = 8\nblank = []',
    ],
)
def test_a_zone_that_says_too_little_is_refused(zone: str, tmp_path: Path) -> None:
    file = tmp_path / "zones.toml"
    file.write_text(f'schema = "reidscope.burned-in-zones/1"\n[[zone]]\n{zone}\n')
    with pytest.raises(ConfigError):
        load_policy(zones=file)


def test_a_file_that_is_not_there_is_said_without_its_path(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        load_policy(tmp_path / "DOE_JANE.toml")
    assert "DOE" not in str(error.value)


def test_no_tag_of_the_shipped_data_is_a_guess_at_a_device() -> None:
    document = tomllib.loads(
        files("reidscope_deid").joinpath("data/burned_in_zones.toml").read_text("utf-8")
    )
    assert {zone["modality"][0] for zone in document["zone"]} == {"US"}
