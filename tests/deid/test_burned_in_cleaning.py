"""Text that was planted is gone, nothing else is changed, and what may be left is on the list."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from tests.deid import burned_in_images as images

from reidscope_deid.burned_in import Examined, PixelPolicy, clean_pixels, examine, load_policy
from reidscope_deid.burned_in.decoder import _child
from reidscope_deid.burned_in.detector import text_detector
from reidscope_deid.burned_in.image import image_facts
from reidscope_deid.burned_in.mask import Box, mask_of
from reidscope_deid.burned_in.policy import DetectorSettings
from reidscope_deid.burned_in.stored import stored_pixels
from reidscope_deid.keys import SiteKey
from reidscope_deid.profile import load_profile
from reidscope_deid.reasons import QuarantinedError, Reason
from reidscope_deid.series import Deidentifier

if TYPE_CHECKING:
    from numpy.typing import NDArray

pytest.importorskip("rapidocr")

US = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.6.1", "Modality": "US"}
CT = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2", "Modality": "CT"}
ANNOTATION = 0x00280301


@pytest.fixture(scope="module")
def policy() -> PixelPolicy:
    return load_policy()


@pytest.fixture(scope="module")
def quick(policy: PixelPolicy) -> PixelPolicy:
    """The shipped policy, one rendering a frame."""
    return PixelPolicy(
        name=policy.name,
        rules=policy.rules,
        zones=policy.zones,
        detector=DetectorSettings(frames=3, fine_contrast=False),
    )


def examined(content: bytes, policy: PixelPolicy) -> Examined:
    found = examine(images.opened(content), policy)
    assert found is not None
    return found


def picture_of(found: Examined, like: NDArray[Any]) -> NDArray[Any]:
    assert found.change.samples is not None
    return np.frombuffer(bytes(found.change.samples.value), like.dtype).reshape(like.shape)


def test_a_name_in_an_ultrasound_strip_is_blanked_and_the_rest_is_not(quick: PixelPolicy) -> None:
    drawn = images.ultrasound()
    found = examined(images.native(drawn.picture[None], **US), quick)
    new = picture_of(found, drawn.picture)
    mask = mask_of(found.boxes, rows=new.shape[0], columns=new.shape[1])
    for box in drawn.boxes:
        assert mask[box.top : box.bottom, box.left : box.right].all()
    assert not new[mask].any()
    assert np.array_equal(new[~mask], drawn.picture[~mask])
    assert found.share == pytest.approx(mask.mean())
    assert found.change.codes == {"113101"}
    assert found.change.boxes == len(drawn.boxes)


def test_low_contrast_text_over_texture_is_on_the_review_list_and_never_called_clean(
    policy: PixelPolicy,
) -> None:
    plain = images.texture(480, 640, 90, 210)
    drawn = images.drawn(plain, 150, size=0.4)
    found = examined(images.native(drawn.picture[None], **US), policy)
    assert found.change.review
    assert found.change.elements[ANNOTATION] is None


def test_outside_the_ultrasound_regions_everything_goes(quick: PixelPolicy) -> None:
    region = Box(100, 60, 470, 600)
    plain = images.texture(480, 640, 60, 61)  # nothing to find
    content = images.native(plain[None], SequenceOfUltrasoundRegions=images.regions(region), **US)
    found = examined(content, quick)
    new = picture_of(found, plain)
    inside = mask_of([region], rows=480, columns=640)
    assert not new[~inside].any()
    assert np.array_equal(new[inside], plain[inside])
    assert found.change.boxes == 1


@pytest.mark.slow
def test_a_zone_goes_though_the_detector_finds_nothing_in_it(quick: PixelPolicy) -> None:
    plain = np.full((480, 640), 77, np.uint8)
    content = images.native(plain[None], Manufacturer="Philips", ManufacturerModelName="iU22", **US)
    new = picture_of(examined(content, quick), plain)
    assert not new[:47].any()
    assert (new[47:] == 77).all()


def test_a_slice_that_a_workstation_derived_is_declared_clean_if_nothing_is_found(
    quick: PixelPolicy,
) -> None:
    plain = np.full((1, 64, 64), 77, np.uint8)
    found = examined(images.native(plain, ImageType="DERIVED\\SECONDARY", **CT), quick)
    assert found.change.samples is None
    assert found.change.elements == {ANNOTATION: (b"CS", b"NO")}
    assert not found.change.review
    assert (found.change.boxes, found.share) == (0, 0.0)


def test_a_trusted_slice_is_not_looked_at(policy: PixelPolicy) -> None:
    content = images.native(np.zeros((1, 8, 8), np.uint8), ImageType="ORIGINAL\\PRIMARY", **CT)
    assert clean_pixels(images.opened(content), policy) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"ImageType": "DERIVED\\SECONDARY\\DOSE_INFO"},
        {"ImageType": "ORIGINAL\\PRIMARY", "BurnedInAnnotation": "YES"},
        {"ImageType": "DERIVED\\SECONDARY", "BurnedInAnnotation": "YES"},
    ],
)
def test_a_dose_screen_or_declared_text_that_is_not_found_is_refused(
    changes: dict[str, str], quick: PixelPolicy
) -> None:
    content = images.native(np.full((1, 64, 64), 9, np.uint8), **CT, **changes)
    with pytest.raises(QuarantinedError) as error:
        clean_pixels(images.opened(content), quick)
    assert error.value.reason is Reason.BURNED_IN


def test_declared_text_that_is_found_goes_and_a_person_looks(quick: PixelPolicy) -> None:
    drawn = images.drawn(np.zeros((200, 300), np.uint8))
    content = images.native(
        drawn.picture[None], BurnedInAnnotation="YES", ImageType="ORIGINAL\\PRIMARY", **CT
    )
    found = examined(content, quick)
    assert not picture_of(found, drawn.picture).any()
    assert found.change.review
    assert found.change.elements[ANNOTATION] is None


@pytest.mark.slow
def test_the_same_file_gives_the_same_bytes_and_no_word_of_it_is_kept(
    policy: PixelPolicy, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    drawn = images.drawn(np.zeros((160, 240), np.uint8))
    content = images.native(drawn.picture[None])
    one, two = examined(content, policy), examined(content, policy)
    assert one == two
    said = repr(one) + caplog.text + "".join(capfd.readouterr())
    assert not any(word.lower() in said.lower() for word in ("DOE^", "00421337", "1971-08"))


@pytest.mark.slow
def test_more_text_than_an_image_can_hold_is_refused() -> None:
    shipped = load_policy()
    strict = PixelPolicy(
        name=shipped.name,
        rules=shipped.rules,
        zones=(),
        detector=DetectorSettings(largest_share=0.01),
    )
    drawn = images.drawn(np.zeros((160, 240), np.uint8))
    with pytest.raises(QuarantinedError) as error:
        clean_pixels(images.opened(images.native(drawn.picture[None])), strict)
    assert error.value.reason is Reason.BURNED_IN


def test_a_decoder_that_dies_refuses_one_file_and_the_next_is_decoded(tmp_path: Path) -> None:
    array = images.texture(40, 50, 0, 255)[None]
    content = images.recompressed(images.native(array), images.JPEG_LS, tmp_path)
    opened = images.opened(content)
    _child().process.kill()
    with pytest.raises(QuarantinedError):
        stored_pixels(opened, image_facts(opened))
    assert np.array_equal(stored_pixels(opened, image_facts(opened)).frame(0), array[0])


@pytest.mark.slow
@pytest.mark.parametrize(
    "syntax",
    [
        images.JPEG,
        images.RLE,
        images.JPEG_LOSSLESS,
        images.JPEG_LS,
        images.JPEG_2000_LOSSLESS,
        images.JPEG_2000,
    ],
)
def test_planted_text_is_gone_in_every_encoding(
    syntax: str, quick: PixelPolicy, tmp_path: Path
) -> None:
    drawn = images.drawn(images.texture(300, 400, 100, 220))
    colour = np.dstack([drawn.picture] * 3)
    for array in (drawn.picture[None], colour[None]):
        if syntax == images.JPEG:
            content = images.encapsulated([images.jpeg(array[0])], array, syntax)
        else:
            content = images.recompressed(images.native(array), syntax, tmp_path)
        opened = images.opened(content)
        before = stored_pixels(opened, image_facts(opened)).frame(0)
        found = examined(content, quick)
        samples = found.change.samples
        assert samples is not None
        assert samples.encapsulated == (syntax in (images.JPEG, images.RLE))
        new = images.rewritten(content, found.change)
        after = stored_pixels(images.opened(new), image_facts(images.opened(new))).frame(0)
        for box in drawn.boxes:
            assert not after[box.top : box.bottom, box.left : box.right].any()
        mask = mask_of((box.wider(20) for box in found.boxes), rows=300, columns=400)
        assert np.array_equal(after[~mask], before[~mask])
        grey = after if after.ndim == 2 else after[..., 0]
        assert not text_detector().boxes(np.dstack([grey] * 3))


@pytest.mark.slow
def test_text_on_one_frame_of_a_long_clip_goes_from_all_of_them(quick: PixelPolicy) -> None:
    plain = np.full((200, 300), 60, np.uint8)
    drawn = images.drawn(plain)
    clip = np.stack([plain] * 40)
    clip[13] = drawn.picture  # none of the three that are looked at: first, middle, last
    found = examined(images.native(clip, **US), quick)
    new = picture_of(found, clip)
    for box in drawn.boxes:
        assert not new[:, box.top : box.bottom, box.left : box.right].any()
    assert found.change.review


@pytest.mark.slow
def test_text_in_a_picture_larger_than_a_tile_is_found(quick: PixelPolicy) -> None:
    drawn = images.drawn(np.zeros((1800, 2000), np.uint8), at=(1500, 1300))
    found = examined(images.native(drawn.picture[None]), quick)
    assert not picture_of(found, drawn.picture).any()


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["u2", "i2"])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_text_in_sixteen_bits_is_found_inverted_or_not(
    dtype: str, photometric: str, quick: PixelPolicy
) -> None:
    drawn = images.drawn(images.texture(300, 400, 100, 200))
    array = (drawn.picture.astype(dtype) * 16 - (1000 if dtype == "i2" else 0)).astype(dtype)
    content = images.native(array[None], PhotometricInterpretation=photometric, **CT)
    new = picture_of(examined(content, quick), array)
    for box in drawn.boxes:
        assert len(np.unique(new[box.top : box.bottom, box.left : box.right])) == 1


@pytest.mark.slow
def test_the_detector_writes_nothing_into_the_home_folder(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ORT_")}
    code = (
        "import numpy as np\n"
        "from reidscope_deid.burned_in.detector import text_detector\n"
        "text_detector().boxes(np.zeros((64, 64, 3), np.uint8))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, "HOME": str(home), "XDG_CACHE_HOME": str(home)},
        cwd=home,
        capture_output=True,
        check=True,
    )
    assert not done.stdout
    assert not list(home.rglob("*"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "syntax",
    [
        images.EXPLICIT,
        images.IMPLICIT,
        images.BIG,
        images.DEFLATED,
        images.JPEG,
        images.RLE,
        images.JPEG_LS,
        images.JPEG_2000_LOSSLESS,
    ],
)
def test_the_engine_writes_what_was_cleaned_and_says_so(
    syntax: str, key: SiteKey, quick: PixelPolicy, tmp_path: Path
) -> None:
    drawn = images.drawn(np.full((160, 240), 30, np.uint8))
    picture = np.dstack([drawn.picture] * 3) if syntax == images.JPEG else drawn.picture
    if syntax == images.JPEG:
        content = images.encapsulated(
            [images.jpeg(picture)], picture[None], syntax, PhotometricInterpretation="YBR_FULL_422"
        )
    elif syntax in (images.RLE, images.JPEG_LS, images.JPEG_2000_LOSSLESS):
        content = images.recompressed(images.native(picture[None]), syntax, tmp_path)
    else:
        content = images.native(picture[None], syntax)
    (tmp_path / "in.dcm").write_bytes(content)
    deidentifier = Deidentifier.of(
        key,
        load_profile("basic", ("clean_pixel_data",)),
        stages=(partial(clean_pixels, policy=quick),),
    )
    deidentifier.write_new(tmp_path / "in.dcm", tmp_path / "out.dcm", durable=False)
    out = dcmread(tmp_path / "out.dcm")
    new = out.pixel_array
    for box in drawn.boxes:
        inside = new[box.top : box.bottom, box.left : box.right].reshape(-1, picture.ndim * 2 - 3)
        assert len(np.unique(inside, axis=0)) == 1
    assert "113101" in [code.CodeValue for code in out.DeidentificationMethodCodeSequence]
    assert "BurnedInAnnotation" not in out  # a secondary capture: a person looks


@pytest.mark.slow
def test_a_real_ultrasound_frame_is_refused_or_blanked_until_nothing_is_found(
    policy: PixelPolicy,
) -> None:
    path = get_testdata_file("examples_palette.dcm", download=False)
    assert isinstance(path, str)
    content = Path(path).read_bytes()
    once = PixelPolicy(
        name=policy.name,
        rules=policy.rules,
        zones=(),
        detector=DetectorSettings(rounds=0),
    )
    with pytest.raises(QuarantinedError) as error:
        clean_pixels(images.opened(content), once)
    assert error.value.reason is Reason.BURNED_IN
    found = examined(content, policy)
    assert found.change.review
    facts = image_facts(images.opened(content))
    before = stored_pixels(images.opened(content), facts).frame(0)
    after = picture_of(found, before)
    places = mask_of(found.boxes, rows=facts.rows, columns=facts.columns)
    regions = mask_of(facts.regions, rows=facts.rows, columns=facts.columns)
    assert np.array_equal(after[regions & ~places], before[regions & ~places])
    assert len(np.unique(after[places | ~regions])) == 1
