"""The node's mobile links: watches each modem, keeps its SIM, and tells what the link's estimate must know."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence

import structlog
from telemed.v1 import uplink_pb2

from edge_node.config import ModemConfig
from edge_node.errors import ModemUnreachable
from edge_node.uplink.modem.modem_manager import ModemManagerModem
from edge_node.uplink.modem.port import Modem
from edge_node.uplink.modem.recorded import RecordedModem
from edge_node.uplink.modem.sight import (
    ModemState,
    RadioSight,
    bars,
    carried,
    changes,
    first_guess_bps,
    is_new_way,
)
from edge_node.uplink.modem.sim_choice import SimPolicy
from edge_node.uplink.modem.sim_keeper import SimKeeper

UNREACHABLE_WAIT_S = 5.0

log = structlog.get_logger(__name__)


class Radio:
    """One modem with its SIMs; `run` watches it."""

    def __init__(self, config: ModemConfig, hub_silent_s: Callable[[], float]) -> None:
        self.path = config.path
        self.sight: RadioSight | None = None
        """What it told last."""
        self.changed: Counter[str] = Counter()
        self.on_new_way: Callable[[int], None] = lambda _first_guess_bps: None
        """Told where nothing that was measured of the link holds any more, with a first guess in bits a second."""
        self._known: RadioSight | None = None
        self._modem = _modem_of(config)
        self._keeper: SimKeeper | None = None
        if config.sim is not None:
            policy = SimPolicy(**config.sim.model_dump())
            self._keeper = SimKeeper(self._modem, policy, lambda: self.sight, hub_silent_s)

    async def run(self) -> None:
        """Watch until cancelled; a modem whose driver does not answer is asked again."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch(), name=f"modem-{self.path}")
            if self._keeper is not None:
                group.create_task(self._keeper.run(), name=f"sim-{self.path}")

    async def _watch(self) -> None:
        is_failing = False
        while True:
            try:
                await self._modem.run(self._take)
            except ModemUnreachable as failure:
                if not is_failing:
                    log.warning("modem.unreachable", path=self.path, reason=str(failure))
                is_failing = True
                self._take(RadioSight(self.path, ModemState.ABSENT, time.monotonic()))
            await asyncio.sleep(UNREACHABLE_WAIT_S)

    def _take(self, sight: RadioSight) -> None:
        found = changes(self._known, sight)
        self.sight, self._known = sight, carried(self._known, sight)
        self.changed.update(each.value for each in found)
        if found:
            log.info("modem.changed", path=self.path, what=[each.value for each in found], state=sight.state.value)
        if is_new_way(found):
            self.on_new_way(first_guess_bps(sight))

    def message(self) -> uplink_pb2.Radio:
        """Return what it sees, for presence and page."""
        sight = self.sight
        if sight is None:
            return uplink_pb2.Radio(path=self.path, state=ModemState.STARTING.value, bars=-1)
        shown = bars(sight)
        return uplink_pb2.Radio(
            path=self.path,
            state=sight.state.value,
            technology=sight.technology.value if sight.technology else "",
            bars=-1 if shown is None else shown,
            rsrp_dbm=sight.cell.rsrp_dbm or 0.0,
            operator=sight.operator or "",
            is_roaming=bool(sight.is_roaming),
            sim_slot=sight.sim_slot or 0,
            sim_reason=self._keeper.choice.reason.value if self._keeper is not None else "",
            seen_unix_ns=time.time_ns() - round((time.monotonic() - sight.at_s) * 1e9),
        )


class Radios:
    """All modems of a node; none where none is configured."""

    def __init__(self, configs: Sequence[ModemConfig], hub_silent_s: Callable[[], float]) -> None:
        self.each = [Radio(config, hub_silent_s) for config in configs]

    def on_new_way(self, tell: Callable[[int], None]) -> None:
        """Let a hand-over of the first modem be told: measurements and files go that way, alarms by all."""
        for radio in self.each[:1]:
            radio.on_new_way = tell

    def messages(self) -> list[uplink_pb2.Radio]:
        """Return what they see, in the order of the configuration."""
        return [radio.message() for radio in self.each]


def _modem_of(config: ModemConfig) -> Modem:
    if config.kind == "recorded":
        return RecordedModem(config.path, dict(enumerate(config.recordings, 1)), config.speed)
    return ModemManagerModem(config.path, config.device, config.signal_every_s)
