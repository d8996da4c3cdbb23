"""How far a report has come by what is said of its findings."""

from dataclasses import replace

import pytest

from cloud_hub.care import finding_review
from cloud_hub.care.finding_review import NOTHING, Report, Review, Said, State, Told, Verdict, Word

A, R, BACK = Word(Verdict.ACCEPTED), Word(Verdict.REJECTED, "vessel"), Word(Verdict.REOPENED)
SAID = Said("cerebral-microbleed", "lobar", (1.0, 2.0, 3.0), 4.0)
TOLD = Told(SAID, 0.8, "1.2.3", "1.2.3.4")


def log(*words: tuple[str, Word], findings: int = 2) -> list[Review]:
    """What was said one after the other, as (finding, word)."""
    report, made = Report("k", "1.2", "f" * 64, "cmb", "1", "b" * 64, findings), list[Review]()
    for at, (uid, word) in enumerate(words):
        version = 1 + sum(one.finding_uid == uid for one in made)
        made.append(Review(str(at), report, uid, TOLD, version, word, "doctor", "physician", at))
    return made


@pytest.mark.parametrize(
    ("words", "state"),
    [
        ([], State.PRELIMINARY),
        ([("x", A)], State.PRELIMINARY),
        ([("x", A), ("x", A)], State.PRELIMINARY),
        ([("x", A), ("y", R)], State.FINAL),
        ([("x", A), ("x", R), ("y", A)], State.FINAL),
        ([("x", A), ("y", R), ("x", BACK)], State.PRELIMINARY),
        ([("x", A), ("y", R), ("x", R)], State.AMENDED),
        ([("x", A), ("y", R), ("x", BACK), ("x", A)], State.AMENDED),
    ],
)
def test_a_report_is_final_when_each_finding_has_a_verdict_that_stands(
    words: list[tuple[str, Word]], state: State
) -> None:
    assert finding_review.state("FOUND", log(*words)) is state


def test_a_report_without_findings_is_final_when_somebody_says_that_there_is_none_and_one_not_read_is_cancelled() -> (
    None
):
    assert finding_review.state("NONE-FOUND", []) is State.PRELIMINARY
    assert finding_review.state("NONE-FOUND", log(("1.2", A), findings=0)) is State.FINAL
    assert finding_review.state("NONE-FOUND", log(("1.2", A), ("1.2", BACK), findings=0)) is State.PRELIMINARY
    assert finding_review.state("NOT-READ", []) is State.CANCELLED


def test_the_newest_word_stands_whatever_order_the_rows_come_in() -> None:
    reviews = log(("x", A), ("y", A), ("x", R))
    assert finding_review.newest(reversed(reviews))["x"].word is R


@pytest.mark.parametrize("word", [R, Word(Verdict.EDITED, said=SAID)])
def test_where_nothing_was_found_one_can_agree_and_nothing_else(word: Word) -> None:
    assert finding_review.lacking(word, NOTHING, None) == ["verdict"]
    assert finding_review.lacking(A, NOTHING, None) == []


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"region": "cortex"}, "said.region"),
        ({"centre_mm": (float("nan"), 0.0, 0.0)}, "said.centre_mm"),
        ({"diameter_mm": float("nan")}, "said.diameter_mm"),
        ({"diameter_mm": 101.0}, "said.diameter_mm"),
    ],
)
def test_a_correction_is_of_the_closed_list_and_a_place_that_a_body_has(change: dict[str, object], field: str) -> None:
    said = replace(SAID, **change)  # type: ignore[arg-type]
    assert finding_review.lacking(Word(Verdict.EDITED, said=said), TOLD, None) == [field]
    assert finding_review.lacking(Word(Verdict.EDITED, said=replace(SAID, diameter_mm=5.0)), TOLD, None) == []
