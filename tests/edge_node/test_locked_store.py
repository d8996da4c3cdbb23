"""A real node without the key of its store: it goes on, says so in both languages, and has all again with the key."""

from pathlib import Path

import anyio
import httpx
import pytest
from telemed.topics import Up
from telemed.wire import Kind

from edge_node.buffer.sealing import KEYS_ENDING
from edge_node.buffer.store import Buffer
from tests.edge_node.node_process import PASSWORD, NodeProcess, prepare

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
MARK = "silvermoon"


def stored(folder: Path) -> int:
    async def count() -> int:
        buffer = Buffer.open(folder / "buffer")
        try:
            found = [await buffer.read_stored(Up.VITALS, key, 1, 99) for key in buffer.streams(Up.VITALS)]
            return sum(record.kind == Kind.NUMERIC_SET for records in found for record in records)
        finally:
            buffer.close()

    return anyio.run(count)


def sign_in(node: NodeProcess) -> httpx.Response:
    entered = {"username": "clinic", "password": PASSWORD}
    return httpx.post(f"{node.url}/api/v1/session", json=entered, headers={"Origin": node.url})


def test_a_node_without_the_key_of_its_store_keeps_what_comes_and_says_what_to_do(tmp_path: Path) -> None:
    node, keys, drawer = NodeProcess.at(tmp_path), tmp_path / f"buffer{KEYS_ENDING}", tmp_path / "drawer"
    assert node.admit().returncode == 0
    anyio.run(prepare, tmp_path)
    node.start()
    assert "MSA|AE|M-1" in node.send("M-1", hr=MARK), "kept as it came, because a value is none"
    assert sign_in(node).status_code == 200
    assert node.stop() == 0
    keys.rename(drawer)

    node.start()
    assert "MSA|AA|M-2" in node.send("M-2")
    refused = sign_in(node)
    assert refused.status_code == 503
    assert "密钥" in refused.json()["text"]["zh"]
    assert "put the key back, restart" in refused.json()["text"]["en"]
    assert node.stop() == 0
    assert not keys.exists(), "no key is made where the right one will be put back"

    drawer.rename(keys)
    node.start()
    assert sign_in(node).status_code == 200
    assert node.stop() == 0
    assert stored(tmp_path) == 2
    files = [path for path in (tmp_path / "buffer").rglob("*") if path.is_file()]
    assert len(files) > 6
    assert not [path.name for path in files if MARK.encode() in path.read_bytes()]
