"""Tries whether a certificate lets anybody in at the hub's listeners: `python -m tests.faults.chaos.knock FILE`.

A process of its own, at the edge's end of the link; FILE is JSON, see `Orders`.  It shows the certificate at the
broker, at gRPC and at the datagrams, each by the product's own client, and prints one line of JSON: listener -> whether
it was let in.
"""

import asyncio
import contextlib
import json
import sys
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path

import grpc
from telemed.topics import NodeAddress, Up
from telemed.v1 import talk_pb2, talk_pb2_grpc

from edge_node.config import UplinkConfig
from edge_node.uplink.certificates import CertificateCredentials, CertificateFolder
from edge_node.uplink.datagram import AlarmPath, PathEvents
from edge_node.uplink.datagram_socket import PathSettings
from edge_node.uplink.link import LinkEvents
from edge_node.uplink.mqtt import Identity, MqttLink
from edge_node.uplink.transfer.channel import Login

LISTENERS = ("broker", "gRPC", "datagrams")
LOOK_EVERY_S = 0.05


@dataclass(frozen=True, slots=True)
class Orders:
    """What the file says."""

    certificates: str
    host: str
    broker_port: int
    files_port: int
    datagram_port: int
    limit_s: float
    """So long each listener is asked again and again."""


async def at_broker(orders: Orders, folder: CertificateFolder, address: NodeAddress) -> bool:
    """Whether the broker takes a connection."""
    config = UplinkConfig(
        broker_host=orders.host,
        broker_port=orders.broker_port,
        certificates=folder.folder,
        first_retry_s=0.1,
        longest_retry_s=0.5,
    )
    link = MqttLink(config, Identity(address, "alarm", "", folder), False, LinkEvents(*[lambda *_: None] * 5))
    return await _until(link.run(), lambda: link.is_up, orders.limit_s)


async def at_grpc(orders: Orders, folder: CertificateFolder, address: NodeAddress) -> bool:
    """Whether a call of the second way is answered."""
    login = Login(orders.host, orders.files_port, address, "", folder)
    async with login.channel(0) as channel:
        call = talk_pb2_grpc.TalkStub(channel).Hold()
        try:
            async with asyncio.timeout(orders.limit_s):
                await call.write(talk_pb2.Upward(what=Up.PRESENCE))
                return isinstance(await call.read(), talk_pb2.Downward)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError, TimeoutError):
            return False
        finally:
            call.cancel()


async def at_datagrams(orders: Orders, folder: CertificateFolder, address: NodeAddress) -> bool:
    """Whether a session of datagrams is opened."""
    settings = PathSettings(orders.host, orders.datagram_port)
    path = AlarmPath(settings, CertificateCredentials(folder), PathEvents(lambda _: None))
    return await _until(path.run(), lambda: path.is_up, orders.limit_s)


async def _until(running: Coroutine[object, object, None], is_in: Callable[[], bool], limit_s: float) -> bool:
    task = asyncio.create_task(running)
    try:
        async with asyncio.timeout(limit_s):
            while not is_in():  # noqa: ASYNC110 - the product's clients tell nobody
                await asyncio.sleep(LOOK_EVERY_S)
        return True
    except TimeoutError:
        return False
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def knock(orders: Orders) -> dict[str, bool]:
    """Return which listeners let the certificate in."""
    folder = CertificateFolder(Path(orders.certificates))
    address = folder.read().address
    doors: tuple[Awaitable[bool], ...] = (
        at_broker(orders, folder, address),
        at_grpc(orders, folder, address),
        at_datagrams(orders, folder, address),
    )
    return dict(zip(LISTENERS, await asyncio.gather(*doors), strict=True))


def main() -> None:
    """Knock once at each and print the answers."""
    orders = Orders(**json.loads(Path(sys.argv[1]).read_text()))
    sys.stdout.write(json.dumps(asyncio.run(knock(orders))) + "\n")


if __name__ == "__main__":
    main()
