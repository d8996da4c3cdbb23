"""What a reader says of studies that a model cannot read, in its own code and without its process."""

import contextlib
import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset
from telemed.bundle import Bundle
from telemed.bundle_golden import Arrays
from telemed.recipes.cmb import SwiStudy
from telemed.recipes.volume import Geometry

from edge_node.findings import child, cmb_reading, rules
from edge_node.findings.pipe import Ask, Fits, Line, Refused, Unfit, unpack
from edge_node.findings.reasons import WORDS, NotRead, Reason
from tests.fakes import swi_dicom

RULES = rules.load().of("cmb")
Change = Callable[[Dataset], Dataset | None]


def said_of(files: Sequence[Path]) -> list[Line]:
    """Return what a reader says of files before any model is named."""
    assert RULES is not None
    ask = Ask(RULES.model_dump(mode="json"), [(str(path), path.stem) for path in files], 2048)
    said = io.BytesIO()
    with contextlib.suppress(EOFError):
        child.serve(ask, child.Node(io.BytesIO(), said))
    return [unpack(line) for line in said.getvalue().splitlines()]


def refused(folder: Path, change: Change) -> str:
    """Return why the head is refused once its images are changed."""
    (said,) = said_of(swi_dicom.written(folder, change=change))
    assert isinstance(said, Refused), said
    return said.reason


def is_magnitude(image: Dataset) -> bool:
    return "SWI" in image.ImageType


def without_phase(image: Dataset) -> Dataset | None:
    return image if is_magnitude(image) else None


def without_slice_seven(image: Dataset) -> Dataset | None:
    return None if image.InstanceNumber == 7 else image


def phase_without_slice_seven(image: Dataset) -> Dataset | None:
    return None if image.InstanceNumber == 7 and not is_magnitude(image) else image


def tilted(image: Dataset) -> Dataset:
    image.ImageOrientationPatient = [1, 0, 0, 0, 0.8, 0.6]
    return image


def sheared(image: Dataset) -> Dataset:
    x_mm, y_mm, z_mm = image.ImagePositionPatient
    image.ImagePositionPatient = [x_mm + 0.3 * z_mm, y_mm, z_mm]
    return image


def twice_at_one_place(image: Dataset) -> Dataset:
    if image.InstanceNumber == 8:
        x_mm, y_mm, z_mm = image.ImagePositionPatient
        image.ImagePositionPatient = [x_mm, y_mm, z_mm - 2]
    return image


def only_eight(image: Dataset) -> Dataset | None:
    return image if image.InstanceNumber <= 8 else None


def thick(image: Dataset) -> Dataset:
    x_mm, y_mm, z_mm = image.ImagePositionPatient
    image.ImagePositionPatient = [x_mm, y_mm, 3 * z_mm]
    return image


def coarse(image: Dataset) -> Dataset:
    image.PixelSpacing = [2, 2]
    return image


def one_of_another_spacing(image: Dataset) -> Dataset:
    if image.InstanceNumber == 3:
        image.PixelSpacing = [0.9, 0.9]
    return image


def without_place(image: Dataset) -> Dataset:
    del image.ImagePositionPatient
    return image


def of_an_unknown_maker(image: Dataset) -> Dataset:
    image.Manufacturer = "SOMEBODY ELSE"
    return image


def of_several_frames(image: Dataset) -> Dataset:
    image.NumberOfFrames = 2
    return image


def with_cut_pixels(image: Dataset) -> Dataset:
    if image.InstanceNumber == 3:
        image.PixelData = image.PixelData[:100]
    return image


def with_pixels_beyond_any_number(image: Dataset) -> Dataset:
    if image.InstanceNumber == 3:
        image.RescaleSlope = 1e39
    return image


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (without_phase, Reason.PHASE_MISSING),
        (without_slice_seven, Reason.SLICES_MISSING),
        (phase_without_slice_seven, Reason.PHASE_DIFFERS),
        (tilted, Reason.SLICES_TILTED),
        (sheared, Reason.SLICES_SHEARED),
        (twice_at_one_place, Reason.SLICES_DOUBLE),
        (only_eight, Reason.SLICES_FEW),
        (thick, Reason.SLICES_THICK),
        (coarse, Reason.PIXELS_COARSE),
        (one_of_another_spacing, Reason.SIZES_DIFFER),
        (without_place, Reason.GEOMETRY_MISSING),
        (of_an_unknown_maker, Reason.PHASE_UNKNOWN),
        (of_several_frames, Reason.MULTI_FRAME),
        (with_cut_pixels, Reason.PIXELS_UNREADABLE),
        (with_pixels_beyond_any_number, Reason.PIXELS_UNREADABLE),
    ],
    ids=lambda each: each.__name__ if callable(each) else "",
)
def test_what_is_not_as_the_model_was_made_for_is_refused_with_its_reason(
    tmp_path: Path, change: Change, reason: Reason
) -> None:
    assert refused(tmp_path, change) == reason


def test_a_whole_head_fits_slice_by_slice_from_the_feet_to_the_head_in_whatever_order_it_came(tmp_path: Path) -> None:
    files = swi_dicom.written(tmp_path)
    (said,) = said_of(files[::-1])
    assert isinstance(said, Fits)
    assert said.magnitude == [path.stem for path in files[: len(files) // 2]]
    assert said.phase == [path.stem for path in files[len(files) // 2 :]]


def test_another_kind_of_study_is_neither_read_nor_refused(tmp_path: Path) -> None:
    def plain(image: Dataset) -> Dataset:
        image.ImageType = ["ORIGINAL", "PRIMARY", "M"]
        image.SeriesDescription = "t1_mprage"
        return image

    assert said_of(swi_dicom.written(tmp_path, change=plain)) == [Unfit()]


def test_an_image_of_which_nobody_can_say_what_it_shows_may_be_a_slice_and_the_study_is_refused(tmp_path: Path) -> None:
    files = swi_dicom.written(tmp_path)
    stray = tmp_path / "stray.dcm"
    stray.write_bytes(b"x" * 500)
    assert said_of([stray, *files]) == [Refused(Reason.PIXELS_UNREADABLE, "")]


@pytest.mark.parametrize(
    ("element", "number"),
    [(b"\x20\x00\x32\x00DS", 24), (b"\x20\x00\x13\x00IS", 24), (b"\x20\x00\x11\x00IS", 1)],
    ids=["place", "instance-number", "series-number"],
)
def test_a_head_is_not_read_without_the_slice_whose_numbers_are_none(
    tmp_path: Path, element: bytes, number: int
) -> None:
    files = swi_dicom.written(tmp_path)
    half = len(files) // 2
    for each in (files[number - 1], files[half + number - 1]):
        content = bytearray(each.read_bytes())
        content[content.index(element) + 8] = ord("x")
        each.write_bytes(content)
    assert said_of(files) == [Refused(Reason.PIXELS_UNREADABLE, "")]


def run_none(graph: str, inputs: Arrays) -> Arrays:
    raise AssertionError(f"{graph} was run")


def test_only_what_the_manifest_says_can_be_a_recipe_that_is_not_known(bundles: tuple[Bundle, Bundle]) -> None:
    manifest = bundles[0].manifest
    axes = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
    voxels = np.full((20, 64, 64), np.nan, dtype=np.float32)
    study = SwiStudy(voxels, np.zeros_like(voxels), Geometry((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), axes))
    changes: list[dict[str, object]] = [{"postprocessing": "other"}, {"thresholds": {}}, {"parameters": {}}]
    for change in changes:
        with pytest.raises(NotRead) as refusal:
            cmb_reading.read(study, manifest.model_copy(update=change), run_none)
        assert refusal.value.reason is Reason.RECIPE_UNKNOWN
    with pytest.raises(ValueError, match="finite"):
        cmb_reading.read(study, manifest, run_none)
    uniform = replace(study, swi=np.ones_like(voxels))
    with pytest.raises(NotRead) as refusal:
        cmb_reading.read(uniform, manifest, run_none)
    assert refusal.value.reason is Reason.NO_BRAIN


def test_every_reason_has_words_in_both_languages_and_fits_the_audit_trail() -> None:
    assert set(WORDS) == set(Reason)
    assert all(zh and en for zh, en in WORDS.values())
    assert max(len(reason) for reason in Reason) <= 20
