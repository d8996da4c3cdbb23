"""Both brokers by certificate: rights by name, strangers, and what a revocation does to a session that is open."""

import asyncio
import contextlib
import os
import shutil
import ssl
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from telemed.topics import NodeAddress, Up

from cloud_hub.access import authorities, device_ca, tls
from cloud_hub.access.ca_folder import AUTHORITY, AUTHORITY_KEY, CaFolder, open_folder
from cloud_hub.access.device_ca import Authority
from cloud_hub.broker import EmbeddedBroker
from cloud_hub.broker_certificates import Certified
from cloud_hub.broker_external import ExternalBroker
from cloud_hub.broker_rights import User, Users
from cloud_hub.config import BrokerConfig
from cloud_hub.ingest.mqtt import BrokerLink, BrokerLogin
from edge_node.config import UplinkConfig
from edge_node.uplink.certificates import IDENTITY, CertificateFolder
from edge_node.uplink.link import LinkEvents
from edge_node.uplink.mqtt import Identity, MqttLink
from tests.fakes.brokers import find_mosquitto, running, until
from tests.fakes.containers import CLINIC, HOME
from tests.fakes.organisation import Organisation, needs_openssl
from tests.fakes.ports import free_port

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(180)]
WEEK = timedelta(days=7)


class Certs:
    """A broker with TLS under test, its authority, and clients of it."""

    def __init__(self, folder: Path, prepare: Callable[[Path], None] = lambda _pki: None) -> None:
        self.folder = folder
        prepare(folder / "pki")
        self.port = free_port()
        self.authority: CaFolder = open_folder(folder / "pki", "baoshan", ["127.0.0.1"], "hub")
        self.config = BrokerConfig(port=self.port)
        self.embedded: EmbeddedBroker | None = None
        self.external: ExternalBroker | None = None
        self.users = Users({"hub": User("hub", b"", None)} | {a.node: User(a.node, b"", a) for a in (CLINIC, HOME)})
        self.serials: dict[str, str] = {}
        self.deny()

    def deny(self, *serials: str) -> None:
        """Write the list of the revoked."""
        self.authority.write_denied(frozenset(serials), datetime.now(UTC))

    def revoke(self, *addresses: NodeAddress) -> None:
        """What the hub does when an operator revokes nodes."""
        names = {each.node for each in addresses}
        self.deny(*(self.serials[each] for each in names))
        self.users.by_name = {name: user for name, user in self.users.by_name.items() if name not in names}
        if self.embedded is not None:
            self.embedded.denied()
        if self.external is not None:
            for each in addresses:
                self.external.denied(each)

    def node(self, address: NodeAddress, life: timedelta = WEEK, signer: Authority | None = None) -> CertificateFolder:
        """The folder of a node with a fresh certificate; a negative life has ended."""
        signer = signer or self.authority.authority
        now = datetime.now(UTC) - (timedelta(days=8) if life < timedelta() else timedelta())
        key = device_ca.new_key()
        certificate = device_ca.for_node(signer, key.public_key(), address, now, abs(life))
        folder = CertificateFolder(self.folder / f"{address.node}-{certificate.serial_number}")
        folder.folder.mkdir()
        folder.take(key, certificate, [each.public_bytes(Encoding.DER) for each in self.authority.trusted])
        with (folder.folder / IDENTITY).open("ab") as opened:
            opened.write(b"".join(each.public_bytes(Encoding.PEM) for each in signer.chain))
        self.serials[address.node] = device_ca.serial_of(certificate)
        return folder

    def login(self, name: str, context: ssl.SSLContext) -> BrokerLogin:
        """How a client connects; its client id is `<name>.ingest`."""
        return BrokerLogin("127.0.0.1", self.port, name, "", context)


class Client:
    """A client that remembers what it receives."""

    def __init__(self, login: BrokerLogin, *topics: str) -> None:
        self.got: list[bytes] = []
        self.link = BrokerLink(login, list(topics), lambda _topic, payload: self.got.append(payload))


async def listening(port: int) -> None:
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.05)


async def keep_mosquitto(certs: Certs, program: str) -> None:
    """Run Mosquitto with the settings that the hub wrote, and have the hub keep them current."""
    settings = certs.folder / "mosquitto"
    pid_file = certs.folder / "pid"
    reload = ["sh", "-c", f"kill -HUP $(cat {pid_file})"]
    certs.config = certs.config.model_copy(update={"settings_folder": settings, "reload_command": reload})
    certs.external = ExternalBroker(certs.config, settings, certs.authority, certs.users)
    async with running(certs.external.run()):
        await until((settings / "mosquitto.conf").exists)
        for folder in (settings, *settings.parents):
            if folder.owner() == settings.owner() and os.geteuid() == 0:
                folder.chmod(folder.stat().st_mode | 0o055)
        process = await asyncio.create_subprocess_exec(
            program, "-c", str(settings / "mosquitto.conf"), stderr=asyncio.subprocess.DEVNULL
        )
        pid_file.write_text(str(process.pid))
        try:
            await process.wait()
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


@pytest.fixture(params=["amqtt", "mosquitto"])
async def certs(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Certs]:
    async with serving(request.param, Certs(tmp_path)) as found:
        yield found


@contextlib.asynccontextmanager
async def serving(kind: str, found: Certs) -> AsyncIterator[Certs]:
    """Run a broker while the block runs."""
    program = find_mosquitto()
    if kind == "mosquitto" and program is None:
        pytest.skip("Mosquitto is not installed (Debian: mosquitto)")
    if kind == "amqtt":
        certified = Certified(found.authority.folder, "baoshan")
        found.embedded = EmbeddedBroker(found.config, certified=certified)
        work = found.embedded.run()
    else:
        work = keep_mosquitto(found, program or "")
    async with running(work):
        await listening(found.port)
        yield found
    shutil.rmtree(found.authority.folder)


def hub(certs: Certs) -> Client:
    return Client(certs.login("hub", tls.client(certs.authority.folder)), "up/#")


async def test_a_node_is_heard_on_its_own_topics_and_on_no_other(certs: Certs) -> None:
    listener = hub(certs)
    node = Client(certs.login(CLINIC.node, certs.node(CLINIC).tls()), CLINIC.down_prefix + "#")
    async with running(listener.link.run(), node.link.run()):
        await until(lambda: listener.link.is_connected and node.link.is_connected)
        node.link.publish(HOME.up(Up.VITALS), b"forged", 1)
        node.link.publish(CLINIC.up(Up.VITALS), b"mine", 1)
        listener.link.publish(HOME.down_prefix + "receipt", b"for another", 1)
        listener.link.publish(CLINIC.down_prefix + "receipt", b"for me", 1)
        await until(lambda: bool(listener.got and node.got))
        await asyncio.sleep(0.3)
        assert listener.got == [b"mine"]
        assert node.got == [b"for me"]


@pytest.mark.parametrize("who", ["nobody", "foreign", "ended", "another's name"])
async def test_whoever_shows_no_good_certificate_is_not_let_in(certs: Certs, who: str) -> None:
    contexts = {
        "nobody": ssl.create_default_context(cafile=str(certs.authority.path(AUTHORITY))),
        "foreign": certs.node(CLINIC, signer=device_ca.new_authority("baoshan")).tls(),
        "ended": certs.node(CLINIC, life=-WEEK).tls(),
        "another's name": certs.node(HOME).tls(),
    }
    good, bad = hub(certs), Client(certs.login(CLINIC.node, contexts[who]), CLINIC.down_prefix + "#")
    async with running(good.link.run(), bad.link.run()):
        await until(lambda: good.link.is_connected)
        bad.link.publish(CLINIC.up(Up.VITALS), b"forged", 1)
        for _ in range(10):
            await asyncio.sleep(0.1)
            if certs.embedded is not None or who != "another's name":
                assert not bad.link.is_connected
        bad.link.publish(CLINIC.up(Up.VITALS), b"forged", 1)
        await asyncio.sleep(0.3)
        assert not good.got


def alarm_link(certs: Certs, address: NodeAddress, folder: CertificateFolder, ups: list[str]) -> MqttLink:
    """A node's own connection for alarms; `ups` has one entry for each time that it was let in."""
    config = UplinkConfig(broker_port=certs.port, certificates=folder.folder, first_retry_s=0.1, longest_retry_s=0.5)
    events = LinkEvents(lambda: ups.append("up"), *[lambda *_: None] * 4)
    return MqttLink(config, Identity(address, "alarm", "", folder), False, events)


async def test_a_revoked_node_is_cut_off_and_stays_out_while_others_go_on(certs: Certs) -> None:
    listener, folder = hub(certs), certs.node(CLINIC)
    ups: list[str] = []
    thief = alarm_link(certs, CLINIC, folder, ups)
    good = Client(certs.login(HOME.node, certs.node(HOME).tls()), HOME.down_prefix + "#")
    async with running(listener.link.run(), thief.run(), good.link.run()):
        await until(lambda: listener.link.is_connected and thief.is_up and good.link.is_connected)
        certs.serials[CLINIC.node] = device_ca.serial_of(folder.read().certificate)
        certs.revoke(CLINIC)
        await until(lambda: not thief.is_up)
        for _ in range(20):
            await asyncio.sleep(0.1)
            thief.publish(Up.VITALS, b"stolen")
        assert ups == ["up"], "it was let in again"
        good.link.publish(HOME.up(Up.VITALS), b"good", 1)
        await until(lambda: bool(listener.got))
        assert listener.got == [b"good"]
        assert good.link.is_connected


async def test_a_session_does_not_outlive_its_certificate(certs: Certs) -> None:
    if certs.embedded is None:
        pytest.skip("Mosquitto looks at a certificate when a connection is made, and never again")
    short = Client(certs.login(CLINIC.node, certs.node(CLINIC, timedelta(seconds=6)).tls()), CLINIC.down_prefix + "#")
    async with running(short.link.run()):
        await until(lambda: short.link.is_connected)
        await until(lambda: not short.link.is_connected, 20)
        await asyncio.sleep(1)
        assert not short.link.is_connected


@needs_openssl
@pytest.mark.parametrize("kind", ["amqtt", "mosquitto"])
async def test_below_an_organisation_our_nodes_are_let_in_and_another_department_s_are_not(
    kind: str, tmp_path: Path
) -> None:
    hospital = Organisation(tmp_path / "hospital")
    async with serving(kind, Certs(tmp_path / "hub", hospital.join)) as certs:
        assert certs.authority.authority.chain, "it does stand below the hospital's"
        listener, theirs = hub(certs), certs.node(CLINIC, signer=hospital.another("baoshan"))
        ours = Client(certs.login(CLINIC.node, certs.node(CLINIC).tls()), CLINIC.down_prefix + "#")
        stranger = Client(certs.login(CLINIC.node, theirs.tls()), CLINIC.down_prefix + "#")
        async with running(stranger.link.run(), listener.link.run()):
            await until(lambda: listener.link.is_connected)
            for _ in range(10):
                await asyncio.sleep(0.1)
                assert not stranger.link.is_connected
        async with running(ours.link.run(), listener.link.run()):
            await until(lambda: ours.link.is_connected and listener.link.is_connected)
            ours.link.publish(CLINIC.up(Up.VITALS), b"ours", 1)
            await until(lambda: bool(listener.got))


@pytest.mark.parametrize("kind", ["amqtt", "mosquitto"])
async def test_nodes_of_an_earlier_authority_and_of_its_successor_are_let_in_and_the_revoked_of_both_are_not(
    kind: str, tmp_path: Path
) -> None:
    before = open_folder(tmp_path / "pki", "baoshan", ["127.0.0.1"], "hub").authority
    async with serving(kind, Certs(tmp_path, _add_next)) as certs:
        listener, own = hub(certs), {CLINIC: certs.node(CLINIC, signer=before), HOME: certs.node(HOME)}
        assert own[HOME].read().certificate.issuer != own[CLINIC].read().certificate.issuer
        ups: list[str] = []
        nodes = [alarm_link(certs, at, folder, ups) for at, folder in own.items()]
        async with running(listener.link.run(), *(each.run() for each in nodes)):
            await until(lambda: listener.link.is_connected and all(each.is_up for each in nodes))
            certs.revoke(CLINIC, HOME)
            await until(lambda: not any(each.is_up for each in nodes))
            await asyncio.sleep(2)
            assert ups == ["up", "up"], "one of them was let in again"
            assert listener.link.is_connected


def _add_next(pki: Path) -> None:
    authorities.add_next(pki, "baoshan")


async def test_a_copy_from_before_the_key_was_lost_is_not_let_in_by_mosquitto_when_its_node_enrols_anew(
    tmp_path: Path,
) -> None:
    def lose(pki: Path) -> None:
        open_folder(pki, "baoshan", ["127.0.0.1"], "hub").write_denied(frozenset(), datetime.now(UTC))
        _add_next(pki)
        shutil.copy(pki / AUTHORITY_KEY, tmp_path / AUTHORITY_KEY)
        (pki / AUTHORITY_KEY).unlink()

    certs = Certs(tmp_path, lose)
    (earlier,), key = certs.authority.former, authorities.read_key(tmp_path / AUTHORITY_KEY)
    copy = certs.node(CLINIC, signer=Authority(earlier.certificate, key, ()))
    certs.deny(certs.serials[CLINIC.node])
    async with serving("mosquitto", certs):
        ups: list[str] = []
        thief, listener = alarm_link(certs, CLINIC, copy, ups), hub(certs)
        anew = Client(certs.login(CLINIC.node, certs.node(CLINIC).tls()), CLINIC.down_prefix + "#")
        async with running(thief.run(), listener.link.run(), anew.link.run()):
            await until(lambda: listener.link.is_connected and anew.link.is_connected)
            await asyncio.sleep(2)
            assert ups == []


async def test_a_mosquitto_that_runs_on_takes_a_successor_in_when_the_hub_is_started_again(tmp_path: Path) -> None:
    async with serving("mosquitto", Certs(tmp_path)) as certs:
        earlier = certs.node(CLINIC)
        _add_next(tmp_path / "pki")
        certs.authority = open_folder(tmp_path / "pki", "baoshan", ["127.0.0.1"], "hub")
        certs.deny()
        again = ExternalBroker(certs.config, tmp_path / "mosquitto", certs.authority, certs.users)
        again.changed()
        ups: list[str] = []
        listener = hub(certs)
        nodes = [alarm_link(certs, CLINIC, earlier, ups), alarm_link(certs, HOME, certs.node(HOME), ups)]
        async with running(again.run(), listener.link.run(), *(each.run() for each in nodes)):
            await until(lambda: listener.link.is_connected and all(each.is_up for each in nodes), 20)
