"""Alarm and care records as received; what is made of them stands in the other tables of the care store."""

from cloud_hub.store import dialect
from cloud_hub.store.intake import Ledger
from cloud_hub.store.schema import care_dead_letter, care_record, care_shed, care_stream, care_watermark
from cloud_hub.store.streams import Incoming, StreamKey, Streams


class CareLedger(Ledger):
    """The care store as the intake sees it."""

    def __init__(self) -> None:
        super().__init__(Streams(care_stream, care_watermark, care_shed), care_record, care_dead_letter, care_shed)

    def row(self, incoming: Incoming, key: StreamKey, received_ns: int) -> dialect.Row:
        """Return the row to store for a record."""
        item = incoming.record
        return (
            *key,
            item.seq,
            item.kind,
            item.crc,
            item.stamp.wall_ns,
            received_ns,
            item.codec,
            item.schema,
            item.payload,
            None,
        )
