"""What a configuration means for each part of the node."""

from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge

from edge_node import placement
from edge_node.alarms import ruleset
from edge_node.alarms.bedwatch import Ages
from edge_node.alarms.ward import Layout, Place
from edge_node.buffer.store import Buffer
from edge_node.config import EdgeConfig
from edge_node.consult.pipe import Configure
from edge_node.errors import ConfigRefused
from edge_node.uplink.second_way import SecondWay, Waits
from edge_node.uplink.transfer.client import login


def check(config: EdgeConfig) -> None:
    """Look at everything a configuration names outside itself.

    Raises:
        ConfigRefused: the ruleset, a secret or a recording cannot be used.
    """
    ruleset.load(config.alarms.ruleset)
    metrics_token(config)
    for key, path in (("uplink.secret_file", config.uplink.secret_file), *records(config)):
        if not path.is_file():
            raise ConfigRefused(f"{key}: {path} is not there")
        try:
            with path.open("rb"):
                pass
        except OSError as error:
            raise ConfigRefused(f"{key}: {path} cannot be read: {error.strerror}") from error


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
    )


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
