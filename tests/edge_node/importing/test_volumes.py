"""Volumes of every format come out as series whose every voxel has its value at its place; bad ones are refused."""

import gzip
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset

from edge_node.importing import making
from edge_node.importing.reasons import NotImported, Reason
from tests.edge_node.importing.conftest import Make, order_of, shows, written
from tests.edge_node.importing.volume_writing import Phantom, gipl, little, mha, mhd, nifti, nrrd, vti

sitk = pytest.importorskip("SimpleITK")
pytest.importorskip("vtkmodules")
DATA = Path(__file__).resolve().parents[4] / "shared" / "data" / "volumes"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the shared files are not here")
PHANTOM = Phantom()
UPRIGHT = Phantom(directions=np.eye(3), origin_mm=(0.0, 0.0, 0.0))
FILES: list[tuple[str, bytes, tuple[str, bytes], Phantom, dict[str, str]]] = [
    ("v.mha", mha(PHANTOM), ("", b""), PHANTOM, {}),
    ("v.mhd", mhd(PHANTOM, "v.raw"), ("v.raw", little(PHANTOM)), PHANTOM, {}),
    ("v.mhd", mhd(PHANTOM, "v.raw", HeaderSize="-1"), ("v.raw", b"junk" + little(PHANTOM)), PHANTOM, {}),
    (
        "v.mhd",
        mhd(PHANTOM, "v.zraw", CompressedData="True"),
        ("v.zraw", zlib.compress(little(PHANTOM))),
        PHANTOM,
        {},
    ),
    ("v.nrrd", nrrd(PHANTOM), ("", b""), PHANTOM, {}),
    ("v.nrrd", nrrd(PHANTOM, encoding="gzip"), ("", b""), PHANTOM, {}),
    ("v.nrrd", nrrd(PHANTOM, "right-anterior-superior"), ("", b""), PHANTOM, {}),
    ("v.nhdr", nrrd(PHANTOM, data_file="v.raw"), ("v.raw", little(PHANTOM)), PHANTOM, {}),
    ("v.nii", nifti(PHANTOM), ("", b""), PHANTOM, {}),
    ("v.nii", nifti(PHANTOM, order=">"), ("", b""), PHANTOM, {}),
    ("v.nii.gz", gzip.compress(nifti(PHANTOM)), ("", b""), PHANTOM, {}),
    ("v.vti", vti(PHANTOM), ("", b""), PHANTOM, {"axes": "LPS"}),
    ("v.vti", vti(PHANTOM, first=3), ("", b""), PHANTOM, {"axes": "LPS"}),
    ("v.gipl", gipl(UPRIGHT), ("", b""), UPRIGHT, {"axes": "LPS"}),
    ("v.mha", mha(UPRIGHT, TransformMatrix=""), ("", b""), UPRIGHT, {"axes": "LPS"}),
    ("v.nrrd", nrrd(UPRIGHT, ""), ("", b""), UPRIGHT, {"axes": "LPS"}),
]


@pytest.mark.parametrize(("name", "content", "beside", "phantom", "said"), FILES)
@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_every_voxel_has_its_value_at_its_place_in_the_patient(
    make: Make,
    modality: str,
    name: str,
    content: bytes,
    beside: tuple[str, bytes],
    phantom: Phantom,
    said: dict[str, str],
) -> None:
    shows(make(name, content, beside, modality=modality, **said), phantom)


@pytest.mark.parametrize(
    ("name", "content"), [("v.gipl", gipl(UPRIGHT)), ("v.nrrd", nrrd(UPRIGHT, "")), ("v.nii", nifti(UPRIGHT, (0, 0)))]
)
def test_where_a_person_says_that_axes_point_right_and_front_left_and_back_change_places(
    make: Make, name: str, content: bytes
) -> None:
    shows(make(name, content, modality="MR", axes="RAS"), replace(UPRIGHT, directions=np.diag([-1.0, -1.0, 1.0])))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("v.gipl", gipl(UPRIGHT)),
        ("v.vti", vti(UPRIGHT)),
        ("v.nrrd", nrrd(UPRIGHT, "")),
        ("v.nrrd", nrrd(UPRIGHT, "scanner-xyz")),
        ("v.nii", nifti(UPRIGHT, (0, 0))),
        ("v.mha", mha(UPRIGHT, TransformMatrix="")),
    ],
)
def test_a_file_that_does_not_say_where_left_is_is_not_guessed_at(make: Make, name: str, content: bytes) -> None:
    assert refused(make, name, content) is Reason.AXES_NEEDED


def test_a_file_that_says_where_left_is_is_not_overruled(make: Make) -> None:
    assert refused(make, "v.nii", nifti(PHANTOM), axes="RAS") is Reason.AXES_TOLD


def refused(make: Make, name: str, content: bytes, beside: tuple[str, bytes] = ("", b""), **said: Any) -> Reason:
    with pytest.raises(NotImported) as refusal:
        make(name, content, beside, **({"modality": "MR"} | said))
    zh, _, en = str(refusal.value).partition(" / ")
    assert not zh.isascii()
    assert en[:20].isascii()
    return refusal.value.reason


FLOATS = Phantom(voxels=np.linspace(-1, 1, 60, dtype=np.float32).reshape(3, 4, 5))
FLAT = {"NDims": "2", "DimSize": "5 12", "TransformMatrix": "1 0 0 1", "Offset": "0 0", "ElementSpacing": "1 1"}


def spoilt(at: int, number: float) -> bytes:
    """A NIfTI file with another number at a place of its header."""
    head = bytearray(nifti(PHANTOM))
    struct.pack_into("<f", head, at, number)
    return bytes(head)


def worded(whole: bytes, at: int, number: int) -> bytes:
    """A NIfTI file with another word at a place of its header: 70 says what a voxel is, 72 of how many bits."""
    head = bytearray(whole)
    struct.pack_into("<h", head, at, number)
    return bytes(head)


BAD: list[tuple[str, bytes, Reason]] = [
    ("v.mha", mha(PHANTOM)[:-1], Reason.LENGTH_DIFFERS),
    ("v.mha", mha(PHANTOM) + b"x", Reason.LENGTH_DIFFERS),
    ("v.nrrd", nrrd(PHANTOM)[:-1], Reason.LENGTH_DIFFERS),
    ("v.nrrd", nrrd(PHANTOM) + b"x", Reason.LENGTH_DIFFERS),
    ("v.nrrd", nrrd(PHANTOM, encoding="gzip")[:-20], Reason.LENGTH_DIFFERS),
    ("v.nii", nifti(PHANTOM)[:-1], Reason.LENGTH_DIFFERS),
    ("v.nii", nifti(PHANTOM) + b"x", Reason.LENGTH_DIFFERS),
    ("v.nii.gz", gzip.compress(nifti(PHANTOM)[:-1]), Reason.LENGTH_DIFFERS),
    ("v.nii.gz", gzip.compress(nifti(PHANTOM) + bytes(50_000_000)), Reason.LENGTH_DIFFERS),
    ("v.nii.gz", gzip.compress(nifti(PHANTOM))[:200], Reason.LENGTH_DIFFERS),
    ("v.nii.gz", b"\x1f\x8bnothing", Reason.HEADER_BROKEN),
    ("v.nii.gz", gzip.compress(nifti(PHANTOM).replace(b"n+1\0", b"n+2\0", 1)), Reason.HEADER_BROKEN),
    ("v.nii", nifti(PHANTOM)[:348].ljust(351, b"\0"), Reason.HEADER_BROKEN),
    ("v.nii", worded(nifti(PHANTOM), 72, -1), Reason.HEADER_BROKEN),
    ("v.nii", worded(nifti(PHANTOM), 70, 16), Reason.HEADER_BROKEN),
    ("v.gipl", gipl(UPRIGHT)[:-1], Reason.LENGTH_DIFFERS),
    ("v.vti", vti(UPRIGHT, cut=20), Reason.LENGTH_DIFFERS),
    ("v.mha", mha(PHANTOM, DimSize="30000 30000 30000"), Reason.TOO_MANY_VOXELS),
    ("v.mha", mha(PHANTOM, DimSize="5 4 1000000"), Reason.TOO_MANY_VOXELS),
    ("v.nrrd", nrrd(PHANTOM, sizes="16000 16000 4000"), Reason.TOO_MANY_VOXELS),
    ("v.vti", vti(UPRIGHT, WholeExtent="0 16000 0 16000 0 4000"), Reason.TOO_MANY_VOXELS),
    ("v.vti", vti(UPRIGHT, Spacing="nan 1 1"), Reason.SPACING_WRONG),
    ("v.vti", vti(UPRIGHT, Spacing="0 1 1"), Reason.SPACING_WRONG),
    ("v.vti", vti(UPRIGHT, WholeExtent="a b"), Reason.SPACING_WRONG),
    ("v.vti", vti(UPRIGHT, Direction="1 0 0 0 1 0 0 0"), Reason.SPACING_WRONG),
    ("v.vti", vti(UPRIGHT, Direction="1 1 0 0 1 0 0 0 1"), Reason.AXES_SKEWED),
    ("v.vti", b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]><VTKFile/>', Reason.HEADER_BROKEN),
    ("v.vti", b'<?xml version="1.0"?><VTKFile type="PolyData">', Reason.NOT_A_VOLUME),
    ("v.mha", mha(PHANTOM, ElementSpacing="nan 1 1"), Reason.SPACING_WRONG),
    ("v.mha", mha(PHANTOM, ElementSpacing="1e-9 1 1"), Reason.SPACING_WRONG),
    ("v.mha", mha(PHANTOM, ElementSpacing=""), Reason.SPACING_WRONG),
    ("v.mha", mha(PHANTOM, Offset="a b c"), Reason.SPACING_WRONG),
    ("v.mha", mha(PHANTOM, Offset="nan 0 0"), Reason.SPACING_WRONG),
    ("v.mha", mha(PHANTOM, TransformMatrix="1 0 0 0 1"), Reason.SPACING_WRONG),
    ("v.nrrd", nrrd(UPRIGHT, "", spacings=""), Reason.SPACING_WRONG),
    ("v.nrrd", nrrd(UPRIGHT, "", spacings="nan 1 1"), Reason.SPACING_WRONG),
    ("v.nrrd", nrrd(PHANTOM, **{"space directions": "none none none"}), Reason.SPACING_WRONG),
    ("v.nrrd", nrrd(PHANTOM, **{"space origin": "(nan,0,0)"}), Reason.HEADER_BROKEN),
    ("v.nii", spoilt(80, 0), Reason.SPACING_WRONG),
    ("v.nii", spoilt(80, np.nan), Reason.SPACING_WRONG),
    ("v.nii", spoilt(84, 5), Reason.SPACING_WRONG),
    ("v.nii", spoilt(292, np.nan), Reason.HEADER_BROKEN),
    ("v.mha", mha(replace(PHANTOM, directions=np.array([[1, 0.5, 0], [0, 1, 0], [0, 0, 1.0]]))), Reason.AXES_SKEWED),
    ("v.mha", mha(PHANTOM, ElementNumberOfChannels="3"), Reason.NOT_GREY),
    ("v.mha", mha(PHANTOM, **FLAT), Reason.NOT_A_VOLUME),
    ("v.mha", mha(replace(FLOATS, voxels=np.full((3, 4, 5), np.nan, np.float32))), Reason.VALUES_WRONG),
    ("v.nii", nifti(replace(FLOATS, voxels=np.full((3, 4, 5), np.inf, np.float32))), Reason.VALUES_WRONG),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "reason"), BAD)
def test_a_bad_volume_is_refused_in_plain_words(make: Make, name: str, content: bytes, reason: Reason) -> None:
    axes = "LPS" if name.endswith(("gipl", "vti")) else ""
    assert refused(make, name, content, axes=axes) is reason


def test_a_raw_file_that_is_not_as_long_as_its_header_says_is_refused(make: Make) -> None:
    for data in (little(PHANTOM)[:-2], little(PHANTOM) + b"xx", b""):
        assert refused(make, "v.mhd", mhd(PHANTOM, "v.raw"), ("v.raw", data)) is Reason.LENGTH_DIFFERS


def test_a_volume_is_ct_or_mr_by_somebodys_word(make: Make) -> None:
    assert refused(make, "v.nii", nifti(PHANTOM), modality="") is Reason.MODALITY_NEEDED
    assert refused(make, "v.nii", nifti(PHANTOM), modality="XC") is Reason.MODALITY_UNFIT


def test_values_that_do_not_fit_are_rounded_and_the_object_says_by_how_much(make: Make) -> None:
    for modality in ("CT", "MR"):
        images = make("v.mha", mha(FLOATS), modality=modality)
        found = []
        for image in images:
            if modality == "CT":
                slope, intercept = float(image.RescaleSlope), float(image.RescaleIntercept)
            else:
                (mapped,) = image.RealWorldValueMappingSequence
                slope, intercept = mapped.RealWorldValueSlope, mapped.RealWorldValueIntercept
                assert "RescaleSlope" not in image
            found.append(image.pixel_array * slope + intercept)
            assert "by 1.53e-05 at most" in image.DerivationDescription
        turned = np.array(found) if images[0].InstanceNumber == 1 else np.array(found)[::-1]
        assert np.abs(turned - np.asarray(FLOATS.voxels, dtype=np.float64)).max() <= 1.6e-5


def test_scaled_values_of_a_nifti_file_are_what_its_scale_says(make: Make) -> None:
    images = make("v.nii", nifti(PHANTOM, scale=(2, 10)), modality="CT")
    shows(images, replace(PHANTOM, voxels=PHANTOM.voxels * 2 + 10))


@pytest.mark.parametrize(("lowest", "unit"), [(-1000, "HU"), (0, "US")])
def test_ct_is_in_hounsfield_units_only_where_its_values_can_be(make: Make, lowest: int, unit: str) -> None:
    voxels = np.full((3, 4, 5), lowest, np.int16)
    assert make("v.mha", mha(replace(PHANTOM, voxels=voxels)), modality="CT")[0].RescaleType == unit


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_a_nifti_file_that_says_in_two_ways_how_it_lies_is_believed_where_they_agree(make: Make, side: float) -> None:
    """Quaternion and matrix of one volume, upright in right, front and head; or its third axis turned round."""
    upright = replace(PHANTOM, directions=np.diag([-1.0, -1.0, side]))
    head = bytearray(nifti(upright, codes=(1, 1)))
    struct.pack_into("<f", head, 76, side)
    struct.pack_into("<3f", head, 256, 0, 0, 0)
    offset = np.diag([-1.0, -1.0, 1.0]) @ np.array(upright.origin_mm)
    struct.pack_into("<3f", head, 268, *offset)
    shows(make("v.nii", bytes(head), modality="MR"), upright)
    struct.pack_into("<f", head, 76, -side)
    assert refused(make, "v.nii", bytes(head)) is Reason.AXES_DIFFER
    assert refused(make, "v.nii.gz", gzip.compress(bytes(head))) is Reason.AXES_DIFFER


def test_several_volumes_of_a_file_are_series_of_one_study(make: Make) -> None:
    head = bytearray(nifti(PHANTOM))
    struct.pack_into("<5h", head, 40, 4, 5, 4, 3, 2)
    second = replace(PHANTOM, voxels=PHANTOM.voxels + 1000)
    images = make("v.nii", bytes(head) + little(second), modality="MR")
    assert len({image.StudyInstanceUID for image in images}) == 1
    assert [image.SeriesNumber for image in images] == [1, 1, 1, 2, 2, 2]
    shows(images[:3], PHANTOM)
    shows(images[3:], second)


def test_slices_are_numbered_along_the_normal_of_their_plane(make: Make) -> None:
    for flip in (1.0, -1.0):
        flipped = replace(PHANTOM, directions=PHANTOM.directions * np.array([1, 1, flip]))
        images = make("v.mha", mha(flipped), modality="MR")
        normal = np.cross(*np.array(images[0].ImageOrientationPatient, float).reshape(2, 3))
        heights = [float(normal @ np.array(image.ImagePositionPatient, float)) for image in images]
        assert heights == sorted(heights)
        assert [image.InstanceNumber for image in images] == [1, 2, 3]
        shows(images, flipped)


def test_the_same_file_gives_the_same_names_and_another_person_or_file_others(make: Make) -> None:
    def names(images: list[Dataset]) -> set[str]:
        return {uid for one in images for uid in (one.SOPInstanceUID, one.SeriesInstanceUID, one.StudyInstanceUID)}

    first = names(make("v.mha", mha(PHANTOM), modality="MR"))
    assert len(first) == 3 + 1 + 1
    assert names(make("v.mha", mha(PHANTOM), modality="MR", description="mended", study_date="20200101")) == first
    other = order_of.__globals__["SUBJECT"]
    assert not first & names(make("v.mha", mha(PHANTOM), modality="MR", subject=replace(other, patient_id="P-2")))
    assert not first & names(make("v.mha", mha(PHANTOM), modality="CT"))
    assert not first & names(make("v.mha", mha(replace(PHANTOM, voxels=PHANTOM.voxels + 1)), modality="MR"))


def test_every_object_names_its_person_and_where_it_came_from(make: Make) -> None:
    image = make("v.nii", nifti(PHANTOM), modality="MR")[0]
    assert (str(image.PatientName), image.PatientID, image.IssuerOfPatientID) == (
        "示例^患者",
        "P-51018201-0093",
        "BAOSHAN",
    )
    assert (image.PatientBirthDate, image.PatientSex, image.StudyDate) == ("19520314", "F", "20261120")
    (equipment,) = image.ContributingEquipmentSequence
    assert equipment.ContributionDescription.startswith("Converted from NIfTI, SHA-256 ")
    assert equipment.SoftwareVersions[0] == "yuanzhen 0.1.0"
    assert equipment.SoftwareVersions[1].startswith("SimpleITK ")
    assert "DERIVED" in image.ImageType


@pytest.mark.parametrize("voxels", [PHANTOM.voxels, FLOATS.voxels])
@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_dciodvfy_finds_no_error(
    make: Make, faults: Callable[[Dataset], list[str]], modality: str, voxels: Any
) -> None:
    assert faults(make("v.mha", mha(replace(PHANTOM, voxels=voxels)), modality=modality)[0]) == []


@needs_data
@pytest.mark.parametrize(
    ("name", "modality"),
    [
        ("radiomics/brain1_image.nrrd", "MR"),
        ("radiomics/prostate_phantom_subvolume.nrrd", "CT"),
        ("swi/Phase.nii", "CT"),
    ],
)
def test_real_files_read_back_by_others_are_the_same_volumes_at_the_same_places(
    name: str, modality: str, tmp_path: Path, faults: Callable[[Dataset], list[str]]
) -> None:
    images = list(making.made_of(order_of(DATA / name, modality=modality)))
    assert faults(images[0]) == []
    first = [image for image in images if image.SeriesNumber == 1]
    found = sitk.ReadImage(written(first, tmp_path / "series"))
    given = sitk.ReadImage(str(DATA / name))
    if given.GetDimension() == 4:
        given = given[:, :, :, 0]
    values, expected = sitk.GetArrayFromImage(found), sitk.GetArrayFromImage(given)
    corner = [0, 0, 0]
    at = given.TransformPhysicalPointToIndex(found.TransformIndexToPhysicalPoint(corner))
    assert np.allclose(given.TransformIndexToPhysicalPoint(at), found.TransformIndexToPhysicalPoint(corner), atol=1e-3)
    ordered = values if at[2] == 0 else values[::-1]
    assert np.abs(ordered - expected.astype(float)).max() <= np.ptp(expected.astype(float)) / 65535
