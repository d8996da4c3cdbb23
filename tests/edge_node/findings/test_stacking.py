"""Slices as a volume: where each voxel lies does not depend on how the scanner wrote rows and columns."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from edge_node.findings import rules, stacking
from edge_node.findings.reasons import NotRead, Reason
from edge_node.findings.series import Slice, Triple
from edge_node.findings.stacking import matching, stacked

RULES = rules.load().of("cmb")
assert RULES is not None
LIMITS = RULES.geometry
ROWS, COLUMNS, GAP_MM = 20, 24, 2.0


def slices(along_row: Triple = (1, 0, 0), along_column: Triple = (0, 1, 0), count: int = 14) -> list[Slice]:
    """Return slices of one volume."""
    normal = np.cross(along_row, along_column)
    return [
        Slice("", str(at), at, ROWS, COLUMNS, 1, _triple(np.array([3.0, -5.0, 7.0]) + at * GAP_MM * normal),
              along_row, along_column, (0.5, 0.75))
        for at in range(count)
    ]  # fmt: skip


def _triple(vector: "np.typing.NDArray[np.float64]") -> Triple:
    return float(vector[0]), float(vector[1]), float(vector[2])


@pytest.mark.parametrize(("row", "column"), list(product((1, -1), (1, -1))))
def test_voxels_lie_where_their_pixels_lay_however_rows_and_columns_were_written(row: int, column: int) -> None:
    along_row, along_column = (float(row), 0.0, 0.0), (0.0, float(column), 0.0)
    given = slices(along_row, along_column)
    stack = stacked(given, LIMITS)
    assert stack.geometry.axes == ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
    for at, r, c in ((0, 0, 0), (5, 3, 9), (13, ROWS - 1, COLUMNS - 1)):
        one = stack.slices[at]
        wanted = np.array(one.position_mm) + c * 0.75 * np.array(along_row) + r * 0.5 * np.array(along_column)
        voxel_row = ROWS - 1 - r if stack.is_row_flipped else r
        voxel_column = COLUMNS - 1 - c if stack.is_column_flipped else c
        found = stack.geometry.to_world_mm(np.array([[at, voxel_row, voxel_column]], dtype=float))[0]
        assert found == pytest.approx(wanted)


def test_slices_are_ordered_by_their_place_and_not_by_their_number() -> None:
    mixed = [replace(each, number=-each.number) for each in slices()]
    stack = stacked(mixed[5:] + mixed[:5], LIMITS)
    heights = [each.position_mm[2] for each in stack.slices if each.position_mm]
    assert heights == sorted(heights)


def test_a_little_tilt_is_taken_and_a_large_one_is_refused() -> None:
    def tilted(degrees: float) -> list[Slice]:
        angle = np.radians(degrees)
        return slices(along_column=(0.0, float(np.cos(angle)), float(np.sin(angle))))

    assert stacked(tilted(20), LIMITS).geometry.spacing_mm[0] == pytest.approx(GAP_MM)
    with pytest.raises(NotRead) as refusal:
        stacked(tilted(35), LIMITS)
    assert refusal.value.reason is Reason.SLICES_TILTED


def test_a_gap_that_varies_by_less_than_is_allowed_is_taken() -> None:
    given = slices()
    x_mm, y_mm, z_mm = given[4].position_mm or (0, 0, 0)
    given[4] = replace(given[4], position_mm=(x_mm, y_mm, z_mm + 0.04))
    assert len(stacked(given, LIMITS).slices) == len(given)
    given[4] = replace(given[4], position_mm=(x_mm, y_mm, z_mm + 0.3))
    with pytest.raises(NotRead):
        stacked(given, LIMITS)


def test_phase_is_put_in_the_order_of_the_magnitude() -> None:
    stack = stacked(slices(), LIMITS)
    phases = [replace(each, sop_instance_uid=f"p{each.sop_instance_uid}") for each in slices()]
    assert [each.sop_instance_uid for each in matching(stack, phases[::-1])] == [f"p{at}" for at in range(14)]


def test_slices_are_compared_in_full_only_where_they_lie_at_one_place(monkeypatch: pytest.MonkeyPatch) -> None:
    usual, compared = stacking._is_alike, []

    def counted(one: Slice, other: Slice) -> bool:
        compared.append(one)
        return usual(one, other)

    stack = stacked(slices(count=40), LIMITS)
    monkeypatch.setattr(stacking, "_is_alike", counted)
    matching(stack, slices(count=40)[::-1])
    assert len(compared) == 40


def test_phase_at_another_place_or_of_another_size_is_not_that_of_the_magnitude() -> None:
    stack, others = stacked(slices(), LIMITS), slices()
    x_mm, y_mm, z_mm = others[4].position_mm or (0, 0, 0)
    for changed in (
        replace(others[4], position_mm=(x_mm, y_mm, z_mm + 0.2)),
        replace(others[4], position_mm=None),
        replace(others[4], rows=ROWS + 1),
    ):
        with pytest.raises(NotRead) as refusal:
            matching(stack, [*others[:4], changed, *others[5:]])
        assert refusal.value.reason is Reason.PHASE_DIFFERS


def test_a_direction_that_is_none_is_refused() -> None:
    with pytest.raises(NotRead) as refusal:
        stacked(slices(along_row=(0.5, 0, 0)), LIMITS)
    assert refusal.value.reason is Reason.GEOMETRY_MISSING
