"""Where a run happens: folders, configurations, the bad link, and what every episode begins with.

The edge lives at one end of a packet tunnel, broker and hub at the other: every byte between them crosses the relay.
The monitors live outside and reach the edge through a relay of byte streams alone.
Folders of edge and hub are file systems of their own, small, so that they can be filled up, and such as forget what
was not synced when their power is lost.
"""

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from cloud_hub.broker_mosquitto import write_settings
from tests.faults.chaos import access, disk
from tests.faults.chaos.access import Access, put
from tests.faults.chaos.disk import Disk
from tests.faults.relay.link import Proxy
from tests.faults.relay.settings import Settings
from tests.faults.relay.tunnel import Tunnel, tunnel
from tests.region.region import Clinic, Region

NODE = "edge-clinic"
BEDS = ("B01", "B02", "B03", "B04")
RULESET = Path(__file__).with_name("ruleset.toml")
EDGE_MIB, HUB_MIB = 96, 128
SECOND_WAY_AFTER_S, HASTY_AFTER_S = 2.5, 0.5
"""Longer than a hub takes to be back; and of a node that cannot reach its broker at all."""
PORTS = {
    "web": 8080,
    "broker": 1883,
    "datagram": 8443,
    "files": 8444,
    "door": access.DOOR_PORT,
    f"{NODE}.page": 8090,
    f"{NODE}.hl7": 2575,
}
"""Both namespaces are empty: the ports of the documentation are free."""
PACES = f"first_retry_s = 0.1\nsecond_way_after_s = {SECOND_WAY_AFTER_S}\n"
CLINIC = Clinic(node=NODE, beds=BEDS, extra='[alarms]\nruleset = "ruleset.toml"\n')


MODEL_ROOT = "model-root.json"
MODELS = f'[inference]\nroot_file = "{MODEL_ROOT}"\naccelerated = false\nthreads = 1\nmemory_mib = 1024\n'
"""Only where bundles come: a node with a root looks for some at each start."""


def config_of(end: str, known_by: Access, *, is_hasty: bool = False, has_models: bool = False) -> str:
    """Return the name of the configuration by which the hub or the edge begins."""
    more = ("-hasty" if is_hasty else "") + ("-models" if has_models else "")
    return f"{NODE if end == 'edge' else end}-{known_by}{more}.toml"


@dataclass(slots=True)
class FarRegion(Region):
    """The files of a region whose edge reaches its hub at the other end of a tunnel."""

    hub_address: str = field(default="", kw_only=True)
    external_broker: bool = True

    def write(self) -> None:
        """Write everything that a region needs before its first start, a configuration for each way of being known."""
        (self.folder / "hub").mkdir(parents=True, exist_ok=True)
        self.ports = dict(PORTS)
        self._write_secrets()
        for each in access.ALL:
            hub, edge = self._hub_config(), self._edge_config(CLINIC)
            if each != "secrets":
                hub, edge = access.hub_config(hub, each, self.hub_address), access.edge_config(edge, NODE)
            soon = put(edge, f"way_after_s = {SECOND_WAY_AFTER_S}\n", f"way_after_s = {HASTY_AFTER_S}\n")
            (self.folder / config_of("hub", each)).write_text(hub)
            for is_hasty, text in ((False, edge), (True, soon)):
                (self.folder / config_of("edge", each, is_hasty=is_hasty)).write_text(text)
                named = config_of("edge", each, is_hasty=is_hasty, has_models=True)
                (self.folder / named).write_text(f"{text}{MODELS}")
        (self.folder / "admissions.toml").write_text(self._admissions(CLINIC))
        shutil.copy(RULESET, self.folder / "ruleset.toml")

    def _hub_config(self) -> str:
        text = put(Region._hub_config(self), "[broker]\n", "[broker]\nsecrets_off_loopback = true\n")
        for head, key in (("broker", "host"), ("ingest", "datagram_host"), ("rpc", "host")):
            text = put(text, f"[{head}]\n", f'[{head}]\n{key} = "{self.hub_address}"\n')
        return text

    def _edge_config(self, clinic: Clinic) -> str:
        text = put(Region._edge_config(self, clinic), "[uplink]\n", "[uplink]\nsecrets_off_loopback = true\n")
        text = put(text, "[uplink]\n", f'[uplink]\nbroker_host = "{self.hub_address}"\n{PACES}')
        text = put(text, "[transfer]\n", f'[transfer]\nhub_host = "{self.hub_address}"\nlook_every_s = 1\n')
        folder = f'folder = "{NODE}-buffer"\n'
        return put(text, folder, f"{folder}keep_sent_hours = 24\nlimit_mib = {EDGE_MIB}\n")


@dataclass(slots=True)
class Place:
    """A region's folder, mounted and filled, the tunnel, and the line between monitors and edge."""

    folder: Path
    link: Tunnel
    bedside: Proxy
    region: FarRegion
    disks: list[Disk] = field(default_factory=list)
    """Of edge and hub."""

    @property
    def edge_folder(self) -> Path:
        """The node's store."""
        return self.folder / f"{NODE}-buffer"

    @property
    def hub_folder(self) -> Path:
        """The hub's databases, blobs and secrets."""
        return self.folder / "hub"

    @property
    def broker_folder(self) -> Path:
        """Mosquitto's settings, made anew whenever it is wiped."""
        return self.folder / "mosquitto"

    def write_broker(self, known_by: Access) -> list[str]:
        """Wipe what the broker has and return the command that starts it."""
        if known_by != "secrets":
            (self.folder / access.PROCESS).unlink(missing_ok=True)
            return ["/bin/sh", "-c", access.STARTED, str(self.folder / access.SETTINGS), _mosquitto()]
        shutil.rmtree(self.broker_folder, ignore_errors=True)
        secrets = self.hub_folder / "broker-secrets.json"
        config = write_settings(secrets, self.broker_folder, self.link.hub_address, PORTS["broker"])
        with config.open("a") as file:
            # Its own user could not come into a temporary folder.
            file.write("user root\n")
        return [_mosquitto(), "-c", str(config)]

    def broker_listens(self, process: int) -> None:
        """Let the hub know whom to tell that the broker's settings are others."""
        (self.folder / access.PROCESS).write_text(str(process))

    def store_template(self, template: Path) -> None:
        """Keep what edge and hub have now as what every episode begins with."""
        for folder in (self.edge_folder, self.hub_folder):
            shutil.copytree(folder, template / folder.name)

    def begin_anew(self, template: Path) -> None:
        """Put edge and hub back to the template; nobody may be running."""
        for folder in (self.edge_folder, self.hub_folder):
            empty(folder)
            shutil.copytree(template / folder.name, folder, dirs_exist_ok=True)
        # Of another authority, perhaps: the hub writes them anew.
        shutil.rmtree(self.folder / access.SETTINGS, ignore_errors=True)
        self.sync()

    def sync(self) -> None:
        """Let the disks have what a run itself has put there."""
        for each in self.disks:
            each.sync()

    def lose_power(self, draw: Random) -> None:
        """Let both disks forget what was not synced; nobody may be running."""
        for each in self.disks:
            each.lose_power(draw)

    @contextmanager
    def without_port(self, name: str) -> Iterator[None]:
        """Let the edge reach the hub but not this port of it while the block runs, as behind some firewalls."""
        rule = ("ipproto", "tcp", "dport", str(PORTS[name]), "unreachable")
        at_edge = ("ip", "-n", self.link.name_of("edge"), "rule")
        subprocess.run([*at_edge, "add", *rule], check=True, capture_output=True)
        try:
            yield
        finally:
            subprocess.run([*at_edge, "del", *rule], check=True, capture_output=True)


@contextmanager
def made(folder: Path, seed: int) -> Iterator[Place]:
    """Hold a place; raises relay.namespaces.Unavailable, with the reason, where this machine cannot."""
    with ExitStack() as undo:
        link = undo.enter_context(tunnel(seed=seed))
        folder.mkdir(parents=True, exist_ok=True)
        bedside = _bedside(link, seed)
        undo.callback(bedside.close)
        place = Place(folder, link, bedside, FarRegion(folder, (CLINIC,), hub_address=link.hub_address))
        images = folder / "disks"
        images.mkdir()
        undo.enter_context(_in_memory(images, 4 * (EDGE_MIB + HUB_MIB)))
        for each, mib in ((place.edge_folder, EDGE_MIB), (place.hub_folder, HUB_MIB)):
            each.mkdir()
            place.disks.append(undo.enter_context(disk.held(each, images / f"{each.name}.img", mib)))
        place.region.write()
        yield place


def _mosquitto() -> str:
    program = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    assert program, "Mosquitto is not installed (Debian: mosquitto)"
    return program


def _bedside(link: Tunnel, seed: int) -> Proxy:
    """Return the relay through which the monitors reach the edge's HL7 port: listens outside, leads to the inside."""
    perfect = Settings()
    target = f"127.0.0.1:{PORTS[f'{NODE}.hl7']}"
    return Proxy(perfect, perfect, seed, None, kind="stream", target=target, within=link.name_of("edge"))


@contextmanager
def _in_memory(folder: Path, mib: int) -> Iterator[None]:
    mounted = ["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=755", "tmpfs", str(folder)]
    subprocess.run(mounted, check=True, capture_output=True)
    try:
        yield
    finally:
        # Lazily: whoever still has a file open there is about to end.
        subprocess.run(["umount", "--lazy", str(folder)], check=False, capture_output=True)


def empty(folder: Path) -> None:
    """Delete all that is in a folder, which may be a mount."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def sender_orders(bedside: tuple[str, int], ledger: Path, interval_s: float) -> Mapping[str, object]:
    """Return what the sender is told: four beds, one with waves, one whose temperature goes up and down."""
    beds = [
        {
            "device": f"mon-{bed.lower()}",
            "eui64": CLINIC.eui64(bed),
            "patient_id": CLINIC.patient_id(bed),
            "has_waves": bed == BEDS[0],
            "has_fever": bed == BEDS[-1],
        }
        for bed in BEDS
    ]
    host, port = bedside
    return {"host": host, "port": port, "ledger": str(ledger), "interval_s": interval_s, "beds": beds}
