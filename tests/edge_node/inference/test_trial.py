"""The self-test: answers, speed, and the choice of what runs a bundle."""

from collections.abc import Callable

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
    return Subject(bundle("1.0.0"), [("net", Case({"image": each}, {"out": blurred(each)})) for each in given])


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
