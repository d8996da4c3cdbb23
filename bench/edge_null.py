"""An edge node whose buffer and uplink do nothing: what it costs is the cost of everything else.

Run as `python -m bench.edge_null serve --config FILE`, in place of `python -m edge_node`.
"""

import asyncio
import sys
from collections.abc import Mapping, Sequence

from telemed.v1 import alarm_pb2

from edge_node import __main__ as command
from edge_node.buffer.store import Buffer
from edge_node.samples.measurement import Intake, Stored
from edge_node.uplink.uplink import Uplink


async def _store_nothing(_buffer: Buffer, _intake: Intake) -> Stored:
    return Stored.NEW


async def _append_nothing(
    _buffer: Buffer, _events: Sequence[alarm_pb2.AlarmEvent], _evaluated: Mapping[str, int] | None = None
) -> None:
    return None


async def _send_nothing(_uplink: Uplink) -> None:
    await asyncio.Event().wait()


def main() -> int:
    """Run the node with nothing behind its store and nothing before its hub."""
    for owner, name, nothing in (
        (Buffer, "store_intake", _store_nothing),
        (Buffer, "append_alarms", _append_nothing),
        (Uplink, "run", _send_nothing),
    ):
        setattr(owner, name, nothing)
    return command.main()


if __name__ == "__main__":
    sys.exit(main())
