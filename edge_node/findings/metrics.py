"""Figures about studies that were read here."""

from prometheus_client import CollectorRegistry, Counter, Histogram


class FindingsMetrics:
    """Counters of one node."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.studies = Counter(
            "edge_findings_studies", "Studies given to a model.", ["task", "outcome"], registry=registry
        )
        self.seconds = Histogram(
            "edge_findings_seconds", "From the first look at a study to its results.", ["task"],
            buckets=(1, 2, 5, 10, 20, 30, 60, 120, 180, 300, 600), registry=registry,
        )  # fmt: skip
