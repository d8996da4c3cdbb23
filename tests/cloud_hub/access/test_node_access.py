"""What is revoked reaches the folder that the brokers read, and everybody who holds a connection, in this order."""

import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from structlog.testing import capture_logs
from telemed.topics import NodeAddress

from cloud_hub import node_access
from cloud_hub.access import authorities, device_ca
from cloud_hub.access.ca_folder import DENIED, REVOKED, CaFolder
from cloud_hub.config import HubConfig
from cloud_hub.errors import ConfigRefused
from cloud_hub.node_access import ByCertificates
from cloud_hub.store.engine import Database
from cloud_hub.store.schema import CARE
from tests.cloud_hub.access.test_enrolment import request_for
from tests.fakes.certificates import REGION, CertifiedHub, a_node_certificate, hub_config

CLINIC = NodeAddress(REGION, "baoshan-clinic", "edge-clinic")
HOME = NodeAddress(REGION, "heming-home", "edge-home")

pytestmark = pytest.mark.anyio


def begun(config: HubConfig, care: Database) -> ByCertificates:
    """A hub's knowledge of its nodes, as a process has it that has just begun."""
    access = node_access.make(config, care)
    assert isinstance(access, ByCertificates)
    return access


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[CertifiedHub]:
    """A hub with one enrolled node."""
    config = hub_config(tmp_path)
    care = Database(config.store.care_url, CARE, "care")
    care.migrate()
    found = CertifiedHub(config, begun(config, care), care)
    await found.access.load()
    token, request = await found.invite(CLINIC), request_for(device_ca.new_key())
    await care.write(lambda c: found.access.enrolment.enrol(c, token.secret, request))
    await found.access.look()
    yield found
    care.close()


def numbers(folder: CaFolder) -> list[str]:
    """What the embedded broker reads."""
    return folder.pem(DENIED).decode().split()


async def test_whoever_is_told_of_a_revocation_finds_it_in_the_folder(hub: CertifiedHub) -> None:
    found: list[tuple[str, bool]] = []
    folder, deny = hub.access.folder, hub.access.deny
    deny.on_denied.append(lambda node: found.append((node.node, all(deny.is_denied(one) for one in numbers(folder)))))
    await hub.revoke(CLINIC)
    assert found == [("edge-clinic", True)]
    assert len(numbers(folder)) == 1
    listed = x509.load_pem_x509_crl(folder.pem(REVOKED))
    assert [f"{one.serial_number:x}" for one in listed] == numbers(folder)


async def test_a_full_disk_does_not_keep_a_stolen_node_connected(hub: CertifiedHub) -> None:
    told: list[str] = []
    hub.access.deny.on_denied.append(lambda node: told.append(node.node))
    in_the_way = hub.access.folder.path(DENIED + ".new")
    in_the_way.mkdir()
    await hub.revoke(CLINIC)
    await hub.access.look()
    assert told == ["edge-clinic"]
    assert not numbers(hub.access.folder)
    in_the_way.rmdir()
    await hub.access.look()
    assert len(numbers(hub.access.folder)) == 1
    assert told == ["edge-clinic"] * 2, "a broker that was told too early could only read the list from before"
    await hub.access.look()
    assert told == ["edge-clinic"] * 2


async def test_a_hub_whose_brokers_would_have_an_old_list_does_not_start(hub: CertifiedHub) -> None:
    in_the_way = hub.access.folder.path(DENIED + ".new")
    in_the_way.mkdir()
    await begun(hub.config, hub.care).load()
    await hub.revoke(CLINIC)
    with pytest.raises(ConfigRefused, match=r"pki\.folder"):
        await begun(hub.config, hub.care).load()
    in_the_way.rmdir()
    await begun(hub.config, hub.care).load()


async def test_what_is_written_already_is_not_written_again(hub: CertifiedHub) -> None:
    await hub.revoke(CLINIC)
    folder = hub.access.folder

    def files() -> list[int]:
        return [folder.path(name).stat().st_ino for name in (DENIED, REVOKED)]

    before = files()
    await begun(hub.config, hub.care).load()
    assert files() == before
    folder.path(REVOKED).write_bytes(b"damaged")
    await begun(hub.config, hub.care).load()
    assert files()[0] == before[0]
    assert len(list(x509.load_pem_x509_crl(folder.pem(REVOKED)))) == 1


@pytest.mark.parametrize("kind", ["external", "embedded"])
async def test_it_is_said_once_which_authority_an_external_broker_trusts_no_more(
    hub: CertifiedHub, tmp_path: Path, kind: str
) -> None:
    authorities.add_next(tmp_path / "pki", REGION)
    (tmp_path / "pki" / "ca.key").unlink()
    broker = hub.config.broker.model_copy(update={"kind": kind})
    again = CertifiedHub(
        hub.config.model_copy(update={"broker": broker}),
        begun(hub.config.model_copy(update={"broker": broker}), hub.care),
        hub.care,
    )
    with capture_logs() as logs:
        await again.access.load()
        token, request = await again.invite(HOME), request_for(device_ca.new_key())
        await again.care.write(lambda c: again.access.enrolment.enrol(c, token.secret, request))
        await again.revoke(HOME)
        assert not logs, "the successor's own node"
        await again.revoke(CLINIC)
        await again.access.look()
    told = [(each["event"], each["numbers"]) for each in logs]
    assert told == ([("authorities-without-list", (1,))] if kind == "external" else [])


async def test_the_event_loop_does_not_wait_for_the_disk(hub: CertifiedHub, monkeypatch: pytest.MonkeyPatch) -> None:
    write, threads = CaFolder.write_denied, list[threading.Thread]()

    def watched(*given: object) -> None:
        threads.append(threading.current_thread())
        write(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(CaFolder, "write_denied", watched)
    await hub.revoke(CLINIC)
    await hub.access.look()
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()


async def test_operators_are_told_once_a_day_that_the_authority_ends_soon(hub: CertifiedHub) -> None:
    authority, now = hub.access.folder.authority, datetime.now(UTC)
    with capture_logs() as logs:
        hub.access._warn(now)
        ends = a_node_certificate(CLINIC, authority, now, timedelta(days=92))[0]
        (issuing,) = hub.access.folder.known
        below = replace(issuing, authority=replace(authority, chain=(ends,)))
        hub.access.folder = replace(hub.access.folder, known=(below,))
        for days in (0, 1, 3, 3.5, 4.1, 93):
            hub.access._warn(now + timedelta(days=days))
    told = [(each["event"], each["days"]) for each in logs]
    assert told == [("authority-ends-soon", 88), ("authority-ends-soon", 87), ("authority-ended", -2)]


async def test_a_hub_that_starts_with_no_node_bound_to_an_earlier_authority_trusts_the_newest_alone(
    hub: CertifiedHub, tmp_path: Path
) -> None:
    authorities.add_next(tmp_path / "pki", REGION)
    assert len(begun(hub.config, hub.care).folder.trusted) == 2, "its one node has not renewed"
    await hub.revoke(CLINIC)
    folder = begun(hub.config, hub.care).folder
    assert len(folder.trusted) == 1
    assert folder.listeners.issuer == folder.authority.certificate.subject
