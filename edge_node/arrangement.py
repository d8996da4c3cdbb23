"""What a configuration means for each part of the node."""

import hashlib
import os
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from pathlib import Path
from zoneinfo import ZoneInfo

from prometheus_client import CollectorRegistry, Gauge
from telemed.errors import CertificateUnusable
from telemed.page_certificate import PageCertificate
from telemed.topics import NodeAddress

from edge_node import placement
from edge_node.alarms import ruleset
from edge_node.alarms.bedwatch import Ages
from edge_node.alarms.ward import Layout, Place
from edge_node.buffer.clock import NodeClock
from edge_node.buffer.sealing import Keeping
from edge_node.buffer.store import Buffer
from edge_node.config import EdgeConfig, is_loopback, readable_ways
from edge_node.consult.pipe import Configure
from edge_node.errors import ConfigRefused
from edge_node.findings import due, filing, readings, rules
from edge_node.findings.metrics import FindingsMetrics
from edge_node.imaging.node import Imaging
from edge_node.importing import handing, imports
from edge_node.inference import ports as inference_ports
from edge_node.inference import trust
from edge_node.inference.metrics import InferenceMetrics
from edge_node.inference.runtime import Inference
from edge_node.inference.shelf import ENGINES
from edge_node.inference.slot import RestartBudget
from edge_node.inference.worker import Means
from edge_node.samples.roster import Roster
from edge_node.uplink.certificates import MODEL_ROOT, CertificateFolder
from edge_node.uplink.second_way import SecondWay, Waits
from edge_node.uplink.transfer.client import login

NS = 10**9
SHORTEST_TOKEN_CHARS = 32


def check(config: EdgeConfig) -> None:
    """Look at everything a configuration names outside itself.

    Raises:
        ConfigRefused: the ruleset, a secret or a recording cannot be used.
    """
    ruleset.load(config.alarms.ruleset)
    rules.load(config.findings.rules_file or rules.DEFAULT)
    metrics_token(config)
    web_senders(config)
    models_root(config)
    _page(config)
    for key, path in (*_identity(config), *records(config)):
        if not path.is_file():
            raise ConfigRefused(f"{key}: {path} is not there")
        try:
            with path.open("rb"):
                pass
        except OSError as error:
            raise ConfigRefused(f"{key}: {path} cannot be read: {error.strerror}") from error


def _page(config: EdgeConfig) -> None:
    """Look at how the page is reached.

    Raises:
        ConfigRefused: passwords would cross a network readable, or a certificate cannot be used.
    """
    bedside = config.bedside
    if not is_loopback(bedside.host):
        raise ConfigRefused(
            "bedside.host: not loopback, so passwords would cross the network readable: "
            'leave it, and add [bedside.https] with host = "0.0.0.0"'
        )
    page_certificate(config)


def page_certificate(config: EdgeConfig) -> PageCertificate | None:
    """Return the certificate of the bedside page; None where it is plain HTTP on loopback.

    Raises:
        ConfigRefused: its files cannot be read, or do not belong together.
    """
    https = config.bedside.https
    try:
        return None if https is None else PageCertificate(https.certificate_file, https.key_file)
    except CertificateUnusable as refused:
        raise ConfigRefused(f"bedside.https: {refused}") from refused


def _identity(config: EdgeConfig) -> list[tuple[str, Path]]:
    """Return the file by which the node shows who it is; a certificate is looked at whole.

    Raises:
        ConfigRefused: there is no certificate, or it is another node's.
    """
    uplink, node, readable = config.uplink, config.node, readable_ways(config)
    if readable:
        raise ConfigRefused(
            f"{', '.join(readable)}: not loopback, so this node must have a certificate: "
            "set uplink.certificates and run `edge-node enrol`"
        )
    if uplink.certificates is None:
        return [("uplink.secret_file", uplink.secret_file)]
    held = CertificateFolder(uplink.certificates).read()
    if held.address != NodeAddress(node.region, node.site, node.node):
        raise ConfigRefused(f"uplink.certificates: the certificate is of {held.address.node}, this node is {node.node}")
    return []


def records(config: EdgeConfig) -> list[tuple[str, Path]]:
    """Return the recordings that devices play, each with its key for a message."""
    return [(f"device {row.device}: record", row.record) for row in config.devices if row.record is not None]


def open_buffer(config: EdgeConfig) -> Buffer:
    """Open the store; blocking, raises what `Buffer.open` does."""
    settings = config.buffer
    return Buffer.open(
        settings.folder,
        group_commit_ms=settings.group_commit_ms,
        share_commit_ms=settings.share_commit_ms,
        limit_mib=settings.limit_mib,
        keep_sent_hours=settings.keep_sent_hours,
        keeping=keeping(config),
    )


def keeping(config: EdgeConfig) -> Keeping:
    """Return how the store is to be sealed."""
    settings = config.buffer
    return Keeping(settings.key_folder, settings.encrypt, settings.key_days)


def layout(config: EdgeConfig) -> Layout:
    """Return the beds, and which device stands where and how often it speaks."""
    devices = {
        row.device: Place(row.bed or "", row.usual_interval_s, is_watched=row.family == "hl7_monitor")
        for row in config.devices
        if row.family != "camera"
    }
    devices |= {
        placement.manual_device(row.bed): Place(row.bed, is_watched=False, is_manual=True) for row in config.beds
    }
    intervals = {row.device: row.usual_interval_s for row in config.devices}
    ages = Ages(config.hl7.late_after_s, config.hl7.late_silent_s, intervals)
    return Layout(tuple(row.bed for row in config.beds), devices, config.node.home, ages)


def second_way(config: EdgeConfig, registry: CollectorRegistry) -> SecondWay:
    """Return the way past the broker, and have the registry tell whether it is in use."""
    uplink = config.uplink
    way = SecondWay(login(config), Waits(uplink.second_way_after_s, uplink.first_retry_s, uplink.longest_retry_s))
    is_open = Gauge("edge_second_way_open", "Everything goes past the broker, straight to the hub", registry=registry)
    is_open.set_function(lambda: way.is_open)
    return way


def cameras(config: EdgeConfig) -> Configure:
    """Return what the consult process may use."""
    consult = config.consult
    cameras = {row.bed: row.source for row in config.devices if row.family == "camera" and row.bed}
    for row in config.devices:
        if row.device == consult.camera:
            cameras[""] = row.source
    return Configure(cameras, consult.microphone, consult.ice_servers, consult.top_rung)


def models_root(config: EdgeConfig) -> bytes:
    """Return the root of trust of the model bundles; empty where no model is run.

    Raises:
        ConfigRefused: the file cannot be read, or is no root.
    """
    path = config.inference.root_file
    pinned = config.uplink.certificates / MODEL_ROOT if config.uplink.certificates else None
    if path is None and pinned is not None and pinned.is_file():
        path = pinned
    if path is None:
        return b""
    try:
        root = path.read_bytes()
        trust.check_root(root)
    except OSError as error:
        raise ConfigRefused(f"inference.root_file: {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigRefused(f"inference.root_file: {path} {error}") from error
    return root


def models_folder(config: EdgeConfig) -> Path:
    """Return where the bundles of the node lie."""
    return config.inference.folder or config.buffer.folder / "models"


def models(
    config: EdgeConfig, root: bytes, arrivals: inference_ports.Arrivals, outlets: inference_ports.Outlets
) -> Inference:
    """Return the models of the node, under the root of trust of `models_root`; blocking.

    Raises:
        ConfigRefused: their folder cannot be used.
    """
    settings, folder = config.inference, models_folder(config)
    threads = settings.threads or max(1, (os.cpu_count() or 1) - 1)
    means = Means(threads, settings.memory_mib, folder / ENGINES)
    try:
        return Inference(
            inference_ports.Settings(
                folder, root, means, settings.research, settings.accelerated, settings.idle_s,
                settings.slow_factor, settings.probation_runs,
            ),
            arrivals,
            outlets,
        )  # fmt: skip
    except OSError as error:
        raise ConfigRefused(f"inference.folder: {folder}: {error.strerror}") from error


def models_outlets(
    registry: CollectorRegistry,
    note: Callable[[str, str, str], None],
    budget: Callable[[], RestartBudget],
    clock: NodeClock,
) -> inference_ports.Outlets:
    """Return whom the models tell something."""

    def is_clock_known() -> bool:
        return clock.hub_offset_ms() is not None and clock.wrong_by_ns() is None

    return inference_ports.Outlets(InferenceMetrics(registry), note, budget, is_clock_known=is_clock_known)


def study_readings(
    config: EdgeConfig,
    models: Inference,
    note: Callable[[str, str, str], Awaitable[None]],
    registry: CollectorRegistry,
) -> Callable[[Imaging], readings.Readings]:
    """Return what makes, of imaging that is open, what has its studies read by the node's models.

    Raises:
        ConfigRefused: the rules of series cannot be used.
    """
    settings = config.findings
    series, metrics = rules.load(settings.rules_file or rules.DEFAULT), FindingsMetrics(registry)
    means = readings.Means(settings.memory_mib, settings.limit_s, settings.again_after_s)

    def of(imaging: Imaging) -> readings.Readings:
        delivery, node = imaging.delivery, config.node.node
        shared, zone = (imaging.catalog, delivery.objects), ZoneInfo(config.node.timezone)
        filed = filing.Filing(*shared, delivery.offer, node, means.memory_mib, means.limit_s, delivery.clock_ns, zone)
        waits = due.Waits(round(delivery.quiet.complete_s * NS), round(settings.within_h * 3600 * NS))
        return readings.Readings(*shared, models, series, waits, means, filed, note, metrics, delivery.clock_ns)

    return of


def study_imports(
    config: EdgeConfig,
    roster: Callable[[], Roster],
    note: Callable[[str, str, str], Awaitable[None]],
    registry: CollectorRegistry,
) -> Callable[[Imaging], imports.Imports]:
    """Return what makes, of imaging that is open, what imports files of other kinds; imaging is configured."""
    settings, imaging = config.findings, config.imaging
    assert imaging is not None
    share = imaging.disk_limit_pct / 100
    results = imports.counter(registry)
    means = imports.Means(settings.memory_mib, settings.limit_s, share, config.node.node, version("yuanzhen"))

    def of(opened: Imaging) -> imports.Imports:
        delivery = opened.delivery
        return imports.Imports(opened.catalog, delivery.objects, roster, means, note, results, delivery.clock_ns)

    return of


def handed_imports(config: EdgeConfig) -> handing.Hand | None:
    """Return what takes photos and documents of the bedside page; None where the node receives no images."""
    folder = None if config.imaging is None else config.imaging.folder
    return None if folder is None else handing.Hand(folder / imports.JOBS)


def metrics_token(config: EdgeConfig) -> str:
    """Return what whoever reads the metrics must show; empty = nothing.

    Raises:
        ConfigRefused: the file cannot be read.
    """
    path = config.bedside.metrics_token_file
    if path is None:
        return ""
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigRefused(f"bedside.metrics_token_file: {path} cannot be read: {error.strerror}") from error


def web_senders(config: EdgeConfig) -> Callable[[str], str]:
    """Return what tells whose a token is: the name of a device that stores images over HTTPS, empty for nobody's.

    Raises:
        ConfigRefused: a token cannot be read, is too short, or is another's too.
    """
    found: dict[bytes, str] = {}
    for each in config.imaging.web_senders if config.imaging is not None else []:
        key = f"imaging.web_senders: {each.name}"
        try:
            token = each.token_file.read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            raise ConfigRefused(f"{key}: {each.token_file} cannot be read: {error}") from error
        if len(token) < SHORTEST_TOKEN_CHARS:
            raise ConfigRefused(f"{key}: a token has at least {SHORTEST_TOKEN_CHARS} characters")
        if (digest := _digest(token)) in found:
            raise ConfigRefused(f"{key}: {found[digest]} has the same token")
        found[digest] = each.name
    # Looked up by its hash: how long that takes says nothing of any token.
    return lambda token: found.get(_digest(token), "")


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
