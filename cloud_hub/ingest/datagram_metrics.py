"""What the datagram server counts; no label names a person or a node."""

from collections.abc import Callable, Iterable, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

WORDS = {
    "malformed": "none of ours by its fixed fields",
    "stray": "a part of a handshake that is not there, or too many strangers at once",
    "hello": "strangers given a cookie, or talking nonsense",
    "handshake": "strangers whose cookie came back",
    "too-many-handshakes": "refused by the rate of their source",
    "unknown-session": "sessions that are not known here, told so",
    "broken": "sessions ended by what was said in them",
    "proved": "sessions that proved whose they are",
    "refused": "proofs that were wrong",
    "unproved": "messages before the proof, not looked at",
    "moved": "sessions whose translated address changed",
    "replayed-or-forged": "records dropped by their number or tag",
    "unreadable": "messages or containers that cannot be read",
    "no-alarm": "containers with records of another class, not taken",
    "taken": "containers handed to the intake",
    "again": "containers that came again and were answered or let go",
    "ping": "heartbeats",
    "receipt": "receipts sent",
    "no-credit": "answers not given because they would be longer than what was asked",
    "send-failed": "answers that the network refused",
}


class DatagramMetrics(Collector):
    """The server's counters, read where they are asked for."""

    def __init__(self, counts: Mapping[str, int], sessions: Callable[[], int]) -> None:
        self._counts, self._sessions = counts, sessions

    def collect(self) -> Iterable[CounterMetricFamily | GaugeMetricFamily]:
        """Return the counters, each word from the start on, and the number of sessions."""
        family = CounterMetricFamily("hub_datagrams", "Datagrams of the alarms' own way in.", labels=["what"])
        for word in WORDS:
            family.add_metric([word], self._counts.get(word, 0))
        yield family
        yield GaugeMetricFamily("hub_datagram_sessions", "Sessions with nodes.", value=self._sessions())
