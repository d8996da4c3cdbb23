"""What goes first, what is held, and where a file may step next."""

import random
from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from telemed.errors import Code
from telemed.transfer import CHUNK_BYTES, FileKind

from edge_node.uplink.transfer.budget import Rule, Window
from edge_node.uplink.transfer.order import in_order
from edge_node.uplink.transfer.parcel import Labels, Parcel
from edge_node.uplink.transfer.plan import NS, plan
from edge_node.uplink.transfer.states import KEEPS_CONTENT, NEXT, UNFINISHED, State, Step

SHANGHAI = ZoneInfo("Asia/Shanghai")
NOON_NS = 1_795_665_600 * NS  # 2026-11-26 12:00 in Shanghai


def parcel(name: str, at: int = 0, group: str = "", **labels: object) -> Parcel:
    kind = labels.pop("kind", FileKind.STUDY)
    made = Labels(kind, name, group, **labels)  # type: ignore[arg-type]
    return Parcel(name, "ab" * 32, 10 * CHUNK_BYTES, made, queued_ns=at)


def names(parcels: list[Parcel], seed: int = 1) -> list[str]:
    shuffled = list(parcels)
    random.Random(seed).shuffle(shuffled)
    return [each.labels.name for each in in_order(shuffled)]


def test_a_more_urgent_priority_goes_first_whatever_its_age() -> None:
    assert names([parcel("late", 9, priority=0), parcel("old", 1, priority=5), parcel("new", 2, priority=5)]) == [
        "late",
        "old",
        "new",
    ]


def test_an_urgent_file_goes_before_every_priority() -> None:
    assert names([parcel("first", 1, priority=0), parcel("stroke", 9, is_urgent=True)]) == ["stroke", "first"]


def test_the_preview_goes_before_the_rest_of_its_group() -> None:
    group = [parcel("slice 1", 1, "s"), parcel("slice 2", 2, "s"), parcel("preview", 3, "s", is_preview=True)]
    assert names(group) == ["preview", "slice 1", "slice 2"]


def test_the_preview_of_a_second_patient_does_not_wait_for_the_body_of_the_first() -> None:
    first = [parcel("first body", 1, "a"), parcel("first preview", 2, "a", is_preview=True)]
    second = [parcel("second body", 3, "b"), parcel("second preview", 4, "b", is_preview=True)]
    assert names([*first, *second]) == ["first preview", "second preview", "first body", "second body"]


def test_a_study_that_was_begun_is_finished_before_the_next() -> None:
    parcels = [parcel("a1", 1, "a"), parcel("b1", 2, "b"), parcel("a2", 3, "a"), parcel("b2", 4, "b"), parcel("c", 2)]
    assert names(parcels)[:2] == ["a1", "a2"]
    assert names(parcels).index("b2") == names(parcels).index("b1") + 1


def test_kinds_have_their_usual_priorities() -> None:
    assert names(
        [parcel("log", 1, kind=FileKind.OTHER), parcel("study", 2), parcel("exam", 3, kind=FileKind.EXAM)]
    ) == [
        "study",
        "exam",
        "log",
    ]


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.booleans(), st.booleans(), st.sampled_from(["", "a", "b"]), st.integers(0, 5)),
        max_size=12,
    ),
    st.integers(0, 99),
)
def test_the_order_depends_on_the_files_alone(found: list[tuple[int, bool, bool, str, int]], seed: int) -> None:
    parcels = [
        parcel(f"n{number}", at, group, priority=priority, is_preview=is_preview, is_urgent=is_urgent)
        for number, (priority, is_preview, is_urgent, group, at) in enumerate(found)
    ]
    ordered = in_order(parcels)
    assert names(parcels, seed) == [each.labels.name for each in ordered]
    ranks = [(not each.labels.is_urgent, each.labels.rank, not each.labels.is_preview) for each in ordered]
    assert ranks == sorted(ranks)


def test_what_may_go_is_ready_and_the_rest_says_why_and_until_when() -> None:
    rules = {
        FileKind.STUDY: Rule(bytes_per_day=5 * CHUNK_BYTES),
        FileKind.EXAM: Rule(windows=(Window.parse("22:00-06:00"),)),
    }
    parcels = [
        parcel("used up"),
        parcel("urgent", is_urgent=True),
        parcel("at night", kind=FileKind.EXAM),
        parcel("free", kind=FileKind.OTHER),
    ]
    now = plan(parcels, rules, {FileKind.STUDY: 5 * CHUNK_BYTES}, NOON_NS, SHANGHAI)
    assert [each.labels.name for each in now.ready] == ["urgent", "free"]
    assert now.held is not None
    assert {name: hold.code for name, hold in now.held.items()} == {
        "used up": Code.BUDGET_USED,
        "at night": Code.OUTSIDE_HOURS,
    }
    assert now.held["used up"].resume_ns == NOON_NS + 12 * 3600 * NS
    assert now.wake_ns == now.held["at night"].resume_ns == NOON_NS + 10 * 3600 * NS


def test_what_the_hub_put_off_waits_for_its_time_and_a_rule_is_judged_anew() -> None:
    put_off = replace(parcel("full"), state=State.PAUSED, code=Code.STORE_NEARLY_FULL, resume_ns=NOON_NS + 60 * NS)
    by_rule = replace(parcel("night"), state=State.PAUSED, code=Code.OUTSIDE_HOURS, resume_ns=NOON_NS + 60 * NS)
    now = plan([put_off, by_rule], {}, {}, NOON_NS, SHANGHAI)
    assert [each.labels.name for each in now.ready] == ["night"]
    assert now.wake_ns == put_off.resume_ns
    later = plan([put_off], {}, {}, NOON_NS + 60 * NS, SHANGHAI)
    assert [each.labels.name for each in later.ready] == ["full"]


def test_a_budget_with_room_for_the_last_short_chunk_lets_it_go() -> None:
    nearly_done = replace(parcel("tail"), size_bytes=CHUNK_BYTES + 10, durable_bytes=CHUNK_BYTES)
    rules = {FileKind.STUDY: Rule(bytes_per_day=1000)}
    assert plan([nearly_done], rules, {FileKind.STUDY: 990}, NOON_NS, SHANGHAI).ready == (nearly_done,)
    assert plan([nearly_done], rules, {FileKind.STUDY: 991}, NOON_NS, SHANGHAI).ready == ()


ALLOWED = {
    State.WAITING: {Step.BEGIN, Step.HOLD, Step.ARRIVED, Step.REFUSE, Step.CANCEL},
    State.SENDING: {Step.HOLD, Step.RESUME, Step.ARRIVED, Step.REFUSE, Step.CANCEL},
    State.PAUSED: {Step.HOLD, Step.RESUME, Step.ARRIVED, Step.REFUSE, Step.CANCEL},
    State.DONE: {Step.LOST},
    State.REFUSED: {Step.AGAIN, Step.CANCEL},
    State.CANCELLED: set(),
}


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("step", list(Step))
def test_every_step_that_is_not_in_the_table_is_forbidden(state: State, step: Step) -> None:
    assert ((state, step) in NEXT) == (step in ALLOWED[state])


def test_content_stays_as_long_as_the_file_may_still_be_sent() -> None:
    assert set(KEEPS_CONTENT) == set(UNFINISHED) | {State.REFUSED}
    assert all(after in KEEPS_CONTENT for (state, step), after in NEXT.items() if step in (Step.AGAIN, Step.LOST))
