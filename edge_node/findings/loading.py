"""Images read into series and volumes with pydicom; in readers alone."""

from collections.abc import Iterable, Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.pixels.utils import pixel_array
from telemed.recipes.cmb import SwiStudy

from edge_node.findings.reasons import NotRead, Reason
from edge_node.findings.rules import PhaseScale, TaskRules
from edge_node.findings.series import Pair, Series, Slice, Triple
from edge_node.findings.stacking import Stack, matching, stacked

UNREADABLE = "unreadable"
VOXELS_LIMIT = 64 * 1024 * 1024
"""Of one series: more is no scan that the tasks were made for, and would not fit the reader's memory."""
_TAGS = [
    "SpecificCharacterSet", "SOPInstanceUID", "SeriesInstanceUID", "Modality", "SeriesDescription", "SeriesNumber",
    "ImageType", "Manufacturer", "FrameOfReferenceUID", "InstanceNumber", "Rows", "Columns", "NumberOfFrames",
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing",
]  # fmt: skip


def series_of(files: Iterable[tuple[str, str]]) -> tuple[Series, ...]:
    """Return the series that files belong to; what cannot be read is a slice with a fault, alone in its series."""
    read = sorted((_header(path, uid) for path, uid in files), key=lambda each: _series_key(each[0]))
    found = []
    for _, group in groupby(read, key=lambda each: _series_key(each[0])):
        together = list(group)
        found.append(_series(together[0][0], tuple(one for _, one in together)))
    return tuple(found)


def study_of(pair: Pair, rules: TaskRules) -> tuple[SwiStudy, Stack, tuple[Slice, ...]]:
    """Return a pair of series as a recipe takes it, with the slices of both in the order of the volume.

    Raises:
        NotRead: they do not make the volume that the task was made for.
    """
    stack = stacked(pair.magnitude.slices, rules.geometry)
    phases = matching(stack, pair.phase.slices)
    scale = next(
        (each for each in rules.phase_scales if each.manufacturer.upper() == pair.phase.manufacturer.strip().upper()),
        None,
    )
    if scale is None:
        raise NotRead(Reason.PHASE_UNKNOWN)
    first = stack.slices[0]
    if first.rows * first.columns * len(stack.slices) > VOXELS_LIMIT:
        raise NotRead(Reason.TOO_LARGE)
    study = SwiStudy(
        swi=_volume(stack.slices, stack),
        phase_rad=_phase_rad(_volume(phases, stack), scale),
        geometry=stack.geometry,
        is_phase_raw=scale.is_raw,
        phase_sign=scale.sign,
        series_uid=pair.magnitude.series_uid,
        instance_uids=tuple(each.sop_instance_uid for each in stack.slices),
    )
    return study, stack, phases


def _phase_rad(volume: NDArray[np.float32], scale: PhaseScale) -> NDArray[np.float32]:
    return np.asarray(volume * np.float32(np.pi / scale.half_turn), dtype=np.float32)


def _volume(slices: Sequence[Slice], stack: Stack) -> NDArray[np.float32]:
    first = slices[0]
    found = np.empty((len(slices), first.rows, first.columns), dtype=np.float32)
    for place, each in zip(found, slices, strict=True):
        place[...] = _pixels(each)
    turned = found[:, :: -1 if stack.is_row_flipped else 1, :: -1 if stack.is_column_flipped else 1]
    return np.ascontiguousarray(turned)


def _pixels(one: Slice) -> NDArray[np.float32]:
    try:
        dataset = dcmread(one.path)
        values = pixel_array(dataset).astype(np.float32)
        slope = float(dataset.get("RescaleSlope", 1) or 1)
        intercept = float(dataset.get("RescaleIntercept", 0) or 0)
    except MemoryError:
        raise
    except Exception as error:  # decoders raise whatever they like at what strangers sent
        raise NotRead(Reason.PIXELS_UNREADABLE) from error
    with np.errstate(over="ignore", invalid="ignore"):
        values = values * np.float32(slope) + np.float32(intercept)
    if values.shape != (one.rows, one.columns) or not np.isfinite(values).all():
        raise NotRead(Reason.PIXELS_UNREADABLE)
    return values


def _header(path: str, uid: str) -> tuple[Dataset, Slice]:
    try:
        dataset = dcmread(path, stop_before_pixels=True, specific_tags=list(_TAGS))
        one = _slice(path, uid, dataset)
        # What it says of its series is looked at later, and must not fail there.
        _series(dataset, (one,))
        return dataset, one
    except MemoryError:
        raise
    except Exception:  # as above
        return Dataset(), Slice(path, uid, 0, 0, 0, 0, None, None, None, None, UNREADABLE)


def _slice(path: str, uid: str, dataset: Dataset) -> Slice:
    direction = _numbers(dataset, "ImageOrientationPatient", 6)
    spacing = _numbers(dataset, "PixelSpacing", 2)
    return Slice(
        path,
        uid,
        int(dataset.get("InstanceNumber") or 0),
        int(dataset.get("Rows") or 0),
        int(dataset.get("Columns") or 0),
        int(dataset.get("NumberOfFrames") or 1),
        _triple(_numbers(dataset, "ImagePositionPatient", 3)),
        _triple(direction[:3] if direction else None),
        _triple(direction[3:] if direction else None),
        (spacing[0], spacing[1]) if spacing else None,
    )


def _series(dataset: Dataset, slices: tuple[Slice, ...]) -> Series:
    image_type = dataset.get("ImageType") or ()
    return Series(
        str(dataset.get("SeriesInstanceUID", "")),
        str(dataset.get("Modality", "")),
        str(dataset.get("SeriesDescription", "")),
        int(dataset.get("SeriesNumber") or 0),
        (image_type,) if isinstance(image_type, str) else tuple(str(each) for each in image_type),
        str(dataset.get("Manufacturer", "")),
        str(dataset.get("FrameOfReferenceUID", "")),
        slices,
    )


def _series_key(dataset: Dataset) -> tuple[str, str]:
    """Return what tells series apart: some makers put magnitude and phase into one series, apart by Image Type."""
    kind = dataset.get("ImageType") or ()
    return str(dataset.get("SeriesInstanceUID", "")), "\\".join([kind] if isinstance(kind, str) else map(str, kind))


def _numbers(dataset: Dataset, keyword: str, count: int) -> list[float] | None:
    said = dataset.get(keyword)
    if said is None or len(said) != count:
        return None
    found = [float(each) for each in said]
    return found if np.isfinite(found).all() else None


def _triple(numbers: list[float] | None) -> Triple | None:
    return (numbers[0], numbers[1], numbers[2]) if numbers else None
