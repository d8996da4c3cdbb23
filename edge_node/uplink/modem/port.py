"""The port between the uplink and a modem."""

from collections.abc import Callable
from typing import Protocol

from edge_node.uplink.modem.sight import RadioSight

Tell = Callable[[RadioSight], None]
"""Take a sight; called on the event loop, must not block."""


class Modem(Protocol):
    """One modem, watched; it is somebody else's to connect (NetworkManager's, say)."""

    async def run(self, tell: Tell) -> None:
        """Tell a sight at once, one whenever something changed, and one now and then as a sign of life.

        A modem that goes and comes back is told as sights.  Where whoever drives it cannot be asked any more this
        raises, and the supervisor decides when to begin again.

        Raises:
            ModemUnreachable: bus or program do not answer.
        """

    async def use_sim(self, slot: int) -> None:
        """Change to the SIM in this slot (1, 2, ...); the modem is away meanwhile, up to a minute.

        Raises:
            SimRefused: no such slot, no card in it, not permitted, or the modem cannot switch.
            ModemUnreachable: bus or program do not answer; whether it switched the next sights tell.
        """
