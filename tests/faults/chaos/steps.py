"""The steps of reliability 2.2 and 2.3 at which an actor is killed (pure).

A place is one of the product's own failpoints, or a function of the product which the child wraps at its start, so
that it can die just before or just after it.
"""

from dataclasses import dataclass
from typing import Literal

Actor = Literal["edge", "hub", "send"]
"""`send` is the command that queues a file, a process beside the node."""
When = Literal["at", "before", "after"]
Need = Literal["", "file", "second way", "comparison", "download", "renewal", "bundle"]
"""What must go on for a step to be reached, beside measurements."""
Often = Literal["row", "container", "seldom", "once"]
HIT_LIMIT = {"row": 25, "container": 5, "seldom": 2, "once": 1}
"""How often a step may be passed before it is the fatal one, by how often it is reached."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step between two of which an actor can die."""

    name: str
    actor: Actor
    clause: str
    """Where the specification has it."""
    when: When
    place: str
    """Name of a failpoint (`at`), or `module:Class.function`."""
    often: Often = "container"
    needs: Need = ""
    """It is only reached while this goes on."""


def _edge(clause: str, name: str, when: When, place: str, often: Often) -> Step:
    return Step(f"edge: {name}", "edge", clause, when, place, often)


def _hub(clause: str, name: str, when: When, place: str) -> Step:
    return Step(f"hub: {name}", "hub", clause, when, place)


def _file(actor: Actor, name: str, place: str) -> Step:
    return Step(f"{actor}: {name}", actor, "2.2.5", "at", place, "seldom", "file")


def _second(actor: Actor, name: str, when: When, place: str) -> Step:
    often: Often = "seldom" if "call" in name else "container"
    return Step(f"{actor}: second way, {name}", actor, "2.8", when, place, often, "second way")


def _compared(actor: Actor, name: str, when: When, place: str) -> Step:
    return Step(f"{actor}: comparison, {name}", actor, "2.3.5", when, place, "seldom", "comparison")


def _fetched(actor: Actor, name: str, when: When, place: str) -> Step:
    return Step(f"{actor}: download, {name}", actor, "2.2.5", when, place, "seldom", "download")


def _renewed(actor: Actor, name: str, when: When, place: str) -> Step:
    return Step(f"{actor}: certificate, {name}", actor, "2.10.14", when, place, "once", "renewal")


def _bundle(name: str, when: When, place: str) -> Step:
    return Step(f"edge: bundle, {name}", "edge", "2.10.18", when, place, "once", "bundle")


STEPS = (
    _edge("2.2.1", "message read, nothing stored", "before", "edge_node.buffer.store:Buffer.store_intake", "row"),
    _edge("2.2.1", "row inserted", "at", "after-insert", "row"),
    _edge("2.2.1", "all rows in, not committed", "at", "before-commit", "row"),
    _edge("2.2.1", "committed, source not answered", "at", "after-commit", "row"),
    _edge("2.2.1", "stored and judged, source not answered", "after", "edge_node.app:Node.take", "row"),
    _edge("2.2.2", "states about to be written", "before", "edge_node.buffer.outbox:save", "seldom"),
    _edge("2.2.2", "states written, not committed", "after", "edge_node.buffer.outbox:save", "seldom"),
    _edge("2.2.3", "records chosen, not sent", "before", "edge_node.uplink.pump:Pump._send", "container"),
    _edge("2.2.3", "container with the client", "after", "edge_node.uplink.mqtt:MqttLink.publish", "container"),
    _edge("2.2.3", "records noted as sent", "after", "edge_node.uplink.pump:Pump._send", "container"),
    _edge("2.2.3", "the broker has acknowledged", "before", "edge_node.uplink.gate:Gate.acknowledged", "container"),
    _edge("2.2.4", "receipt came, not taken", "before", "edge_node.uplink.pump:Pump.take", "container"),
    _edge("2.2.4", "acknowledged in memory", "after", "edge_node.buffer.file:LogFile.acknowledge", "seldom"),
    _edge("2.2.4", "old rows about to go", "before", "edge_node.buffer.maintenance:delete_run", "seldom"),
    _edge("2.2.4", "old rows gone, not committed", "after", "edge_node.buffer.maintenance:delete_run", "seldom"),
    _file("send", "content in the spool, not queued", "spooled"),
    _file("send", "file queued, nobody told", "queued"),
    _file("edge", "offer of a file answered", "offer-answered"),
    _file("edge", "piece of a file sent", "piece-sent"),
    _file("edge", "progress of a file heard", "progress-heard"),
    _file("edge", "durable pieces noted", "durable-noted"),
    _file("edge", "file noted as done", "done-noted"),
    _file("hub", "file offered", "offered"),
    _file("hub", "hashes of a file committed", "hashes-committed"),
    _file("hub", "piece of a file written", "chunk-written"),
    _file("hub", "pieces synced", "data-synced"),
    _file("hub", "durable pieces committed", "durable-committed"),
    _file("hub", "whole file verified", "whole-verified"),
    _file("hub", "file has its name", "blob-named"),
    _file("hub", "file committed as complete", "complete-committed"),
    _hub("2.3.1", "message arrived, not taken", "before", "cloud_hub.ingest.gateway:Ingest.take"),
    _hub("2.3.1", "broker answered", "after", "cloud_hub.ingest.mqtt:_Client._answer"),
    _hub("2.3.2", "batch begun", "before", "cloud_hub.ingest.stores:take"),
    _hub("2.3.2", "rows in, watermark not", "before", "cloud_hub.store.streams:Streams.put"),
    _hub("2.3.2", "watermark in, not committed", "after", "cloud_hub.store.streams:Streams.put"),
    _hub("2.3.2", "batch done, not committed", "after", "cloud_hub.ingest.stores:take"),
    _hub("2.3.3", "gaps about to be counted", "before", "cloud_hub.store.watermarks:Watermark.plus"),
    _hub("2.3.4", "committed, nobody told", "at", "committed"),
    _hub("2.3.4", "receipts made, not sent", "before", "cloud_hub.ingest.downlink:Downlink._send"),
    _hub("2.3.4", "receipts sent", "after", "cloud_hub.ingest.downlink:Downlink._send"),
    _hub("2.3.5", "hello came, not answered", "before", "cloud_hub.ingest.gateway:Ingest._answer"),
    _hub("2.3.5", "hello answered", "after", "cloud_hub.ingest.downlink:Downlink.greeted"),
    _hub("2.3.6", "credit about to be told", "before", "cloud_hub.ingest.gateway:Ingest._credit"),
    _second("edge", "call open, nothing said", "after", "edge_node.uplink.second_way:SecondWay._begin"),
    _second("edge", "records handed to it", "after", "edge_node.uplink.second_way:SecondWay.send"),
    _second("edge", "hub's words came, not taken", "before", "edge_node.uplink.second_way:SecondWay._take"),
    _second("edge", "hub's words taken", "after", "edge_node.uplink.second_way:SecondWay._take"),
    _second("hub", "call about to be heard", "before", "cloud_hub.rpc.talks:TalkServicer._hear"),
    _second("hub", "message taken, not said", "before", "cloud_hub.rpc.talks:_Hearing.took"),
    _second("hub", "message counted", "after", "cloud_hub.rpc.talks:_Hearing.took"),
    _second("hub", "receipt about to be told", "after", "cloud_hub.rpc.talks:_Hearing.next"),
    _compared("edge", "not begun", "before", "edge_node.uplink.reconcile.calls:Calls.begin"),
    _compared("edge", "begun", "after", "edge_node.uplink.reconcile.calls:Calls.begin"),
    _compared("edge", "blocks compared", "after", "edge_node.uplink.reconcile.calls:Calls.compare"),
    _compared("edge", "report came", "after", "edge_node.uplink.reconcile.calls:Calls.finish"),
    _compared("edge", "report noted, question open", "before", "edge_node.uplink.reconcile.diary:Diary.answered"),
    _compared("hub", "about to be begun", "before", "cloud_hub.rpc.comparing:Reconciling.begin"),
    _compared("hub", "begun, not answered", "after", "cloud_hub.rpc.comparing:Reconciling.begin"),
    _compared("hub", "blocks about to be compared", "before", "cloud_hub.rpc.comparing:Reconciling.compare"),
    _compared("hub", "blocks compared, not answered", "after", "cloud_hub.rpc.comparing:Reconciling.compare"),
    _compared("hub", "about to end", "before", "cloud_hub.rpc.comparing:Reconciling._end"),
    _compared("hub", "ended, not answered", "after", "cloud_hub.rpc.comparing:Reconciling._end"),
    _fetched("edge", "piece written", "at", "fetch-written"),
    _fetched("edge", "pieces synced", "at", "fetch-synced"),
    _fetched("edge", "durable pieces noted", "at", "fetch-noted"),
    _fetched("edge", "whole file verified", "at", "fetch-verified"),
    _fetched("edge", "file has its name", "at", "fetch-named"),
    _fetched("edge", "file noted as here", "at", "fetch-here"),
    _fetched("hub", "piece about to be handed over", "before", "cloud_hub.rpc.fetching:_hand_over"),
    _fetched("hub", "piece handed over", "after", "cloud_hub.rpc.fetching:_hand_over"),
    _fetched("hub", "what the node has about to be noted", "before", "cloud_hub.store.releases:note_held"),
    _fetched("hub", "what the node has noted, not committed", "after", "cloud_hub.store.releases:note_held"),
    _renewed("edge", "next key kept", "after", "edge_node.uplink.certificates:CertificateFolder.next_key"),
    _renewed("edge", "next one came, not stored", "before", "edge_node.uplink.certificates:CertificateFolder.take"),
    _renewed("edge", "one of its files written", "after", "edge_node.uplink.certificates:write_whole"),
    _renewed("edge", "next one stored", "after", "edge_node.uplink.certificates:CertificateFolder.take"),
    _renewed("hub", "renewal about to be judged", "before", "cloud_hub.access.enrolment:Enrolment.renew"),
    _renewed("hub", "given, not committed", "after", "cloud_hub.access.enrolment:Enrolment.renew"),
    _renewed("hub", "committed, not answered", "after", "cloud_hub.rpc.doorway:Doorway._give"),
    _bundle("came, not judged", "before", "edge_node.inference.installing:Installer.believed"),
    _bundle("believed, not unpacked", "after", "edge_node.inference.installing:Installer.believed"),
    _bundle("unpacked, not in its place", "after", "telemed.bundle_archive:Archive.unpack"),
    _bundle("in its place, not tried", "after", "edge_node.inference.shelf:Shelf.put"),
    _bundle("tried, not on duty", "after", "edge_node.inference.installing:Installer.tried"),
    _bundle("on duty, no row says so", "after", "edge_node.inference.runtime:Inference._others_rest"),
    _bundle("refused, no row says so", "before", "edge_node.inference.runtime:Inference._tell_refused"),
    _bundle("judged, file not given up", "before", "edge_node.bundle_arrivals:BundleArrivals.settled"),
    _bundle("judged, file given up", "after", "edge_node.bundle_arrivals:BundleArrivals.settled"),
)
BY_NAME = {step.name: step for step in STEPS}
AT_RANDOM = {"edge": "edge: at any moment", "hub": "hub: at any moment", "broker": "broker: at any moment"}
"""Kills that hit wherever the actor is."""
POWER_LOSS = "all: power lost"
