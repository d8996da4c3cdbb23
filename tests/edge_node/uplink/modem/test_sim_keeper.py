"""The modem is kept on the chosen SIM, asked once for each change, and a refusal is no end."""

import asyncio
from dataclasses import dataclass, field

import pytest
from telemed.radio import SIM_REASONS, STATES, TECHNOLOGIES

from edge_node.errors import EdgeError, ModemUnreachable, SimRefused
from edge_node.uplink.modem.port import Tell
from edge_node.uplink.modem.sight import ModemState, RadioSight, Technology
from edge_node.uplink.modem.sim_choice import SWITCH_LIMIT_S, Reason, SimPolicy
from edge_node.uplink.modem.sim_keeper import SimKeeper

pytestmark = pytest.mark.anyio


@dataclass(slots=True)
class Bench:
    """A modem without service, the keeper's clock, and what was asked."""

    failure: EdgeError | None = None
    slot: int = 1
    now_s: float = 0.0
    seen: bool = True
    asked: list[tuple[float, int]] = field(default_factory=list)
    keeper: SimKeeper = field(init=False)

    def __post_init__(self) -> None:
        self.keeper = SimKeeper(self, SimPolicy(), self.sight, lambda: 0, clock_s=lambda: self.now_s, sleep=self.sleep)

    def sight(self) -> RadioSight | None:
        return RadioSight("5g", ModemState.SEARCHING, self.now_s, sim_slot=self.slot) if self.seen else None

    async def run(self, tell: Tell) -> None:
        raise NotImplementedError

    async def use_sim(self, slot: int) -> None:
        self.asked.append((self.now_s, slot))
        if self.failure is not None:
            raise self.failure
        self.slot = slot

    async def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        await asyncio.sleep(0)

    async def live(self, until_s: float) -> None:
        task = asyncio.ensure_future(self.keeper.run())
        while self.now_s < until_s:  # noqa: ASYNC110
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()


async def test_each_change_is_asked_for_once() -> None:
    bench = Bench()
    await bench.live(1000)
    assert bench.asked == [(121, 2), (721, 1)]
    assert (bench.keeper.choice.slot, bench.keeper.choice.reason) == (1, Reason.NO_SERVICE)


async def test_nothing_is_asked_before_the_modem_was_seen() -> None:
    bench = Bench(seen=False)
    await bench.live(1000)
    assert bench.asked == []


async def test_a_refused_change_is_asked_again_after_a_while() -> None:
    bench = Bench(failure=SimRefused(2, "there is no card in it"))
    await bench.live(1400)
    assert bench.asked == [(121, 2), (721, 2), (1321, 2)]
    assert bench.keeper.choice.slot == 1


async def test_a_change_without_an_answer_is_judged_by_what_is_seen() -> None:
    bench = Bench(failure=ModemUnreachable("no answer"))
    await bench.live(1000)
    assert bench.asked == [(121, 2), (121 + SWITCH_LIMIT_S + 600, 2)]


def test_everything_has_words_in_both_languages() -> None:
    for kinds, words in ((ModemState, STATES), (Technology, TECHNOLOGIES), (Reason, SIM_REASONS)):
        assert {kind.value for kind in kinds} == set(words)
        assert all(text.zh and text.en for text in words.values())
