"""A node that speaks the transfer by hand, for calls that the real client would not make."""

import contextlib
import hashlib
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field

import grpc
from telemed.topics import NodeAddress
from telemed.transfer import CHUNK_BYTES, manifest_hash
from telemed.v1 import transfer_pb2, transfer_pb2_grpc

from tests.fakes.rpc_hub import CLINIC, metadata

SendCall = grpc.aio.StreamStreamCall[transfer_pb2.Piece, transfer_pb2.Progress]


@dataclass(slots=True)
class Heard:
    """All that one Send call told, put together."""

    received_bytes: int = 0
    durable: list[int] = field(default_factory=list)
    complete: list[str] = field(default_factory=list)
    corrupt: list[int] = field(default_factory=list)
    refused: list[tuple[str, int]] = field(default_factory=list)
    """Code and when to ask again."""

    def take(self, progress: transfer_pb2.Progress) -> None:
        """Add a message."""
        assert progress.received_bytes >= self.received_bytes
        self.received_bytes = progress.received_bytes
        for durable in progress.durable:
            self.durable += [run.first + step for run in durable.chunks for step in range(run.count)]
        self.complete += [each.transfer_id for each in progress.complete]
        self.corrupt += [each.chunk for each in progress.corrupt]
        self.refused += [(each.refusal.code, each.refusal.retry_after_s) for each in progress.refused]


@dataclass(frozen=True, slots=True)
class Content:
    """A file."""

    data: bytes

    @property
    def sha256(self) -> str:
        """Its name."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def hashes(self) -> bytes:
        """The hashes of its chunks."""
        return b"".join(hashlib.sha256(self.chunk(index)).digest() for index in range(self.count))

    @property
    def count(self) -> int:
        """How many chunks it has."""
        return -(-len(self.data) // CHUNK_BYTES)

    def chunk(self, index: int) -> bytes:
        """One of its chunks."""
        return self.data[index * CHUNK_BYTES : (index + 1) * CHUNK_BYTES]

    def head(self, address: NodeAddress = CLINIC, **changes: object) -> transfer_pb2.FileHead:
        """What is said of it in an offer."""
        values: dict[str, object] = {
            "sha256": bytes.fromhex(self.sha256),
            "size_bytes": len(self.data),
            "manifest_sha256": manifest_hash(self.hashes),
            "kind": transfer_pb2.FILE_KIND_STUDY,
            "name": "CT",
            "site": address.site,
            "node": address.node,
        }
        return transfer_pb2.FileHead(**(values | changes))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class BareNode:
    """A node on a bare client."""

    stub: "transfer_pb2_grpc.TransferAsyncStub"
    address: NodeAddress = CLINIC

    async def offer(self, content: Content, hashes: bytes | None = None, **changes: object) -> transfer_pb2.OfferAnswer:
        """Offer a file; return the last answer."""
        call = self.stub.Offer(metadata=metadata(self.address.node))
        await call.write(transfer_pb2.OfferPart(head=content.head(self.address, **changes)))
        while True:
            answer = await call.read()
            assert isinstance(answer, transfer_pb2.OfferAnswer), await call.code()
            if answer.HasField("hashes_wanted"):
                await call.write(transfer_pb2.OfferPart(hashes=content.hashes if hashes is None else hashes))
            elif answer.WhichOneof("answer"):
                call.cancel()
                return answer

    async def transfer_id(self, content: Content) -> str:
        """Offer a file and return the hub's name for it."""
        answer = await self.offer(content)
        assert answer.HasField("lacking"), answer
        return answer.lacking.transfer_id

    @contextlib.asynccontextmanager
    async def sending(self) -> AsyncIterator[SendCall]:
        """Hold a Send call."""
        call = self.stub.Send(metadata=metadata(self.address.node))
        try:
            yield call
        finally:
            call.cancel()

    async def send(self, content: Content, transfer_id: str, chunks: Iterable[int]) -> Heard:
        """Send whole chunks in one call and return all that was told of them."""
        async with self.sending() as call:
            for index in chunks:
                piece = transfer_pb2.Piece(
                    transfer_id=transfer_id, offset=index * CHUNK_BYTES, data=content.chunk(index)
                )
                await call.write(piece)
            await call.done_writing()
            return await self.heard(call)

    async def heard(self, call: SendCall) -> Heard:
        """Return all that a call tells until it ends."""
        heard = Heard()
        while isinstance(progress := await call.read(), transfer_pb2.Progress):
            heard.take(progress)
        return heard
