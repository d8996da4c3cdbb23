"""The process of the embedded broker: `python -m cloud_hub.broker_process --host H --port P --secrets FILE`.

Prints "ready" once it listens; after that one line for each thing an operator should know.  It ends when its
standard input ends, so that it never outlives a hub that was killed; a line there says that certificates were revoked.
"""

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvloop
from amqtt.session import Session

from cloud_hub.broker_certificates import Certified, denied_in, shown_of
from cloud_hub.broker_hardening import HardenedBroker, certified_settings, harden, settings

LOOK_EVERY_S = 5.0
"""How often is looked for sessions whose certificate has ended: a connection that was made before outlives it."""

log = logging.getLogger("cloud_hub.broker")


def main() -> None:
    """Run the broker until SIGTERM, SIGINT or the end of standard input."""
    parser = argparse.ArgumentParser(prog="cloud_hub.broker_process", description=__doc__)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    known = parser.add_mutually_exclusive_group(required=True)
    known.add_argument("--secrets", type=Path, help="file of the secrets by which clients are known")
    known.add_argument("--certificates", type=Path, help="folder of the authority by which clients are known")
    parser.add_argument("--region", default="")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, stream=sys.stdout, format="%(name)s %(message)s")
    # amqtt and its state machine write several lines for each connection.
    for noisy in ("transitions", "amqtt", "amqtt.mqtt"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    if options.certificates is None:
        uvloop.run(_serve(settings(options.host, options.port, options.secrets), None))
        return
    certified = Certified(options.certificates, options.region)
    uvloop.run(_serve(certified_settings(options.host, options.port, certified), certified))


async def _serve(configured: dict[str, Any], certified: Certified | None) -> None:
    harden()
    broker = HardenedBroker(configured)
    await broker.start()
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, over.set)
    told = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), _input_ready, over, told)
    cutting = None if certified is None else asyncio.create_task(_cut_denied(broker, certified, told))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await over.wait()
    loop.remove_reader(sys.stdin.fileno())
    if cutting is not None:
        cutting.cancel()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(3):
            await broker.shutdown()


def _input_ready(over: asyncio.Event, told: asyncio.Event) -> None:
    (told if os.read(sys.stdin.fileno(), 4096) else over).set()


async def _cut_denied(broker: HardenedBroker, certified: Certified, told: asyncio.Event) -> None:
    """Close the sessions of certificates that were revoked, as soon as the hub tells of some, or that have ended."""
    while True:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_EVERY_S):
                await told.wait()
        told.clear()
        try:
            await _cut(broker, certified)
        except Exception as error:
            # Whatever it is: with this task gone, nobody would be shut out any more, and nobody would know.
            log.warning("cut-failed why=%s", type(error).__name__)


async def _cut(broker: HardenedBroker, certified: Certified) -> None:
    denied, now = denied_in(certified.folder), datetime.now(UTC)

    def is_denied(session: Session) -> bool:
        shown = shown_of(session, certified.region)
        return shown is None or shown.serial in denied or shown.ends < now

    await broker.cut(is_denied)


if __name__ == "__main__":
    main()
