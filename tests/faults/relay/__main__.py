"""A relay as a process: `python -m tests.faults.relay PROFILE`, controlled on its standard input and output.

PROFILE is a .toml or .json file, or "-": then the first line of standard input is the profile in JSON.  The first
line of output is {"ready": ...} with the addresses, or {"unavailable": reason} or {"refused": reason}; then one answer
for each order (see control.py).  It ends when told to stop, on SIGTERM or SIGINT, and when its input ends.
"""

import argparse
import asyncio
import ctypes
import gc
import json
import os
import selectors
import signal
import stat
import sys
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

from tests.faults.relay import control, profile
from tests.faults.relay.carrier import Carrier
from tests.faults.relay.datagram import DatagramRelay
from tests.faults.relay.namespaces import Unavailable
from tests.faults.relay.profile import Profile
from tests.faults.relay.stream import StreamRelay
from tests.faults.relay.tun import EDGE_ADDRESS, HUB_ADDRESS, PacketRelay

REFUSED, UNAVAILABLE = 2, 3
PR_SET_TIMERSLACK = 29
REAL_TIME_PRIORITY = 1
"""Before all ordinary processes, where we may: a packet that waits for a processor is late through no fault of the
link that is played."""


def main() -> int:
    """Run one relay; returns the exit status (2: the profile is refused, 3: this machine cannot do it)."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.relay", description=__doc__)
    parser.add_argument("profile", metavar="PROFILE", help="a .toml or .json file, or - for a line of standard input")
    parser.add_argument("--control", type=Path, metavar="SOCKET", help="take orders on this unix socket as well")
    parser.add_argument("--stay", action="store_true", help="go on when standard input ends")
    asked = parser.parse_args()
    try:
        wanted = _read(asked.profile)
    except (OSError, ValueError) as error:
        print(f"relay: {asked.profile}: {error}", file=sys.stderr)
        return REFUSED
    _be_punctual()
    with asyncio.Runner(loop_factory=lambda: _loop(wanted)) as runner:
        return runner.run(_run(wanted, asked.control, stays=asked.stay))


async def _run(wanted: Profile, control_path: Path | None, *, stays: bool) -> int:
    async with AsyncExitStack() as stack:
        try:
            carrier, ready = await _open(wanted)
        except Unavailable as error:
            _say({"unavailable": str(error)})
            return UNAVAILABLE
        except (OSError, ValueError) as error:
            _say({"refused": str(error)})
            return REFUSED
        stack.push_async_callback(carrier.close)
        orders = control.Control(carrier)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, orders.stopped.set)
        if control_path is not None:
            server = await control.listen(orders, control_path)
            stack.callback(control_path.unlink, missing_ok=True)
            stack.callback(server.close)
        _say({"ready": ready})
        async with asyncio.TaskGroup() as group:
            talk = group.create_task(_follow_input(orders, stays=stays))
            await orders.stopped.wait()
            talk.cancel()
    return 0


async def _open(wanted: Profile) -> tuple[Carrier, dict[str, Any]]:
    ways = (wanted.up.settings(), wanted.down.settings(), wanted.seed)
    if wanted.kind == "tunnel":
        tunnel = PacketRelay.open(*ways)
        addresses = {"edge_address": EDGE_ADDRESS, "hub_address": HUB_ADDRESS}
        return tunnel, {"kind": wanted.kind, "namespaces": tunnel.names, **addresses}
    assert wanted.target is not None
    listen, target = profile.address(wanted.listen), profile.address(wanted.target)
    if wanted.kind == "datagram":
        datagrams = DatagramRelay.open(listen, target, *ways)
        return datagrams, {"kind": wanted.kind, "address": datagrams.address}
    streams = await StreamRelay.open(listen, target, *ways, wanted.within)
    return streams, {"kind": wanted.kind, "address": streams.address}


async def _follow_input(orders: control.Control, *, stays: bool) -> None:
    async def answer(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    mode = os.fstat(0).st_mode
    # A file cannot be waited for, and /dev/null has nothing to say.
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(0):
        reader = asyncio.StreamReader(limit=control.LONGEST_LINE_BYTES)
        protocol = asyncio.StreamReaderProtocol(reader)
        # Unbuffered, because the first line was read from the same descriptor.
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, os.fdopen(0, "rb", 0))
        await control.converse(orders, reader, answer)
        transport.close()
    if not stays:
        orders.stopped.set()


def _read(source: str) -> Profile:
    if source != "-":
        return profile.read(Path(source))
    line = bytearray()
    # Byte by byte: what follows the first line belongs to the event loop.
    while (byte := os.read(0, 1)) not in (b"", b"\n"):
        line += byte
    return Profile.model_validate_json(bytes(line))


def _loop(wanted: Profile) -> asyncio.AbstractEventLoop:
    """Return a loop for the kind: select() knows microseconds, epoll() milliseconds but more than 1,024 sockets."""
    if wanted.kind == "stream":
        return asyncio.SelectorEventLoop()
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


def _be_punctual() -> None:
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(REAL_TIME_PRIORITY))
    ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0)
    # The packets make no cycles; a collection among thousands of them would be a pause.
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def _say(told: dict[str, Any]) -> None:
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    sys.exit(main())
