"""The pure halves of the intake: when a receipt is due, and who is a clone."""

from cloud_hub.ingest.clones import CloneWatch, Run, RunWatch, Verdict
from cloud_hub.ingest.credit import window
from cloud_hub.ingest.receipts import ReceiptBook, receipt
from cloud_hub.store.watermarks import Watermark
from tests.fakes.containers import CLINIC, HOME, S_NS

NAME = ("mon-b01/numeric", 1)


def contigs(book: ReceiptBook, now_s: float) -> list[int]:
    return [one.contig for one in book.due(CLINIC, now_s).receipts]


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


def test_each_stream_of_a_node_is_repeated_ten_seconds_after_it_was_told_and_not_once_it_is_silent() -> None:
    book, other = ReceiptBook(), ("mon-b02/numeric", 1)
    book.note(CLINIC, NAME, Watermark(1, 1), 100.0, urgent=False)
    assert contigs(book, 100.0) == [1]
    book.note(CLINIC, other, Watermark(7, 7), 104.0, urgent=False)
    assert contigs(book, 104.0) == [7]
    assert [contigs(book, at_s) for at_s in (109.9, 110.0, 113.9, 114.0)] == [[], [1], [], [7]]
    # News that are not due by themselves go with what is repeated.
    book.note(CLINIC, other, Watermark(8, 8), 119.9, urgent=False)
    assert contigs(book, 119.9) == [8]
    book.note(CLINIC, other, Watermark(9, 9), 120.0, urgent=False)
    assert sorted(contigs(book, 120.0)) == [1, 9]
    assert [contigs(book, at_s) for at_s in (130.0, 140.0, 150.0)] == [[1, 9], [1, 9], [1, 9]]
    assert [contigs(book, at_s) for at_s in (160.0, 170.0, 180.0)] == [[9], [9], []]


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
    assert not book.due(HOME, 100.0).receipts


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


def run(number: int, *previous: int, boot: int = 1, epochs: tuple[int, ...] = ()) -> Run:
    return Run(number, frozenset(previous), boot, frozenset(epochs), frozenset(epochs))


def test_a_node_that_starts_again_is_taken_at_once_and_one_that_boots_after_a_silence() -> None:
    watch = RunWatch()
    assert watch.greeted(CLINIC, run(1), 100) is Verdict.TAKEN
    assert watch.greeted(CLINIC, run(3, 1, 2), 101) is Verdict.TAKEN
    assert watch.heard(CLINIC, 1, 102) is Verdict.WAITS, "what was on its way of the run before proves nothing"
    assert watch.heard(CLINIC, 3, 103) is Verdict.TAKEN
    assert watch.greeted(CLINIC, run(4, 3, boot=2), 110) is Verdict.WAITS
    assert watch.greeted(CLINIC, run(4, 3, boot=2), 118) is Verdict.TAKEN
    assert watch.refused(CLINIC) == set()


def test_of_two_machines_that_both_speak_the_later_one_is_shut_out_and_what_it_numbers_is_held() -> None:
    watch, first, second = RunWatch(), run(2, 1, boot=7, epochs=(20,)), run(3, 1, boot=8, epochs=(30, 31))
    watch.greeted(CLINIC, first, 100)
    assert watch.greeted(CLINIC, second, 101) is Verdict.WAITS
    assert watch.held(CLINIC) == {30, 31}
    assert watch.heard(CLINIC, 3, 102) is Verdict.WAITS
    assert watch.heard(CLINIC, 2, 105) is Verdict.TAKEN
    assert watch.greeted(CLINIC, second, 106) is Verdict.REFUSED
    assert (watch.refused(CLINIC), watch.held(CLINIC)) == ({3}, {30, 31})
    assert watch.greeted(CLINIC, second, 500) is Verdict.REFUSED, "it stays so until it is started again"


def test_a_copy_on_the_same_machine_is_found_as_soon_as_the_first_speaks_again() -> None:
    watch = RunWatch()
    watch.greeted(CLINIC, run(2, 1, epochs=(20,)), 100)
    assert watch.greeted(CLINIC, run(3, 1, 2, epochs=(30,)), 101) is Verdict.TAKEN
    assert watch.heard(CLINIC, 2, 105) is Verdict.TAKEN
    assert (watch.refused(CLINIC), watch.held(CLINIC)) == ({3}, {30})
    assert watch.heard(CLINIC, 3, 106) is Verdict.REFUSED


def test_what_an_earlier_run_said_long_ago_shuts_nobody_out() -> None:
    watch = RunWatch()
    watch.greeted(CLINIC, run(2, 1), 100)
    assert watch.greeted(CLINIC, run(3, 1, 2), 101) is Verdict.TAKEN
    watch.heard(CLINIC, 3, 129)
    assert watch.heard(CLINIC, 2, 130, is_late=True) is Verdict.WAITS, "it stood in a broker that hung"
    assert watch.greeted(CLINIC, run(2, 1), 131) is Verdict.WAITS
    assert watch.heard(CLINIC, 3, 132) is Verdict.TAKEN
    booted = run(4, 3, boot=2)
    assert watch.greeted(CLINIC, booted, 133) is Verdict.WAITS
    assert watch.heard(CLINIC, 3, 140, is_late=True) is Verdict.TAKEN
    assert watch.greeted(CLINIC, booted, 148) is Verdict.TAKEN, "the silence counts from its last word in time"
    assert watch.refused(CLINIC) == set()


def test_the_machine_that_was_shut_out_goes_on_after_a_restart_once_the_other_is_silent() -> None:
    watch = RunWatch()
    watch.greeted(CLINIC, run(2, 1, boot=7, epochs=(20,)), 100)
    watch.greeted(CLINIC, run(3, 1, boot=8, epochs=(30,)), 101)
    watch.heard(CLINIC, 2, 105)
    watch.greeted(CLINIC, run(3, 1, boot=8, epochs=(30,)), 106)
    again = run(4, 1, 3, boot=8, epochs=(30, 40))
    assert watch.greeted(CLINIC, again, 119) is Verdict.WAITS
    assert watch.greeted(CLINIC, again, 121) is Verdict.TAKEN
    assert watch.held(CLINIC) == set()
    assert watch.greeted(CLINIC, run(2, 1, boot=7, epochs=(20,)), 122) is Verdict.WAITS
    assert watch.heard(CLINIC, 4, 126) is Verdict.TAKEN
    assert watch.greeted(CLINIC, run(2, 1, boot=7, epochs=(20,)), 127) is Verdict.REFUSED


def test_what_a_machine_that_goes_on_has_stored_is_taken_also_where_a_later_greeting_names_it() -> None:
    watch = RunWatch()
    watch.greeted(CLINIC, run(2, 1, boot=7), 100)
    watch.greeted(CLINIC, run(3, 1, boot=8, epochs=(30,)), 101)
    again = run(4, 1, 3, boot=8, epochs=(40,))
    assert watch.greeted(CLINIC, again, 119) is Verdict.TAKEN
    assert watch.held(CLINIC) == {30}, "its first part did not name it"
    watch.greeted(CLINIC, again._replace(known=frozenset({30})), 120)
    assert watch.held(CLINIC) == set()


def test_older_software_that_tells_no_run_is_taken() -> None:
    watch = RunWatch()
    assert watch.greeted(CLINIC, run(0), 100) is Verdict.TAKEN
    watch.greeted(CLINIC, run(2), 101)
    assert watch.heard(CLINIC, 0, 102) is Verdict.TAKEN
    assert watch.greeted(HOME, run(3), 102) is Verdict.TAKEN
