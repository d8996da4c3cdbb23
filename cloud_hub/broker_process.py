"""The process of the embedded broker: `python -m cloud_hub.broker_process --host H --port P --secrets FILE`.

Prints "ready" once it listens; after that one line for each thing an operator should know.  It ends when its
standard input ends, so that it never outlives a hub that was killed.
"""

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
from pathlib import Path

import uvloop

from cloud_hub.broker_hardening import HardenedBroker, harden, settings


def main() -> None:
    """Run the broker until SIGTERM, SIGINT or the end of standard input."""
    parser = argparse.ArgumentParser(prog="cloud_hub.broker_process", description=__doc__)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--secrets", type=Path, required=True)
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, stream=sys.stdout, format="%(name)s %(message)s")
    # amqtt and its state machine write several lines for each connection.
    for noisy in ("transitions", "amqtt", "amqtt.mqtt"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    uvloop.run(_serve(options.host, options.port, options.secrets))


async def _serve(host: str, port: int, secrets: Path) -> None:
    harden()
    broker = HardenedBroker(settings(host, port, secrets))
    await broker.start()
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, over.set)
    loop.add_reader(sys.stdin.fileno(), _input_ready, over)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await over.wait()
    loop.remove_reader(sys.stdin.fileno())
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(3):
            await broker.shutdown()


def _input_ready(over: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        over.set()


if __name__ == "__main__":
    main()
