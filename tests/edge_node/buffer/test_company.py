"""How long messages wait for others, on a clock set by hand: pure."""

import heapq

import pytest

from edge_node.buffer.company import KNOWN_AFTER, PUSHES_S, SLACK_S, Company

LONGEST_S = 0.3


class Ward:
    """Monitors that send to one store, whose commits take no time of their own."""

    def __init__(self, company: Company) -> None:
        self.company = company
        self.now_s = 100.0
        self.commits = 0
        self.waits: dict[str, list[float]] = {}
        self._held: dict[str, float] = {}
        self._due_s = float("inf")

    def send(self, sender: str, at_s: float) -> None:
        """Let time go on to `at_s`, when this sender's message comes."""
        self._let_go_until(at_s)
        self.now_s = at_s
        self.company.came(sender, at_s)
        wait_s = self.company.wait_s(sender, at_s)
        self._held[sender] = at_s
        self._due_s = min(self._due_s, at_s + wait_s)
        if not wait_s:
            self._let_go(at_s)

    def answered(self, sender: str) -> float:
        """Return when the last message of this sender was answered."""
        if sender in self._held:
            self._let_go(self._due_s)
        return self.now_s + self.waits[sender][-1]

    def _let_go_until(self, at_s: float) -> None:
        if self._held and self._due_s <= at_s:
            self._let_go(self._due_s)

    def _let_go(self, at_s: float) -> None:
        self.company.gone(at_s)
        for sender, came_s in self._held.items():
            self.waits.setdefault(sender, []).append(at_s - came_s)
        self._held.clear()
        self._due_s = float("inf")
        self.commits += 1


def every_second(ward: Ward, offsets_s: dict[str, float], seconds: int, start_s: float = 100.0) -> None:
    """Let monitors each send once a second, at moments of their own."""
    moments = [(start_s + second + offset_s, name) for second in range(seconds) for name, offset_s in offsets_s.items()]
    for at_s, name in sorted(moments):
        ward.send(name, at_s)


TEN = {f"m{number}": number / 10 for number in range(10)}


def test_ten_monitors_that_send_at_even_distances_share_commits_once_their_pace_is_known() -> None:
    ward = Ward(Company(LONGEST_S))
    every_second(ward, TEN, KNOWN_AFTER + 1)
    before = ward.commits
    every_second(ward, TEN, 20, 100.0 + KNOWN_AFTER + 1)
    assert before >= 10 * KNOWN_AFTER
    assert (ward.commits - before) / 20 <= 4


def test_nobody_waits_longer_than_the_longest_wait() -> None:
    ward = Ward(Company(LONGEST_S))
    every_second(ward, TEN, 60)
    waits = [wait_s for each in ward.waits.values() for wait_s in each]
    assert 0.1 < max(waits) <= LONGEST_S + 1e-9


def test_nobody_waits_longer_where_the_one_that_was_expected_does_not_come() -> None:
    ward = Ward(Company(LONGEST_S))
    every_second(ward, {"m1": 0.0, "m2": 0.1}, 20)
    every_second(ward, {"m1": 0.0}, 2, 120.0)
    assert ward.waits["m1"][-2] == pytest.approx(0.1 + SLACK_S)
    every_second(ward, {"m1": 0.0, "m2": LONGEST_S - SLACK_S / 2}, 20, 122.0)
    every_second(ward, {"m1": 0.0}, 2, 142.0)
    assert ward.waits["m1"][-2] == pytest.approx(LONGEST_S)


def test_a_monitor_alone_never_waits() -> None:
    ward = Ward(Company(LONGEST_S))
    every_second(ward, {"m1": 0.0}, 60)
    assert set(ward.waits["m1"]) == {0.0}


def test_two_monitors_too_far_apart_to_share_do_not_wait() -> None:
    ward = Ward(Company(LONGEST_S))
    every_second(ward, {"m1": 0.0, "m2": 0.5}, 60)
    assert max(max(each) for each in ward.waits.values()) == 0.0


def test_two_monitors_wait_for_each_other_only_as_long_as_the_second_takes_to_come() -> None:
    ward = Ward(Company(LONGEST_S))
    every_second(ward, {"m1": 0.0, "m2": 0.05}, 60)
    assert ward.waits["m1"][-1] == pytest.approx(0.05)
    assert ward.waits["m2"][-1] == 0.0


def test_nothing_waits_where_the_longest_wait_is_nothing() -> None:
    ward = Ward(Company(0))
    every_second(ward, TEN, 30)
    assert max(max(each) for each in ward.waits.values()) == 0.0
    assert ward.company.next_s(ward.now_s, 10) == 0.0


def test_who_sends_a_queue_after_an_outage_is_never_held_back() -> None:
    ward = Ward(Company(LONGEST_S))
    every_second(ward, TEN, 20)
    began = len(ward.waits["m3"])
    for number in range(200):
        ward.send("m3", 121.0 + number * 0.005)
    assert set(ward.waits["m3"][began + 1 :]) == {0.0}


def test_eight_senders_that_push_are_never_held_back() -> None:
    ward = Ward(Company(LONGEST_S))
    every_second(ward, {f"m{number}": number / 1000 for number in range(8)}, 1)
    for turn in range(100):
        for number in range(8):
            ward.send(f"m{number}", 101 + turn * PUSHES_S / 2 + number / 1000)
    assert max(max(each) for each in ward.waits.values()) == 0.0


def test_a_monitor_that_pauses_after_each_answer_is_soon_answered_at_once() -> None:
    ward = Ward(Company(LONGEST_S))
    queue = [(100.0 + number / 10, f"m{number}") for number in range(9)] + [(100.0, "waits")]
    heapq.heapify(queue)
    came: list[float] = []
    for _ in range(600):
        at_s, name = heapq.heappop(queue)
        ward.send(name, at_s)
        if name == "waits":
            came.append(at_s)
            heapq.heappush(queue, (ward.answered(name) + 1.0, name))
        else:
            heapq.heappush(queue, (at_s + 1.0, name))
    assert max(ward.waits["waits"]) > 0.0
    assert ward.waits["waits"][-20:] == [0.0] * 20
    assert came[-1] - came[-2] == pytest.approx(1.0)


def test_who_was_silent_for_long_begins_anew_and_is_not_waited_for() -> None:
    ward = Ward(Company(LONGEST_S))
    every_second(ward, {"m1": 0.1, "m2": 0.05}, 20)
    assert ward.waits["m2"][-1] == pytest.approx(0.05)
    every_second(ward, {"m1": 0.1}, 60, 120.0)
    assert ward.waits["m1"][-1] == 0.0
    began = len(ward.waits["m2"])
    every_second(ward, {"m1": 0.1, "m2": 0.05}, 20, 180.0)
    assert ward.waits["m2"][began : began + KNOWN_AFTER] == [0.0] * KNOWN_AFTER
    assert ward.waits["m2"][-1] == pytest.approx(0.05)


def test_what_can_be_done_any_time_is_told_when_the_next_message_is_expected() -> None:
    ward = Ward(Company(LONGEST_S))
    every_second(ward, {"m1": 0.0, "m2": 0.05}, 20)
    assert ward.company.next_s(119.5, 1.0) == pytest.approx(0.5)
    assert ward.company.next_s(119.5, 0.1) == 0.0
