"""Configuration of an edge node: one TOML file, read once, never changed, unknown keys refused.

Secrets are files, never values.  Paths are taken relative to the configuration file.
"""

import ipaddress
import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from edge_node.errors import ConfigRefused

Seconds = Annotated[float, Field(gt=0, le=3600)]
Port = Annotated[int, Field(ge=1, le=65535)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]
BedCode = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,19}$")]
LOOPBACK = "127.0.0.1"


class Section(BaseModel):
    """A part of the configuration file: read once, never changed, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class NodeConfig(Section):
    """Who this node is."""

    region: Name = Field(description="Region the site belongs to.")
    site: Name = Field(description="Site this node stands at.")
    node: Name = Field(description="Name of the node; user name at the broker.")
    name_zh: str = Field(min_length=1, description="Name of the site on Chinese screens.")
    name_en: str = Field(min_length=1, description="Name of the site on English screens.")
    phone: str = Field(default="", description="Telephone of the site, proposed as callback in referrals.")
    hub_phone: str = Field(default="", description="Duty number of the hub, shown when the hub cannot be reached.")
    timezone: str = Field(default="Asia/Shanghai", description="Zone for device times without an offset.")
    home: bool = Field(default=False, description="True at a home ward: home delays of the alarm ruleset apply.")
    demo: bool = Field(default=False, description="Every page carries the mark Demo.")


class BufferConfig(Section):
    """The local store: outbox and history in one."""

    folder: Path = Field(description="Folder of the database files.")
    group_commit_ms: Annotated[float, Field(ge=0, le=100)] = Field(
        default=15, description="Longest wait to share a synced commit with others; alarms never wait."
    )
    share_commit_ms: Annotated[float, Field(ge=0, le=300)] = Field(
        default=300,
        description="Longest wait of calm vitals for another monitor that is expected to send; 0: none waits.",
    )
    keep_sent_hours: Annotated[float, Field(ge=24, le=24 * 90)] = Field(
        default=24 * 30, description="How long acknowledged rows are kept as history and for a restored hub."
    )
    limit_mib: Annotated[int, Field(ge=64)] = Field(default=2048, description="Disk for the store in MiB.")
    encrypt: bool = Field(
        default=True, description="Whether what is stored of patients is encrypted; what is encrypted is read anyhow."
    )
    key_folder: Path | None = Field(
        default=None,
        description="Folder of the key files, best on another medium; none: beside the folder, its name with -keys.",
    )
    key_days: Annotated[int, Field(ge=1, le=3660)] = Field(
        default=365, description="After so many days all keys are changed."
    )


class PathConfig(Section):
    """One way out for the alarms' datagrams."""

    interface: str = Field(default="", max_length=15, description="Interface to send through, e.g. wwan0.")
    local_address: str = Field(default="", description="Address of this node to send from.")

    @model_validator(mode="after")
    def _is_bound(self) -> "PathConfig":
        if not (self.interface or self.local_address):
            raise ValueError("interface or local_address must be given")
        return self


class UplinkConfig(Section):
    """How the node reaches the hub's broker."""

    broker_host: str = Field(default=LOOPBACK, min_length=1, description="Host name of the hub's MQTT broker.")
    broker_port: Port = Field(default=1883, description="Port of the broker.")
    secret_file: Path = Field(
        default=Path("broker-secret"),
        description="File with this node's secret at the broker; of no use where there are certificates.",
    )
    certificates: Path | None = Field(
        default=None,
        description="Folder of this node's key and certificate, filled by `edge-node enrol`; none: the secret.",
    )
    secrets_off_loopback: bool = Field(
        default=False,
        description="Without certificates: whether the secret may cross a network, for a test in a network of its own.",
    )
    first_retry_s: Seconds = Field(default=0.5, description="Wait after the first failure.")
    longest_retry_s: Seconds = Field(default=30, description="The wait doubles up to this, with full jitter.")
    resend_after_s: Seconds = Field(default=5, description="What is not receipted within this is sent again.")
    wave_block_s: Seconds = Field(
        default=60, description="Waves that nobody looks at are gathered so long; what somebody looks at goes at once."
    )
    presence_every_s: Seconds = Field(default=5, description="Heartbeat to the hub.")
    datagram_enabled: bool = Field(default=True, description="Whether alarms also go by encrypted datagram (UDP).")
    datagram_host: str = Field(default="", description="Host that takes them; the broker's when empty.")
    datagram_port: Port = Field(default=8443, description="UDP port of the hub that takes them.")
    paths: list[PathConfig] = Field(
        default_factory=list, description="Ways out for alarms, each sent by all of them; one by the routes when none."
    )
    silence_after_s: Seconds = Field(default=15, description="Silence of the hub that raises the technical alarm.")
    second_way_enabled: bool = Field(
        default=True, description="Whether everything goes to the hub's gRPC server while the broker leads nowhere."
    )
    second_way_after_s: Seconds = Field(
        default=12, description="Silence of the hub behind the broker after which the second way is taken."
    )

    @model_validator(mode="after")
    def _waits_are_ordered(self) -> "UplinkConfig":
        if self.first_retry_s > self.longest_retry_s:
            raise ValueError("first_retry_s must not exceed longest_retry_s")
        return self


class TransferBudget(Section):
    """What may be sent of one kind of file."""

    mib_per_day: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="MiB a day at most, by the site's date; no limit when not given."
    )
    hours: list[Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d-(([01]\d|2[0-3]):[0-5]\d|24:00)$")]] = Field(
        default_factory=list, description="Hours at which it may be sent, e.g. 22:00-06:00; any hour when not given."
    )


class TransferConfig(Section):
    """Transfer of files: studies and recorded exams to the hub, bundles from it."""

    enabled: bool = Field(default=True, description="False: nothing is sent or fetched; what is queued waits.")
    hub_host: str = Field(default=LOOPBACK, min_length=1, description="Host name of the hub's gRPC server.")
    hub_port: Port = Field(default=8443, description="Port of the hub's gRPC server.")
    keep_sent_hours: Annotated[float, Field(ge=0, le=24 * 30)] = Field(
        default=24, description="How long a copy of what the hub has is kept, for a hub that is put back to a backup."
    )
    look_every_s: Seconds = Field(default=60, description="How often the hub is asked what it has for this node.")
    study: TransferBudget = Field(default_factory=TransferBudget, description="Budget of imaging studies.")
    exam: TransferBudget = Field(default_factory=TransferBudget, description="Budget of recorded exams.")
    bundle: TransferBudget = Field(default_factory=TransferBudget, description="Budget of model bundles.")
    other: TransferBudget = Field(default_factory=TransferBudget, description="Budget of all other files.")


class ReconcileConfig(Section):
    """Nightly comparison of what the node holds with what the hub stores; uses the server of [transfer]."""

    enabled: bool = Field(default=True, description="False: compared only when `edge-node reconcile` asks.")
    hour: Annotated[int, Field(ge=0, le=23)] = Field(default=2, description="Hour of the night, in the site's zone.")
    spread_minutes: Annotated[int, Field(ge=0, le=600)] = Field(
        default=120, description="Nodes begin at different minutes of so long a stretch after the hour."
    )
    recent_hours: Annotated[int, Field(ge=1, le=24 * 90)] = Field(
        default=72, description="What came in during so many hours is compared every night."
    )
    all_every_nights: Annotated[int, Field(ge=1, le=90)] = Field(
        default=7, description="What is older is compared a part each night, all of it in so many nights."
    )


class SimConfig(Section):
    """When to change to the other SIM."""

    preferred: Annotated[int, Field(ge=1, le=4)] = Field(default=1, description="Slot of the SIM to use first.")
    other: Annotated[int, Field(ge=1, le=4)] = Field(default=2, description="Slot of the other SIM.")
    no_service_s: Seconds = Field(default=120, description="Without service this long: change.")
    no_hub_s: Seconds = Field(default=300, description="Poor signal and no hub this long: change.")
    stay_s: Seconds = Field(default=600, description="At least so long on a SIM that was changed to.")
    return_s: Seconds = Field(default=3600, description="Good service on the other this long: try the preferred one.")


class ModemConfig(Section):
    """A modem that the node watches; connecting it is the work of the system."""

    path: Name = Field(description="Name of this way, for page and log.")
    kind: Literal["modem-manager", "recorded"] = Field(default="modem-manager", description="How the modem is reached.")
    device: str = Field(default="", description="Device or IMEI as ModemManager tells it; the first if empty.")
    signal_every_s: Annotated[int, Field(ge=1, le=60)] = Field(default=5, description="How often to ask its signal.")
    recordings: list[Path] = Field(default_factory=list, description="For kind recorded: a drive test for each SIM.")
    speed: Annotated[float, Field(gt=0, le=100)] = Field(default=1, description="For kind recorded: how fast to play.")
    sim: SimConfig | None = Field(default=None, description="Whether and when to use a second SIM.")

    @model_validator(mode="after")
    def _kind_has_its_keys(self) -> "ModemConfig":
        if self.kind == "recorded" and not self.recordings:
            raise ValueError(f"modem {self.path}: kind recorded needs recordings")
        return self


class Hl7Config(Section):
    """The HL7 v2 receiver for bedside monitors."""

    enabled: bool = Field(default=True, description="False: the port is not opened.")
    host: str = Field(default=LOOPBACK, description="Address to listen on.")
    port: Port = Field(default=2575, description="MLLP port.")
    frame_limit_kib: Annotated[int, Field(ge=16, le=4096)] = Field(default=1024, description="Largest frame taken.")
    stall_s: Seconds = Field(default=30, description="A begun frame that stalls this long is dropped.")
    idle_s: Seconds = Field(default=600, description="A connection idle this long is closed.")
    late_after_s: Seconds = Field(default=1800, description="Older measurements are stored as late, never alarmed.")
    late_silent_s: Seconds = Field(default=120, description="Measurements older than this raise no new alarm sound.")


class DeviceConfig(Section):
    """One device that is enrolled at this node."""

    device: Name = Field(description="Code of the device within the node.")
    family: Literal["hl7_monitor", "recorded", "camera"] = Field(description="Driver that serves it.")
    bed: BedCode | None = Field(default=None, description="Bed it stands at.")
    eui64: Annotated[str, Field(pattern=r"^[0-9A-F]{16}$")] | None = Field(
        default=None, description="EUI-64 it names itself with (MSH-3.2), 16 hex digits."
    )
    application: str = Field(default="", description="MSH-3.1 of a device that has no EUI-64.")
    model: str = Field(default="", description="Make and model, for people.")
    usual_interval_s: Seconds = Field(default=1, description="How often it usually reports; silence is 3 x this.")
    locations: list[str] = Field(
        default_factory=list, description="PV1-3 values that mean this bed, as unit^room^bed^facility."
    )
    record: Path | None = Field(default=None, description="For family recorded: the WFDB header or EDF file to play.")
    speed: Literal[1, 10, 100] = Field(default=1, description="For family recorded: how fast to play.")
    source: str = Field(default="", description="For family camera: V4L2 device, RTSP URL or video file.")

    @model_validator(mode="after")
    def _family_has_its_keys(self) -> "DeviceConfig":
        if self.family == "hl7_monitor" and not (self.eui64 or self.application):
            raise ValueError(f"device {self.device}: an hl7_monitor needs eui64 or application")
        if self.family == "recorded" and self.record is None:
            raise ValueError(f"device {self.device}: family recorded needs record")
        if self.family == "camera" and not self.source:
            raise ValueError(f"device {self.device}: family camera needs source")
        return self


class BedConfig(Section):
    """One bed or spot of the site."""

    bed: BedCode = Field(description="Code of the bed; never reused for another place.")
    label: str = Field(min_length=1, max_length=12, description="What stands on the tile, e.g. 01.")


class AlarmsConfig(Section):
    """Which alarm rules apply."""

    ruleset: Path | None = Field(default=None, description="Ruleset file; the built-in adult-default when not given.")
    sound_command: list[str] = Field(
        default_factory=list, description="Program that drives the node's own buzzer, called with the priority."
    )


class HttpsConfig(Section):
    """HTTPS beside the plain HTTP of loopback: for phones and other machines at the site."""

    host: str = Field(min_length=1, description="Address to listen on, e.g. 0.0.0.0.")
    port: Port = Field(default=8490, description="Port.")
    certificate_file: Path = Field(description="PEM chain of the page; read again when it changes.")
    key_file: Path = Field(description="Its private key, PEM without a password.")


class BedsideConfig(Section):
    """The local web page."""

    host: str = Field(default=LOOPBACK, description="Address to listen on; loopback unless HTTPS is set up.")
    port: Port = Field(default=8090, description="Port of the bedside page.")
    https: HttpsConfig | None = Field(default=None, description="HTTPS; none: the page is for this machine alone.")
    metrics_token_file: Path | None = Field(
        default=None, description="File with the bearer token for /metrics when asked from elsewhere than loopback."
    )


class ConsultConfig(Section):
    """Tele-consultation at this node."""

    auto_answer: bool = Field(default=False, description="Answer at once with the camera; the demo sets this.")
    camera: Name | None = Field(default=None, description="Device code of the camera for beds without their own.")
    microphone: str = Field(
        default="", description="The node's own microphone: alsa:<device>, or an audio file as test microphone."
    )
    ice_servers: list[str] = Field(
        default_factory=list, description="STUN or TURN URLs of this network; none: direct connections only."
    )
    top_rung: Literal["1080p", "720p", "480p", "240p"] = Field(
        default="720p", description="Best picture that the ladder may climb to."
    )


ApplicationEntity = Annotated[str, Field(pattern=r"^[A-Za-z0-9](?:[A-Za-z0-9 ._-]{0,14}[A-Za-z0-9._-])?$")]


class DestinationConfig(Section):
    """Where images may be moved to by C-MOVE."""

    ae_title: ApplicationEntity = Field(description="Title by which a move names it.")
    host: str = Field(min_length=1, description="Its address.")
    port: Port = Field(default=104, description="Its DICOM port.")


class WebSenderConfig(Section):
    """A device or program that stores images over HTTPS (STOW-RS)."""

    name: ApplicationEntity = Field(description="What it is called; kept with every image, as a modality's title.")
    token_file: Path = Field(description="File with its bearer token, at least 32 characters; never the token itself.")


class ImagingConfig(Section):
    """Receiving of images (DICOM); off where the section is not there."""

    host: str = Field(default=LOOPBACK, description="Address to listen on; of the side of the modalities.")
    port: Port = Field(default=11112, description="DICOM port.")
    ae_title: ApplicationEntity = Field(default="YUANZHEN", description="Application entity title of this node.")
    senders: list[ApplicationEntity] = Field(
        min_length=1, max_length=64, description="Titles of the application entities that may send."
    )
    readers: list[ApplicationEntity] = Field(
        default_factory=list, max_length=64, description="Those of the senders that may also query and retrieve."
    )
    destinations: list[DestinationConfig] = Field(
        default_factory=list, max_length=64, description="Where images may be moved to; nowhere else."
    )
    web_senders: list[WebSenderConfig] = Field(
        default_factory=list, max_length=64, description="Those that may store images over HTTPS with a token."
    )
    folder: Path | None = Field(
        default=None, description="Folder of the images; none: the folder images in that of the store."
    )
    watched_folder: Path | None = Field(
        default=None, description="Folder whose DICOM files are taken in and deleted there; none: no folder is watched."
    )
    import_folder: Path | None = Field(
        default=None,
        description="Folder whose volumes, photos and PDFs are made into DICOM; what each is lies beside it.",
    )
    receivers: Annotated[int, Field(ge=1, le=16)] = Field(default=2, description="Processes that receive.")
    associations: Annotated[int, Field(ge=1, le=100)] = Field(
        default=24, description="Associations at once, shared among the receivers; each has its share, rounded up."
    )
    object_limit_mib: Annotated[int, Field(ge=1, le=2048)] = Field(
        default=512, description="Largest object; a receiver may take four times as much memory."
    )
    disk_limit_pct: Annotated[float, Field(gt=0, lt=95)] = Field(
        default=85, description="Above it images are refused as out of resources, and their senders try again."
    )
    stall_s: Seconds = Field(default=30, description="A sender that stalls so long within a message is cut off.")
    idle_s: Seconds = Field(default=600, description="An association idle this long is closed.")
    complete_after_s: Seconds = Field(
        default=30, description="A study of which nothing came for so long is complete and goes to the hub."
    )
    keep_days: Annotated[float, Field(ge=1, le=3660)] = Field(
        default=30,
        description="So long a study's files stay once the hub has all of them; fewer where the disk is full.",
    )
    preview_after_s: Seconds = Field(
        default=2, description="So long after the newest object the key image goes ahead to the hub."
    )

    @model_validator(mode="after")
    def _readers_may_call(self) -> "ImagingConfig":
        if not set(self.readers) <= set(self.senders):
            raise ValueError("readers: each must be among the senders")
        return self

    @model_validator(mode="after")
    def _destinations_differ(self) -> "ImagingConfig":
        titles = [each.ae_title for each in self.destinations]
        names = [each.name for each in self.web_senders]
        for kind, told in (("destination", titles), ("web sender", names)):
            doubled = {title for title in told if told.count(title) > 1}
            if doubled:
                raise ValueError(f"{kind} listed twice: {', '.join(sorted(doubled))}")
        return self


class InferenceConfig(Section):
    """Models that run at this node; their bundles come by [transfer]."""

    root_file: Path | None = Field(
        default=None,
        description="Root of trust of model bundles; none: the one that came at the enrolment, else no model is run.",
    )
    folder: Path | None = Field(
        default=None, description="Folder of the bundles and engines; none: models, in the buffer's folder."
    )
    research: bool = Field(
        default=False,
        description="Whether models trained on phantoms alone may run on patients; every output then says so.",
    )
    accelerated: bool = Field(
        default=True, description="Whether a graphics card is used where it is measured to be faster and as right."
    )
    threads: Annotated[int, Field(ge=0, le=256)] = Field(
        default=0, description="Threads of one run on the processor; 0: one less than there are processors."
    )
    memory_mib: Annotated[int, Field(ge=256)] = Field(default=2048, description="Memory of a model's process in MiB.")
    idle_s: Annotated[float, Field(ge=1, le=86400)] = Field(
        default=600, description="A model that nobody used for so long gives its memory back."
    )
    slow_factor: Annotated[float, Field(ge=1.1, le=100)] = Field(
        default=3, description="A new version that is so many times slower than the one before it is refused."
    )
    probation_runs: Annotated[int, Field(ge=1, le=10000)] = Field(
        default=20, description="During so many runs one fault of a new version brings the one before it back."
    )


class FindingsConfig(Section):
    """Reading of complete studies by the models on duty; needs [imaging] and a root of trust of models."""

    rules_file: Path | None = Field(
        default=None, description="Which series a model is given, and what they must be like; none: the rules built in."
    )
    within_h: Annotated[float, Field(gt=0, le=720)] = Field(
        default=24, description="Studies of which nothing came for longer are not read any more."
    )
    memory_mib: Annotated[int, Field(ge=512)] = Field(
        default=2048, description="Memory of the process that reads a study's images, in MiB."
    )
    limit_s: Annotated[float, Field(gt=0, le=3600)] = Field(
        default=900, description="The reading of one study is given up after so long."
    )
    again_after_s: tuple[Seconds, ...] = Field(
        default=(10, 60, 300),
        description="Waits after which a study is tried again where trouble may pass; after the last it is given up.",
    )


class EdgeConfig(Section):
    """The whole configuration file of an edge node."""

    node: NodeConfig = Field(description="Who this node is.")
    buffer: BufferConfig = Field(description="The local store.")
    uplink: UplinkConfig = Field(description="The way to the hub.")
    transfer: TransferConfig = Field(default_factory=TransferConfig, description="Transfer of files.")
    reconcile: ReconcileConfig = Field(default_factory=ReconcileConfig, description="Nightly comparison with the hub.")
    hl7: Hl7Config = Field(default_factory=Hl7Config, description="HL7 receiver.")
    bedside: BedsideConfig = Field(default_factory=BedsideConfig, description="Local page.")
    consult: ConsultConfig = Field(default_factory=ConsultConfig, description="Tele-consultation.")
    alarms: AlarmsConfig = Field(default_factory=AlarmsConfig, description="Alarm rules.")
    imaging: ImagingConfig | None = Field(default=None, description="Receiving of images; none: no port is opened.")
    inference: InferenceConfig = Field(default_factory=InferenceConfig, description="Models at this node.")
    findings: FindingsConfig = Field(default_factory=FindingsConfig, description="Reading of studies by models.")
    beds: list[BedConfig] = Field(min_length=1, description="Beds of the site, in the order of the wall.")
    devices: list[DeviceConfig] = Field(default_factory=list, description="Enrolled devices.")
    modems: list[ModemConfig] = Field(default_factory=list, description="Modems that the node watches.")

    @model_validator(mode="after")
    def _references_exist(self) -> "EdgeConfig":
        beds = [bed.bed for bed in self.beds]
        codes = [device.device for device in self.devices]
        paths = [modem.path for modem in self.modems]
        for kind, names in (("bed", beds), ("device", codes), ("modem", paths)):
            doubled = {name for name in names if names.count(name) > 1}
            if doubled:
                raise ValueError(f"{kind} listed twice: {', '.join(sorted(doubled))}")
        for device in self.devices:
            if device.bed is not None and device.bed not in beds:
                raise ValueError(f"device {device.device}: bed {device.bed} is not in [[beds]]")
        if self.consult.camera is not None and self.consult.camera not in codes:
            raise ValueError(f"consult.camera: {self.consult.camera} is not in [[devices]]")
        return self


def is_loopback(host: str) -> bool:
    """Return whether an address is of this machine alone; a name is only if it is localhost."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def readable_ways(config: EdgeConfig) -> list[str]:
    """Return the settings by which the node's secret would cross a network readable; none with certificates."""
    uplink, transfer = config.uplink, config.transfer
    if uplink.certificates is not None or uplink.secrets_off_loopback:
        return []
    ways = [("uplink.broker_host", uplink.broker_host)]
    ways += [("transfer.hub_host", transfer.hub_host)] if transfer.enabled or uplink.second_way_enabled else []
    return [name for name, host in ways if not is_loopback(host)]


def load(path: Path) -> EdgeConfig:
    """Return the configuration in `path`, with its relative paths made absolute.

    Raises:
        ConfigRefused: unreadable, not TOML, unknown key, wrong value; the text has file:line and a hint.
    """
    try:
        text = path.read_text(encoding="utf-8")
        raw = tomllib.loads(text)
    except OSError as error:
        raise ConfigRefused(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        # Not every refusal of the reader is a TOMLDecodeError: a number of 5,000 digits, a thousand brackets.
        raise ConfigRefused(f"{path}: not valid TOML: {error}") from error
    try:
        config = EdgeConfig.model_validate(raw)
    except ValidationError as error:
        raise ConfigRefused("\n".join(_explain(path, text, error))) from error
    config = _absolute(config, path.resolve().parent)
    for name in ("watched_folder", "import_folder"):
        if with_what := _emptied_overlap(config, path, name):
            line = _line_of(text, ["imaging", name])
            told = f"{path}:{line}: imaging.{name}: it is, holds or lies in {with_what}, whose files would be taken"
            raise ConfigRefused(told)
    return config


def _emptied_overlap(config: EdgeConfig, path: Path, setting: str) -> str:
    """Return the setting whose files lie where a folder of imaging is emptied; empty where none does."""
    imaging, buffer = config.imaging, config.buffer
    emptied = {"watched_folder": imaging.watched_folder, "import_folder": imaging.import_folder} if imaging else {}
    if imaging is None or (folder_emptied := emptied.pop(setting)) is None:
        return ""
    watched = folder_emptied.resolve()
    kept = {
        **{f"imaging.{name}": other for name, other in emptied.items()},
        "imaging.folder": imaging.folder,
        "buffer.folder": buffer.folder,
        "buffer.key_folder": buffer.key_folder,
        "uplink.certificates": config.uplink.certificates,
        "inference.folder": config.inference.folder,
    }
    for name, path_kept in kept.items():
        folder = path_kept.resolve() if path_kept is not None else None
        if folder is not None and (watched.is_relative_to(folder) or folder.is_relative_to(watched)):
            return name
    return "the configuration file" if path.resolve().is_relative_to(watched) else ""


def _explain(path: Path, text: str, error: ValidationError) -> list[str]:
    lines = []
    for problem in error.errors():
        keys = [str(key) for key in problem["loc"]]
        names = [key for key in keys if not key.isdigit()]
        hint = f"{path}:{_line_of(text, names)}: {'.'.join(keys) or 'file'}: {problem['msg']}"
        if problem["type"] == "extra_forbidden":
            hint += " (unknown key: misspelt, or of a newer version)"
        lines.append(hint)
    return lines


def _line_of(text: str, names: list[str]) -> int:
    """Line of the last of `names` that can be found, each looked for after the one before; 1 if none."""
    found = 0
    rows = text.splitlines()
    for name in names:
        for number in range(found, len(rows)):
            head = rows[number].split("=", 1)[0].strip(" []\"'")
            if head == name or head.endswith("." + name):
                found = number
                break
    return found + 1


def _absolute(config: EdgeConfig, base: Path) -> EdgeConfig:
    devices = [
        device.model_copy(
            update={
                "record": base / device.record if device.record else None,
                "source": _media_source(base, device.source),
            }
        )
        for device in config.devices
    ]
    return config.model_copy(
        update={
            "buffer": _absolute_buffer(config.buffer, base),
            "uplink": config.uplink.model_copy(
                update={
                    "secret_file": base / config.uplink.secret_file,
                    "certificates": base / config.uplink.certificates if config.uplink.certificates else None,
                }
            ),
            "imaging": _absolute_imaging(config, base),
            "bedside": config.bedside.model_copy(update={"https": _absolute_https(config.bedside.https, base)}),
            "devices": devices,
            "inference": _absolute_inference(config.inference, base),
            "findings": _absolute_findings(config.findings, base),
            "modems": [
                modem.model_copy(update={"recordings": [base / each for each in modem.recordings]})
                for modem in config.modems
            ],
            "consult": config.consult.model_copy(update={"microphone": _media_source(base, config.consult.microphone)}),
        }
    )


def _absolute_buffer(buffer: BufferConfig, base: Path) -> BufferConfig:
    keys = base / buffer.key_folder if buffer.key_folder else None
    return buffer.model_copy(update={"folder": base / buffer.folder, "key_folder": keys})


def _absolute_imaging(config: EdgeConfig, base: Path) -> ImagingConfig | None:
    imaging = config.imaging
    if imaging is None:
        return None
    folder = imaging.folder if imaging.folder is not None else config.buffer.folder / "images"
    watched = base / imaging.watched_folder if imaging.watched_folder is not None else None
    imports = base / imaging.import_folder if imaging.import_folder is not None else None
    senders = [each.model_copy(update={"token_file": base / each.token_file}) for each in imaging.web_senders]
    return imaging.model_copy(
        update={
            "folder": base / folder,
            "watched_folder": watched,
            "import_folder": imports,
            "web_senders": senders,
        }
    )


def _absolute_inference(inference: InferenceConfig, base: Path) -> InferenceConfig:
    root = base / inference.root_file if inference.root_file else None
    folder = base / inference.folder if inference.folder else None
    return inference.model_copy(update={"root_file": root, "folder": folder})


def _absolute_findings(findings: FindingsConfig, base: Path) -> FindingsConfig:
    return findings.model_copy(update={"rules_file": base / findings.rules_file if findings.rules_file else None})


def _absolute_https(https: HttpsConfig | None, base: Path) -> HttpsConfig | None:
    if https is None:
        return None
    files = {"certificate_file": base / https.certificate_file, "key_file": base / https.key_file}
    return https.model_copy(update=files)


def _media_source(base: Path, source: str) -> str:
    """A device, a URL and `alsa:` stay as they are; a file is relative to the configuration file."""
    return source if not source or "://" in source or source.startswith("alsa:") else str(base / source)
