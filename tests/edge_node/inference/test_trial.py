"""The self-test: answers, speed, and the choice of what runs a bundle."""

import threading
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from telemed.bundle import Refusal
from telemed.bundle_golden import Array, Arrays, Case

from edge_node.errors import EngineFailed
from edge_node.inference import trial
from edge_node.inference.engine import EVERYWHERE, Choice, Library, Offer
from edge_node.inference.trial import Subject, choices, fastest, judge_speed, self_test, times_s
from tests.edge_node.inference.test_rollout import bundle
from tests.fakes.bundles import blurred, image

pytestmark = pytest.mark.anyio
CPU, CUDA = Offer(Library.ONNXRUNTIME_CPU, "1", "x86"), Offer(Library.ONNXRUNTIME_CUDA, "1", "card")
RTX = Offer(Library.TENSORRT_RTX, "1", "card")


class Runner:
    """Answers by a function of the image, on a clock of its own."""

    def __init__(self, answer: Callable[[Array], Array], takes_s: float = 0.0) -> None:
        self.answer, self.takes_s, self.count = answer, takes_s, 0

    async def run(self, graph_name: str, inputs: Arrays) -> dict[str, Array]:
        self.count += 1
        Clock.now_s += self.takes_s
        return {"out": self.answer(inputs["image"])}


class Clock:
    now_s = 0.0


def subject(cases: int = 2) -> Subject:
    given = [image(seed) for seed in range(cases)]
    return Subject(bundle("1.0.0"), [("net", partial(Case, {"image": each}, {"out": blurred(each)})) for each in given])


async def test_right_answers_pass_and_the_largest_difference_is_told() -> None:
    assert await self_test(Runner(lambda given: blurred(given) + np.float32(5e-5)), subject(), "fp32") == pytest.approx(
        5e-5, rel=0.01
    )


@pytest.mark.parametrize("wrong", [np.float32(2e-4), np.float32("nan")])
async def test_an_answer_beyond_the_tolerance_fails(wrong: np.float32) -> None:
    with pytest.raises(EngineFailed) as failed:
        await self_test(Runner(lambda given: blurred(given) + wrong), subject(), "fp32")
    assert failed.value.reason is Refusal.GOLDEN_DIFFERS


async def test_a_precision_without_a_tolerance_is_shut_however_right_it_is() -> None:
    with pytest.raises(EngineFailed) as failed:
        await self_test(Runner(blurred), subject(), "int8")
    assert failed.value.reason is Refusal.GOLDEN_DIFFERS


async def test_speeds_are_measured_by_turns_and_the_best_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "monotonic", lambda: Clock.now_s)
    quick, slow = Runner(blurred, 0.1), Runner(blurred, 1.5)
    assert await times_s([(quick, subject()), (slow, subject(3))]) == pytest.approx([0.1, 1.5])
    assert quick.count == slow.count == trial.ROUNDS


async def test_what_is_slow_is_measured_once_and_no_oftener_than_there_is_time_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trial, "monotonic", lambda: Clock.now_s)
    one, other = Runner(blurred, 20.0), Runner(blurred, 25.0)
    assert await times_s([(one, subject()), (other, subject())], Clock.now_s) == pytest.approx([20.0, 25.0])
    assert one.count == other.count == 1
    assert await times_s([(one, subject()), (other, subject())], Clock.now_s + 50.0) == pytest.approx([20.0, 25.0])
    assert one.count == other.count == 3


def test_a_model_that_may_take_long_has_time_to_show_that_it_works() -> None:
    quick = bundle("1.0.0").manifest
    assert trial.limit_s(quick) == trial.LIMIT_S
    graphs = {name: graph.model_copy(update={"deadline_s": 600.0}) for name, graph in quick.graphs.items()}
    assert trial.limit_s(quick.model_copy(update={"graphs": graphs})) == 1200.0


async def test_golden_cases_are_read_one_by_one_and_not_on_the_loop() -> None:
    held: list[int] = []
    threads: set[int] = set()

    def read(at: int) -> Case:
        threads.add(threading.get_ident())
        held.append(at)
        return Case({"image": image(at)}, {"out": blurred(image(at))})

    def answer(given: Array) -> Array:
        # When a case is run, no later one was read.
        assert np.array_equal(given, image(held[-1]))
        return blurred(given)

    lazy = Subject(bundle("1.0.0"), [("net", partial(read, at)) for at in range(3)])
    await self_test(Runner(answer), lazy, "fp32")
    assert held == [0, 1, 2]
    assert threading.get_ident() not in threads


@pytest.mark.parametrize(
    ("new_s", "former_s", "is_refused"), [(0.31, 0.1, True), (0.29, 0.1, False), (0.05, 0.001, False)]
)
def test_a_version_far_slower_than_the_one_before_it_is_refused(
    new_s: float, former_s: float, is_refused: bool
) -> None:
    if is_refused:
        with pytest.raises(EngineFailed) as failed:
            judge_speed(new_s, former_s, 3.0)
        assert failed.value.reason is Refusal.TOO_SLOW
    else:
        judge_speed(new_s, former_s, 3.0)


def test_everything_but_the_everywhere_and_half_precision_on_processors_is_worth_a_try() -> None:
    found = choices([CPU, CUDA, RTX], ["fp32", "fp16", "int8"])
    assert EVERYWHERE not in found
    assert Choice(Library.ONNXRUNTIME_CPU, "fp16") not in found
    assert {str(each) for each in found} == {
        "onnxruntime-cpu/int8",
        *(f"{library}/{each}" for library in ("onnxruntime-cuda", "tensorrt-rtx") for each in ("fp32", "fp16", "int8")),
    }
    assert choices([CPU], ["fp32"]) == []


def test_another_engine_must_be_clearly_faster_to_be_chosen() -> None:
    cuda, rtx = Choice(Library.ONNXRUNTIME_CUDA, "fp32"), Choice(Library.TENSORRT_RTX, "fp16")
    assert fastest({EVERYWHERE: 1.0, cuda: 0.5, rtx: 0.2}) == rtx
    assert fastest({EVERYWHERE: 1.0, cuda: 0.9}) == EVERYWHERE
    assert fastest({EVERYWHERE: 1.0}) == EVERYWHERE
