"""The root of trust of model bundles comes with the first certificate, over the real door, and stays."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from telemed.bundle import parse
from telemed.bundle_archive import Archive
from telemed.enrolment import RENEWAL, sign
from telemed.topics import NodeAddress

from cloud_hub import node_access
from cloud_hub.config import HubConfig, load
from cloud_hub.errors import ConfigRefused
from cloud_hub.store.engine import Database
from cloud_hub.store.schema import CARE
from edge_node import arrangement
from edge_node.inference.trust import Trust
from edge_node.uplink.certificates import MODEL_ROOT, CertificateFolder, request_for
from edge_node.uplink.enrolment.command import enrol
from edge_node.uplink.enrolment.door import Door
from tests.edge_node.test_app import config_in
from tests.fakes.bundles import Maker
from tests.fakes.certificates import CertifiedHub, certified_hub, hub_config

CLINIC = NodeAddress("baoshan", "s", "edge-s")


def with_root(config: HubConfig, path: Path | None) -> HubConfig:
    assert config.pki is not None
    return config.model_copy(update={"pki": config.pki.model_copy(update={"model_root_file": path})})


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker(tmp_path / "maker")


@pytest.fixture
async def hub(tmp_path: Path, maker: Maker) -> AsyncIterator[CertifiedHub]:
    await asyncio.to_thread((tmp_path / "hub").mkdir)
    await asyncio.to_thread((tmp_path / "root.json").write_bytes, maker.root)
    config = with_root(hub_config(tmp_path / "hub"), tmp_path / "root.json")
    care = Database(config.store.care_url, CARE, "care")
    await asyncio.to_thread(care.migrate)
    async with certified_hub(config, care) as found:
        yield found
    await asyncio.to_thread(care.close)


@pytest.mark.anyio
async def test_a_node_pins_at_its_enrolment_what_the_hub_was_given_and_believes_bundles_by_it(
    hub: CertifiedHub, maker: Maker, tmp_path: Path
) -> None:
    folder = CertificateFolder(tmp_path / "pki")
    told = await asyncio.to_thread(enrol, folder, await hub.invite(CLINIC))
    assert "model bundles are believed by the root that came with it" in told
    config = config_in(tmp_path)
    certified = config.uplink.model_copy(update={"certificates": folder.folder})
    root = arrangement.models_root(config.model_copy(update={"uplink": certified}))
    assert root == maker.root
    assert arrangement.models_root(config) == b""
    with Archive(maker.pack()) as archive:
        Trust(tmp_path / "trust", root).check(archive, parse(archive.manifest()))


@pytest.mark.anyio
async def test_no_renewal_brings_another_root(hub: CertifiedHub, tmp_path: Path) -> None:
    folder = CertificateFolder(tmp_path / "pki")
    token = await hub.invite(CLINIC)
    await asyncio.to_thread(enrol, folder, token)
    held, next_key = folder.read(), folder.next_key()
    request = request_for(next_key, CLINIC.node)
    door = Door(token.host, token.port, held.trust_pem)
    der = held.certificate.public_bytes(Encoding.DER)
    issued = await asyncio.to_thread(door.renew, der, request, sign(held.key, RENEWAL, request))
    assert issued.certificate_der
    assert issued.model_root == b""


def test_its_path_is_relative_to_the_hubs_configuration(tmp_path: Path) -> None:
    (tmp_path / "hub.toml").write_text(
        'region = "baoshan"\nname_zh = "中心"\nname_en = "Hub"\n[broker]\n'
        '[store]\nsamples_url = "sqlite:///samples.db"\ncare_url = "sqlite:///care.db"\n'
        '[pki]\nnames = ["hub"]\nmodel_root_file = "root.json"\n'
    )
    pki = load(tmp_path / "hub.toml").pki
    assert pki is not None
    assert (pki.folder, pki.model_root_file) == (tmp_path / "pki", tmp_path / "root.json")


def test_a_hub_without_one_gives_none_and_what_another_hub_gave_goes(tmp_path: Path) -> None:
    folder = CertificateFolder(tmp_path / "pki")
    folder.folder.mkdir()
    assert not folder.pin_models(b"")
    assert not (folder.folder / MODEL_ROOT).exists()
    folder.pin_models(b"one")
    assert (folder.folder / MODEL_ROOT).read_bytes() == b"one"
    folder.pin_models(b"")
    assert not (folder.folder / MODEL_ROOT).exists()


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"signed": {"_type": "targets"}}', b"[" * 100_000, json.dumps({"signed": 1}).encode()]
)
def test_what_is_no_root_is_refused_by_the_hub_with_its_key(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "root.json").write_bytes(content)
    pki = with_root(hub_config(tmp_path), tmp_path / "root.json").pki
    assert pki is not None
    with pytest.raises(ConfigRefused, match=r"pki\.model_root_file: .*no root of trust"):
        node_access.model_root(pki)
    (tmp_path / "root.json").unlink()
    with pytest.raises(ConfigRefused, match=r"pki\.model_root_file: .*cannot be read"):
        node_access.model_root(pki)
