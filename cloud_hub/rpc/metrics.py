"""What the transfer of files counts; no label names a person or a file."""

from prometheus_client import CollectorRegistry, Counter, Gauge

from cloud_hub.store.reconciliations import Tally


class TransferMetrics:
    """The counters of the hub's side, in the registry of the process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.bytes = Counter(
            "hub_transfer_bytes",
            "Bytes of files: received, repeated (were here already), corrupt, fetched.",
            ["kind", "outcome"],
            registry=registry,
        )
        self.files = Counter(
            "hub_transfer_files",
            "Files: complete, known (were here already), refused, withdrawn.",
            ["kind", "outcome"],
            registry=registry,
        )
        self.faults = Counter("hub_transfer_faults", "Calls that were ended, by reason.", ["reason"], registry=registry)
        self.calls = Gauge("hub_transfer_calls", "Calls of nodes that are open.", registry=registry)


class ReconcileMetrics:
    """What the comparison with the nodes counts, in the registry of the process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.records = Counter(
            "hub_reconcile_records",
            "Records: compared, healed (missing and stored again), lost, conflicts, damaged (at the node).",
            ["outcome"],
            registry=registry,
        )
        self.runs = Counter("hub_reconcile_runs", "Comparisons that ended.", ["outcome"], registry=registry)
        self.last = Gauge(
            "hub_reconcile_last_seconds", "When a comparison with a site finished last, Unix time.", ["site"],
            registry=registry,
        )  # fmt: skip

    def found(self, tally: Tally) -> None:
        """Count what a step found."""
        self.records.labels("compared").inc(tally.compared)
        for what, count in tally.not_well().items():
            self.records.labels(what).inc(count)

    def ended(self, site: str, state: str, *, healed: int, now_s: float) -> None:
        """Count a run that ended."""
        self.runs.labels(state).inc()
        self.records.labels("healed").inc(healed)
        if state == "finished":
            self.last.labels(site).set(now_s)
