"""What the receiving of images counts; no label names a person, a study or a sender."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class ImagingMetrics:
    """The counters of one node."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.objects = Counter(
            "edge_imaging_objects",
            "Objects that were stored, by verdict: new, known, conflict, conflict-known, failed.",
            ["verdict"],
            registry=registry,
        )
        self.bytes = Counter("edge_imaging_bytes", "Bytes of new objects.", registry=registry)
        self.refused = Counter(
            "edge_imaging_refused", "Objects and associations that were refused.", ["reason"], registry=registry
        )
        self.let_go = Counter(
            "edge_imaging_let_go", "Objects whose files were deleted here, because the hub has them.", registry=registry
        )
        self.receivers = Gauge("edge_imaging_receivers", "Receivers that take associations.", registry=registry)
        self.held = Gauge(
            "edge_imaging_held",
            "Studies, objects, conflicts, and studies without a person.",
            ["what"],
            registry=registry,
        )
