"""The table of a bundle's stages: what may happen in each, and what it means for the others of its task."""

import itertools
import json

import pytest
from telemed.bundle import Bundle, Refusal, parse

from edge_node.inference import rollout
from edge_node.inference.rollout import HISTORY, TABLE, Event, Row, Rows, Stage, moved, on_duty, on_trial, unbelieved
from tests.fakes.bundles import draft

FACT = {"sha256": "0" * 64, "size_bytes": 1}


def bundle(version: str, task: str = "blur") -> Bundle:
    whole = draft(version) | {"format": 1, "task": task, "files": {"net.onnx": FACT, "golden/0.npz": FACT}}
    return parse(json.dumps(whole).encode())


class Story:
    """The rows of a node, told step by step."""

    def __init__(self) -> None:
        self.rows: Rows = ()
        self._ids: dict[str, str] = {}
        self._now = itertools.count(1)

    def comes(self, version: str, *events: Event, task: str = "blur") -> "Story":
        made = bundle(version, task)
        self._ids[version] = made.bundle_id
        self.rows = on_trial(self.rows, made, next(self._now))
        for event in events:
            self.happens(version, event)
        return self

    def happens(self, version: str, event: Event) -> "Story":
        self.rows = moved(self.rows, self._ids[version], event, next(self._now))
        return self

    @property
    def stages(self) -> dict[str, Stage]:
        return {row.version: row.stage for row in self.rows}


def test_what_is_not_in_the_table_cannot_happen() -> None:
    for stage, event in itertools.product(Stage, Event):
        rows: Rows = (Row("id", "blur", "1.0.0", stage, 1),)
        if (stage, event) in TABLE:
            assert moved(rows, "id", event, 2)[0].stage is TABLE[stage, event]
        else:
            with pytest.raises(KeyError):
                moved(rows, "id", event, 2)


def test_a_new_version_replaces_the_one_on_duty_which_is_kept() -> None:
    story = Story().comes("1.0.0", Event.PASSED, Event.STEADY).comes("1.1.0", Event.PASSED)
    assert story.stages == {"1.0.0": Stage.FORMER, "1.1.0": Stage.PROBATION}


def test_one_that_misbehaves_on_probation_gives_way_to_the_one_before_it() -> None:
    story = Story().comes("1.0.0", Event.PASSED, Event.STEADY).comes("1.1.0", Event.PASSED, Event.MISBEHAVED)
    assert story.stages == {"1.0.0": Stage.SERVING, "1.1.0": Stage.ROLLED_BACK}
    found = on_duty(story.rows, "blur")
    assert found is not None
    assert found.version == "1.0.0"


def test_one_that_fails_its_test_changes_nothing_for_the_others() -> None:
    story = Story().comes("1.0.0", Event.PASSED, Event.STEADY).comes("1.1.0", Event.FAILED)
    assert story.stages == {"1.0.0": Stage.SERVING, "1.1.0": Stage.REFUSED}


def test_two_new_versions_in_a_row_leave_the_last_steady_one_to_go_back_to() -> None:
    story = Story().comes("1.0.0", Event.PASSED, Event.STEADY).comes("1.1.0", Event.PASSED).comes("1.2.0", Event.PASSED)
    assert story.stages == {"1.0.0": Stage.FORMER, "1.1.0": Stage.RETIRED, "1.2.0": Stage.PROBATION}
    story.happens("1.2.0", Event.MISBEHAVED)
    assert story.stages["1.0.0"] is Stage.SERVING


def test_one_that_was_replaced_early_is_kept_where_there_is_no_steadier_one() -> None:
    story = Story().comes("1.0.0", Event.PASSED).comes("1.1.0", Event.PASSED)
    assert story.stages == {"1.0.0": Stage.FORMER, "1.1.0": Stage.PROBATION}
    assert rollout.given_up_by(story.rows, story.rows[-1], Refusal.NOT_FINITE) is Event.MISBEHAVED
    story.happens("1.1.0", Event.MISBEHAVED)
    assert story.stages == {"1.0.0": Stage.SERVING, "1.1.0": Stage.ROLLED_BACK}


def test_the_first_of_all_has_nothing_to_go_back_to() -> None:
    story = Story().comes("1.0.0", Event.PASSED)
    assert rollout.given_up_by(story.rows, story.rows[0], Refusal.NOT_FINITE) is None
    assert rollout.given_up_by(story.rows, story.rows[0], Refusal.HASH_WRONG) is None


def test_only_one_former_version_is_kept() -> None:
    story = Story()
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        story.comes(version, Event.PASSED, Event.STEADY)
    assert story.stages == {"1.0.0": Stage.RETIRED, "1.1.0": Stage.FORMER, "1.2.0": Stage.SERVING}


def test_tasks_do_not_touch_each_other() -> None:
    story = Story().comes("1.0.0", Event.PASSED).comes("2.0.0", Event.PASSED, task="edges")
    assert story.stages == {"1.0.0": Stage.PROBATION, "2.0.0": Stage.PROBATION}
    assert on_duty(story.rows, "third") is None


def test_a_version_that_comes_again_is_tried_again() -> None:
    story = Story().comes("1.0.0", Event.PASSED, Event.MISBEHAVED).comes("1.0.0", Event.PASSED)
    assert story.stages == {"1.0.0": Stage.PROBATION}


def test_the_history_is_bounded_and_what_is_kept_stays() -> None:
    story = Story().comes("1.0.0", Event.PASSED, Event.STEADY)
    rows = story.rows
    for number in range(HISTORY + 5):
        rows = unbelieved(rows, f"{number:064}", (Refusal.SIGNATURE_WRONG, ""), 100 + number)
    assert len(rows) == HISTORY + 1
    assert rollout.on_duty(rows, "blur") is not None
    assert f"{0:064}" not in {row.bundle_id for row in rows}
