"""What the models of a node count; no label names a person or a study."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

BUCKETS_S = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100)


class InferenceMetrics:
    """The counters of one node."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.runs = Counter(
            "edge_inference_runs", "Runs of a graph: done, or why not.", ["task", "outcome"], registry=registry
        )
        self.seconds = Histogram(
            "edge_inference_seconds", "Time of one run of a graph.", ["task"], buckets=BUCKETS_S, registry=registry
        )
        self.bundles = Counter(
            "edge_inference_bundles", "Bundles that came: taken, or why not.", ["outcome"], registry=registry
        )
        self.rolled_back = Counter(
            "edge_inference_rolled_back", "Bundles given up on duty, by why.", ["task", "reason"], registry=registry
        )
        self.serving = Gauge(
            "edge_inference_serving", "Bundle on duty and its engine.", ["task", "version", "engine"], registry=registry
        )
