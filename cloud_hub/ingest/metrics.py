"""What the intake counts; no label names a person."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector
from telemed.topics import Up


class IngestMetrics(Collector):
    """The intake's counters, in the registry of the process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.records = Counter(
            "hub_records", "Records stored for the first time, by database.", ["store"], registry=registry
        )
        self.duplicates = Counter("hub_duplicates", "Records that came again.", ["store"], registry=registry)
        self.received_bytes = dict.fromkeys(Up, 0)
        """Payload bytes received so far; a plain number, because it changes with every message."""
        registry.register(self)
        self.dead_letters = Counter("hub_dead_letters", "Things that could not be used.", ["reason"], registry=registry)
        self.newer = Counter(
            "hub_newer_schema_records", "Records only a newer hub can read: upgrade the hub.", registry=registry
        )
        self.jumps = Counter("hub_stream_jumps", "Streams flagged for a jump of over 10^6.", registry=registry)
        self.declared = Counter(
            "hub_declared_records", "Records that nodes declared given up.", ["reason"], registry=registry
        )
        self.clones = Counter("hub_clone_alerts", "Two machines used one node name.", ["node"], registry=registry)
        self.topic_errors = Counter("hub_topic_errors", "Messages on a topic that is not ours.", registry=registry)
        self.lost_history = Counter(
            "hub_lost_history", "Streams of which the hub has less than the edge saw receipted.", registry=registry
        )
        self.dropped = Counter(
            "hub_dropped_messages", "Messages let go because the store is behind; edges resend.", registry=registry
        )
        self.failing = Gauge(
            "hub_store_failing", "Whether nothing can be committed, and so nothing receipted.", ["store"],
            registry=registry,
        )  # fmt: skip
        self.no_day = Gauge("hub_records_outside_days", "Records in the DEFAULT partition.", registry=registry)
        self.batch_seconds = Histogram(
            "hub_batch_seconds",
            "Time of one commit.",
            ["store"],
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
            registry=registry,
        )
        self.batch_records = Histogram(
            "hub_batch_records",
            "Records of one commit.",
            ["store"],
            buckets=(1, 5, 20, 50, 100, 200, 500, 1000),
            registry=registry,
        )
        self.receipt_seconds = Histogram(
            "hub_receipt_seconds",
            "From arrival to the receipt being due.",
            ["store"],
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
            registry=registry,
        )

    def collect(self) -> Iterable[CounterMetricFamily]:
        """Return what is counted outside the library's own counters."""
        family = CounterMetricFamily("hub_ingest_bytes", "Payload bytes received over MQTT.", labels=["what"])
        for what, count in self.received_bytes.items():
            family.add_metric([what], count)
        yield family
