"""The folder of blobs: server-made names only, chunks that match their hash, steps that can be done again."""

import hashlib
import os
from pathlib import Path

import pytest
from telemed.transfer import CHUNK_BYTES

from cloud_hub.store.blobs import Blobs, Room, file_hashes

TRANSFER = "01a21755-63bc-7509-b408-da21fe1c39c5"
CONTENT = os.urandom(2 * CHUNK_BYTES + 10)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs")


def chunk(index: int) -> bytes:
    return CONTENT[index * CHUNK_BYTES : (index + 1) * CHUNK_BYTES]


def fill(blobs: Blobs) -> None:
    incoming = blobs.incoming(TRANSFER)
    for index in (2, 0, 1):
        assert incoming.write_if_right(index, chunk(index), hashlib.sha256(chunk(index)).digest())
    incoming.sync()
    incoming.close()


@pytest.mark.parametrize("name", ["../x", "", "a" * 36 + "/..", "A" * 36, "own-1-2", TRANSFER + "\n"])
def test_no_name_from_outside_becomes_a_path(blobs: Blobs, name: str) -> None:
    with pytest.raises(ValueError, match="not a transfer"):
        blobs.incoming(name)
    with pytest.raises(ValueError, match="not a SHA-256"):
        blobs.path(name)


def test_a_chunk_that_does_not_match_is_not_written(blobs: Blobs) -> None:
    incoming = blobs.incoming(TRANSFER)
    assert not incoming.write_if_right(0, b"wrong", bytes(32))
    incoming.close()
    assert blobs.holds_bytes(TRANSFER) == 0


def test_a_file_is_whole_under_its_hash_and_naming_it_twice_is_harmless(blobs: Blobs) -> None:
    fill(blobs)
    assert blobs.whole_hash(TRANSFER, SHA256) == SHA256
    for _ in range(2):
        blobs.publish(TRANSFER, SHA256)
    assert blobs.path(SHA256).read_bytes() == CONTENT
    assert blobs.path(SHA256).parent.name == SHA256[:2]
    assert blobs.whole_hash(TRANSFER, SHA256) == SHA256
    assert blobs.holds_bytes(TRANSFER) == 0


def test_neither_received_nor_named_is_not_there(blobs: Blobs) -> None:
    assert blobs.whole_hash(TRANSFER, SHA256) is None


def test_damage_on_the_disk_is_found_by_chunk(blobs: Blobs) -> None:
    fill(blobs)
    incoming = blobs.incoming(TRANSFER)
    with incoming.path.open("r+b") as file:
        file.seek(CHUNK_BYTES + 5)
        file.write(b"\0\0\0\0\0\0\0\0")
    assert incoming.wrong_chunks(len(CONTENT), file_hashes_of(CONTENT)) == [1]
    incoming.close()


def file_hashes_of(content: bytes) -> bytes:
    parts = (content[at : at + CHUNK_BYTES] for at in range(0, len(content), CHUNK_BYTES))
    return b"".join(hashlib.sha256(part).digest() for part in parts)


def test_a_blob_is_read_only_as_it_was_stored(blobs: Blobs, tmp_path: Path) -> None:
    source = tmp_path / "bundle"
    source.write_bytes(CONTENT)
    sha256, size_bytes, hashes = blobs.keep(source)
    assert (sha256, size_bytes, hashes) == (SHA256, len(CONTENT), file_hashes_of(CONTENT))
    assert file_hashes(source) == (sha256, hashes)
    assert blobs.read_if_right(sha256, 2, size_bytes, hashes[64:]) == chunk(2)
    blobs.path(sha256).write_bytes(CONTENT[:-1] + b"?" if CONTENT[-1:] != b"?" else CONTENT[:-1] + b"!")
    assert blobs.read_if_right(sha256, 2, size_bytes, hashes[64:]) is None
    assert list((tmp_path / "blobs" / "incoming").iterdir()) == []


def test_a_closed_file_refuses_instead_of_writing_into_another(blobs: Blobs) -> None:
    incoming = blobs.incoming(TRANSFER)
    incoming.close()
    incoming.close()
    with pytest.raises(OSError, match="closed"):
        incoming.sync()


def test_what_belongs_to_no_transfer_is_swept(blobs: Blobs) -> None:
    fill(blobs)
    assert blobs.drop_strays({TRANSFER}) == 0
    assert blobs.drop_strays(set()) == 1
    assert blobs.holds_bytes(TRANSFER) == 0
    blobs.drop(TRANSFER)


def test_how_full_the_disk_is_counts_what_is_still_to_come() -> None:
    room = Room(usable_bytes=1000, free_bytes=400)
    assert room.used_share() == pytest.approx(0.6)
    assert room.used_share(500) > 1
