"""The connection of transfers shows the node's newest certificate, over real TLS."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from telemed.topics import NodeAddress
from telemed.v1 import transfer_pb2

from cloud_hub.access import device_ca
from cloud_hub.access.ca_folder import CaFolder, open_folder
from cloud_hub.rpc.doorway import secured
from edge_node.errors import LinkDown
from edge_node.uplink.certificates import CertificateFolder
from edge_node.uplink.transfer.channel import Line, Login, translated

pytestmark = pytest.mark.anyio
CLINIC = NodeAddress("baoshan", "baoshan-clinic", "edge-clinic")
SERVICE = "telemed.v1.Transfer"
LIMIT_S = 30.0
WEEK = timedelta(days=7)


async def tell_what_is_shown(
    _request: transfer_pb2.ListRequest, context: grpc.aio.ServicerContext[Any, Any]
) -> transfer_pb2.ListAnswer:
    """Tell which certificate the caller shows, as the only file that is released."""
    shown = x509.load_pem_x509_certificate(next(iter(context.auth_context()["x509_pem_cert"])))
    return transfer_pb2.ListAnswer(released=[transfer_pb2.FileHead(name=device_ca.serial_of(shown))])


@pytest.fixture
def authority(tmp_path: Path) -> CaFolder:
    return open_folder(tmp_path / "pki", CLINIC.region, ["127.0.0.1"], "hub")


@contextlib.asynccontextmanager
async def serving(authority: CaFolder) -> AsyncIterator[int]:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    answering = grpc.unary_unary_rpc_method_handler(
        tell_what_is_shown, transfer_pb2.ListRequest.FromString, transfer_pb2.ListAnswer.SerializeToString
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"List": answering}),))
    found = server.add_secure_port("127.0.0.1:0", secured(authority))
    await server.start()
    try:
        yield found
    finally:
        await server.stop(0)


def give(authority: CaFolder, folder: CertificateFolder, since: datetime) -> str:
    """Give the node a certificate of a week; return its number."""
    key = folder.next_key()
    made = device_ca.for_node(authority.authority, key.public_key(), CLINIC, since, WEEK)
    folder.take(key, made, [authority.authority.certificate.public_bytes(Encoding.DER)])
    return device_ca.serial_of(made)


async def shown(line: Line) -> str:
    hub = await line.hub()
    with translated():
        answer = await hub.stub.List(transfer_pb2.ListRequest(), metadata=hub.login.metadata, timeout=LIMIT_S)
    return answer.released[0].name


async def test_after_a_renewal_the_newest_certificate_is_shown_without_a_restart(
    authority: CaFolder, tmp_path: Path
) -> None:
    folder = CertificateFolder(tmp_path / "node")
    first = give(authority, folder, datetime.now(UTC))
    async with serving(authority) as port:
        line = Line(Login("127.0.0.1", port, CLINIC, "", folder), 0)
        assert await shown(line) == first
        made = await line.hub()
        assert await line.hub() is made, "as long as it is the same, so is the connection"

        second = give(authority, folder, datetime.now(UTC))
        assert second != first
        assert await shown(line) == second
        await line.close()


async def test_a_connection_that_was_made_with_a_certificate_that_ended_is_made_anew_once_there_is_another(
    authority: CaFolder, tmp_path: Path
) -> None:
    folder = CertificateFolder(tmp_path / "node")
    give(authority, folder, datetime.now(UTC) - 2 * WEEK)
    async with serving(authority) as port:
        line = Line(Login("127.0.0.1", port, CLINIC, "", folder), 0)
        with pytest.raises(LinkDown):
            await asyncio.wait_for(shown(line), LIMIT_S)
        renewed = give(authority, folder, datetime.now(UTC))
        assert await shown(line) == renewed
        await line.close()
