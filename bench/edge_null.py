"""An edge node whose buffer and uplink do nothing, or whose uplink alone does: what it costs is the cost of the rest.

Run as `python -m bench.edge_null serve --config FILE`, in place of `python -m edge_node`; with `--store` before `serve`
it stores as ever, and sends nothing.
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


def main(arguments: list[str]) -> int:
    """Run the node with nothing before its hub and, unless it is told to store, nothing behind its store."""
    does_store = arguments[:1] == ["--store"]
    replaced: list[tuple[type, str, object]] = [(Uplink, "run", _send_nothing)]
    if not does_store:
        replaced += [(Buffer, "store_intake", _store_nothing), (Buffer, "append_alarms", _append_nothing)]
    for owner, name, nothing in replaced:
        setattr(owner, name, nothing)
    return command.main(arguments[1:] if does_store else arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
