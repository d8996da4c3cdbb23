"""The demo's scanner: what it sends is an image of the one in the bed, in its place."""

from datetime import UTC, datetime

import numpy as np
import pytest

from deploy.demo import scanner
from deploy.demo.story import CLINIC
from models.phantoms.swi_head import head
from models.phantoms.swi_images import Study, images

NOW = datetime(2026, 11, 27, 8, 0, tzinfo=UTC)
BED = CLINIC.beds[0]


def test_a_study_is_of_whoever_lies_there_and_was_taken_before_now() -> None:
    found = list(scanner.study_of(BED, NOW))
    assert {(each.PatientID, str(each.PatientName)) for each in found} == {(BED.person.number, "谷^雨生")}
    assert {each.StudyDate + each.StudyTime for each in found} == {"20261127074500"}
    assert len({each.SOPInstanceUID for each in found}) == len(found) == 48


def test_a_finer_image_lies_where_the_coarse_one_lies_and_shows_the_same() -> None:
    coarse, *_ = images(head(1, "hard"), Study("1.2", NOW, "P-1", "A^B", "19520314", "F"))
    before = np.frombuffer(coarse.PixelData, "<u2").reshape(coarse.Rows, coarse.Columns)
    corner = [place - spacing / 2 for place, spacing in zip(coarse.ImagePositionPatient, (1.0, 1.0), strict=False)]
    fine = scanner.finer(coarse)
    after = np.frombuffer(fine.PixelData, "<u2").reshape(fine.Rows, fine.Columns)
    assert after.shape == tuple(scanner.FINER * count for count in before.shape)
    assert [
        place - spacing / 2
        for place, spacing in zip(fine.ImagePositionPatient[:2], fine.PixelSpacing[::-1], strict=True)
    ] == pytest.approx(corner)
    blocks = after.reshape(before.shape[0], scanner.FINER, before.shape[1], scanner.FINER).mean(axis=(1, 3))
    assert np.abs(blocks - before).mean() < 0.2 * before.std()
