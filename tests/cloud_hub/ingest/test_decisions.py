"""The pure halves of the intake: when a receipt is due, and who is a clone."""

from cloud_hub.ingest.clones import CloneWatch
from cloud_hub.ingest.credit import window
from cloud_hub.ingest.receipts import ReceiptBook, receipt
from cloud_hub.store.watermarks import Watermark
from tests.fakes.containers import CLINIC, HOME, S_NS

NAME = ("mon-b01/numeric", 1)


def contigs(book: ReceiptBook, now_s: float) -> list[int]:
    return [one.contig for one in book.due(CLINIC, now_s)]


def test_a_stream_is_receipted_at_once_then_at_most_once_a_second_then_every_ten() -> None:
    book = ReceiptBook()
    assert book.note(CLINIC, NAME, Watermark(1, 1), 100.0, urgent=False)
    assert contigs(book, 100.0) == [1]
    assert not book.note(CLINIC, NAME, Watermark(2, 2), 100.4, urgent=False)
    assert contigs(book, 100.6) == []
    assert contigs(book, 101.0) == [2]
    assert contigs(book, 110.9) == []
    assert contigs(book, 111.0) == [2]
    assert contigs(book, 400.0) == []


def test_an_edge_that_catches_up_is_told_ten_times_a_second() -> None:
    book = ReceiptBook()
    book.note(CLINIC, NAME, Watermark(1, 1), 100.0, urgent=False)
    book.due(CLINIC, 100.0)
    assert not book.note(CLINIC, NAME, Watermark(32, 32), 100.2, urgent=False)
    assert book.note(CLINIC, NAME, Watermark(33, 33), 100.2, urgent=False)
    assert contigs(book, 100.2) == [33]
    # A gap that is filled from its end moves neither contig nor max.
    book.note(CLINIC, NAME, Watermark(33, 500, ((34, 450),)), 100.3, urgent=False)
    book.due(CLINIC, 100.3)
    assert book.note(CLINIC, NAME, Watermark(33, 500, ((34, 400),)), 100.4, urgent=False)


def test_the_credit_shrinks_while_the_store_is_behind_and_never_to_nothing() -> None:
    assert [window(256, waited_s, 0) for waited_s in (0, 0.5, 5.25, 10, 99)] == [256, 256, 128, 1, 1]
    assert [window(64, 0, share) for share in (0.1, 0.45, 0.8, 1)] == [64, 32, 1, 1]
    assert window(64, 5.25, 0.45) == 32


def test_an_urgent_receipt_does_not_wait() -> None:
    book = ReceiptBook()
    for number in (1, 2, 3):
        assert book.note(CLINIC, NAME, Watermark(number, number), 100.0, urgent=True)
        assert contigs(book, 100.0) == [number]
    assert book.due(HOME, 100.0) == []


def test_a_receipt_with_too_many_gaps_never_claims_a_missing_number() -> None:
    mark = Watermark().plus(range(2, 200, 2))
    told = receipt("s", 1, mark)
    missing = {number for gap in told.gaps for number in range(gap.first, gap.last + 1)}
    claimed = set(range(1, told.max + 1)) - missing
    assert len(told.gaps) == 32
    assert all(mark.has(number) for number in claimed)


def test_reboots_and_delays_are_no_clones_but_two_boot_clocks_are() -> None:
    watch, now = CloneWatch(), 1_000_000 * S_NS
    assert not watch.is_clone(CLINIC, 500 * S_NS, now)
    assert not watch.is_clone(CLINIC, 505 * S_NS, now + 305 * S_NS)
    assert not watch.is_clone(CLINIC, 805 * S_NS, now + 306 * S_NS)
    assert not watch.is_clone(CLINIC, 5 * S_NS, now + 400 * S_NS)
    assert not watch.is_clone(CLINIC, 10 * S_NS, now + 405 * S_NS)
    assert watch.is_clone(CLINIC, 905 * S_NS, now + 406 * S_NS)
    assert not watch.is_clone(HOME, 1, now)
