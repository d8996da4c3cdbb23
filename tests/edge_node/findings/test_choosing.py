"""Which studies are due, and which series of them a task is given."""

from dataclasses import replace
from pathlib import Path

import pytest

from edge_node.errors import ConfigRefused
from edge_node.findings import rules
from edge_node.findings.due import Duty, Waits, due, sources
from edge_node.findings.reasons import NotRead, Reason
from edge_node.findings.series import Series, Slice, pairs, plays
from edge_node.imaging.study import Instance, Patient, Study

RULES = rules.load().of("cmb")
assert RULES is not None
DUTY = Duty("cmb", "0.1.0", "a" * 64)
STUDY = Study("s1", "1.2", Patient(), "", "", "", "", False, 0, 1000, 1, 0, "")
IMAGE = Instance("1.2.3", "b" * 64, 1, "1.2", "", "", 1, "MR", "", "", "", 4, 4, 1, "")
ONE = Slice("", "1", 1, 4, 4, 1, None, None, None, None)
MAGNITUDE = Series("m", "MR", "SWI_Images", 4, ("ORIGINAL", "PRIMARY", "M", "SWI"), "X", "F", (ONE, ONE))
PHASE = Series("p", "MR", "Pha_Images", 5, ("ORIGINAL", "PRIMARY", "P"), "X", "F", (ONE, ONE))


def test_a_study_is_due_between_its_quiet_and_the_longest_age() -> None:
    waits = Waits(30, 100)
    assert [list(due([STUDY], [DUTY], now, waits)) != [] for now in (1029, 1030, 1100, 1101)] == [
        False, True, True, False,
    ]  # fmt: skip


def test_a_study_that_has_no_name_of_its_own_is_never_due() -> None:
    assert list(due([replace(STUDY, study_uid="")], [DUTY], 1050, Waits(30, 100))) == []


def test_the_same_images_have_the_same_digest_whatever_the_node_added_to_the_study() -> None:
    other, report = replace(IMAGE, sop_instance_uid="1.2.4", sha256="c" * 64), replace(IMAGE, modality="SR")
    assert sources([IMAGE, other], "MR").digest == sources([report, other, IMAGE], "MR").digest
    assert sources([IMAGE], "MR").digest != sources([IMAGE, other], "MR").digest


def test_of_an_image_with_two_contents_the_first_is_read_and_both_are_known() -> None:
    found = sources([IMAGE, replace(IMAGE, version=2, sha256="d" * 64)], "MR")
    assert found.instances == (IMAGE,)
    assert found.differing == {"1.2.3"}


def test_magnitude_and_phase_of_one_frame_of_reference_belong_together() -> None:
    assert RULES is not None
    far = replace(PHASE, series_uid="far", number=9)
    (first, second) = pairs([far, MAGNITUDE, PHASE], RULES)
    assert (first.magnitude.series_uid, first.phase.series_uid) == ("m", "p")
    assert second.phase.series_uid == "far"
    with pytest.raises(NotRead) as refusal:
        pairs([MAGNITUDE, replace(PHASE, frame_of_reference="G")], RULES)
    assert refusal.value.reason is Reason.PHASE_MISSING


@pytest.mark.parametrize(
    ("image_type", "description", "is_one"),
    [
        (("ORIGINAL", "PRIMARY", "M", "SWI"), "", True),
        (("original", "primary", "m", "swi", "norm"), "", True),
        (("ORIGINAL", "PRIMARY"), "Ax SWAN", True),
        (("ORIGINAL", "PRIMARY", "M", "SWI", "MNIP"), "", False),
        (("ORIGINAL", "PRIMARY", "M"), "mIP_Images(SW)", False),
        (("DERIVED", "SECONDARY", "M"), "t2_swi_minIP_tra", False),
        (("ORIGINAL", "PRIMARY", "P", "SWI"), "", False),
        (("ORIGINAL", "PRIMARY", "M"), "t2_tse_tra", False),
    ],
)
def test_a_magnitude_series_is_known_by_its_kind_or_its_name(
    image_type: tuple[str, ...], description: str, is_one: bool
) -> None:
    assert RULES is not None
    series = replace(MAGNITUDE, image_type=image_type, description=description)
    assert plays(series, RULES.magnitude) is is_one


def test_a_projection_of_phases_is_no_phase_series() -> None:
    assert RULES is not None
    assert plays(replace(PHASE, description="pha_tra"), RULES.phase)
    assert not plays(replace(PHASE, description="pha_minIP_tra"), RULES.phase)


def test_a_study_of_another_modality_is_not_looked_at() -> None:
    assert RULES is not None
    assert pairs([replace(MAGNITUDE, modality="CT"), PHASE], RULES) == ()


def test_rules_that_cannot_be_used_are_refused_with_their_setting(tmp_path: Path) -> None:
    with pytest.raises(ConfigRefused, match=r"findings\.rules_file"):
        rules.load(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text('id = "x"')
    with pytest.raises(ConfigRefused, match=r"findings\.rules_file"):
        rules.load(tmp_path / "bad.toml")
