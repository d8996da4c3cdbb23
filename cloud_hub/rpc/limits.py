"""What the hub takes from a node and what it refuses (pure)."""

from dataclasses import dataclass

from telemed.errors import Code
from telemed.topics import NodeAddress
from telemed.transfer import (
    GROUP_LIMIT,
    HASH_BYTES,
    LARGEST_FILE_BYTES,
    NAME_LIMIT,
    kind_of,
    refusal,
)
from telemed.v1 import transfer_pb2

from cloud_hub.config import RpcConfig
from cloud_hub.errors import CallerElsewhere, CallWasteful
from cloud_hub.store.blobs import Room
from cloud_hub.store.transfers import FileFacts

MIB = 1024 * 1024
RETRY_AFTER_S = 60
"""When a node that was refused for want of room is to ask again."""
FREE_MESSAGES = 2_000
"""So many pieces of a call may be of any size."""
LEAST_MEAN_BYTES = 64
"""What later pieces must come to on the average: a message costs the hub a tenth of a millisecond."""


def facts_of(head: transfer_pb2.FileHead, address: NodeAddress) -> FileFacts:
    """Return what a node says of its file.

    Raises:
        CallerElsewhere: it is said to be another node's.
        ValueError: it makes no sense.
    """
    if (head.site, head.node) != (address.site, address.node):
        raise CallerElsewhere(f"{address.node}: offers a file of another node")
    if len(head.sha256) != HASH_BYTES or len(head.manifest_sha256) != HASH_BYTES:
        raise ValueError("a hash has not 32 bytes")
    if head.size_bytes < 1:
        raise ValueError("an empty file")
    if len(head.name) > NAME_LIMIT or len(head.group_id) > GROUP_LIMIT or not head.name.isprintable():
        raise ValueError("name or group")
    return FileFacts(
        head.sha256.hex(),
        head.size_bytes,
        head.manifest_sha256.hex(),
        kind_of(head.kind),
        head.name,
        head.group_id,
        head.is_preview,
    )


def refusal_of(
    facts: FileFacts, missing_bytes: int, open_files: int, room: Room, config: RpcConfig
) -> transfer_pb2.Refusal | None:
    """Return why a file is not taken now, None where it is.

    Args:
        facts: the file.
        missing_bytes: what of it is not here yet.
        open_files: how many others of this node are under way.
        room: of the disk.
        config: the limits.
    """
    if facts.size_bytes > min(LARGEST_FILE_BYTES, config.largest_file_mib * MIB):
        return refusal(Code.TOO_LARGE)
    if open_files >= config.files_per_node:
        return refusal(Code.TOO_MANY_OPEN, RETRY_AFTER_S)
    return full(room, missing_bytes, config)


def full(room: Room, more_bytes: int, config: RpcConfig) -> transfer_pb2.Refusal | None:
    """Return the refusal for want of room, None where so much more may be written."""
    if room.used_share(more_bytes) * 100 > config.disk_limit_pct:
        return refusal(Code.STORE_NEARLY_FULL, RETRY_AFTER_S)
    return None


@dataclass(slots=True)
class Thrift:
    """Counts the messages of one call, so that a node cannot keep the hub busy with nothing."""

    messages: int = 0
    size_bytes: int = 0

    def count(self, size_bytes: int) -> None:
        """Count a message.

        Raises:
            CallWasteful: they are far too small for their number.
        """
        self.messages += 1
        self.size_bytes += size_bytes
        if self.messages > FREE_MESSAGES and self.size_bytes < LEAST_MEAN_BYTES * self.messages:
            raise CallWasteful(f"{self.messages} messages of {self.size_bytes} bytes in all")

    def gained(self) -> None:
        """Note that a chunk came that was missing: it was worth its message, packed into however few bytes."""
        self.size_bytes += LEAST_MEAN_BYTES
