"""The delivery states of a stream, against a hub that loses, repeats and forgets."""

from hypothesis import given, settings
from hypothesis import strategies as st
from telemed.numbers import runs

from edge_node.buffer.delivery import BLOCK_RECORDS, BLOCK_S, GAP_LIMIT, LARGEST_WINDOW, WINDOW, Delivery, Receipt

RESEND_S = 5.0


def gaps_of(held: set[int]) -> tuple[int, int, tuple[tuple[int, int], ...]]:
    top = max(held, default=0)
    missing = runs(set(range(1, top + 1)) - held)
    contig = missing[0][0] - 1 if missing else top
    return contig, top, tuple(missing[:GAP_LIMIT])


def receipt(held: set[int], hub_ns: int) -> Receipt:
    return Receipt(*gaps_of(held), hub_ns)


def send_live(delivery: Delivery, now_s: float) -> list[int]:
    chosen = delivery.plan_live(now_s, RESEND_S)
    delivery.sent(chosen, now_s)
    return chosen


def send_backlog(delivery: Delivery, now_s: float) -> list[int]:
    chosen = delivery.plan_backlog(now_s, RESEND_S)
    delivery.sent(chosen, now_s)
    return chosen


def send(delivery: Delivery, now_s: float) -> list[int]:
    delivery.gather(now_s)
    return send_live(delivery, now_s) + send_backlog(delivery, now_s)


def test_no_more_than_the_window_is_under_way() -> None:
    delivery = Delivery(acked=0, next_seq=501)
    sent = send(delivery, 0) + send(delivery, 0) + send(delivery, 0)
    assert sent == list(range(1, WINDOW // 2 + 1))
    delivery.next_seq = 701
    sent += send(delivery, 0)
    assert len(delivery.flying) == WINDOW == len(sent)


def test_what_is_stored_while_connected_goes_ahead_of_the_backlog() -> None:
    delivery = Delivery(acked=0, next_seq=101)
    delivery.next_seq = 103
    assert send(delivery, 0)[:3] == [101, 102, 1]


def test_what_is_not_receipted_is_sent_again() -> None:
    delivery = Delivery(acked=0, next_seq=3)
    assert send(delivery, 0) == [1, 2]
    assert send(delivery, 4.9) == []
    assert send(delivery, 5.0) == [1, 2]
    delivery.take(receipt({1, 2}, 1))
    assert send(delivery, 99) == []


def test_only_the_missing_ones_are_sent_again() -> None:
    delivery = Delivery(acked=0, next_seq=6)
    send(delivery, 0)
    assert delivery.take(receipt({1, 2, 4, 5}, 1))
    assert delivery.acked == 2
    assert send(delivery, 6) == [3]


def test_numbers_beyond_a_cut_list_of_gaps_count_as_missing() -> None:
    cut = Receipt(0, 100, tuple((number, number) for number in range(1, 2 * GAP_LIMIT, 2)), 1)
    assert cut.has(2)
    assert not cut.has(100)


def test_an_old_receipt_changes_nothing() -> None:
    delivery = Delivery(acked=0, next_seq=6)
    delivery.take(receipt({1, 2, 3, 4, 5}, 2))
    assert not delivery.take(receipt({1}, 1))
    assert delivery.acked == 5


def test_a_hub_that_lost_records_gets_them_again() -> None:
    delivery = Delivery(acked=5, next_seq=6, receipt=Receipt(5, 5, (), 1))
    assert delivery.take(receipt({1, 2}, 2))
    assert delivery.acked == 2
    assert send(delivery, 0) == [3, 4, 5]


def test_numbers_never_given_out_are_not_taken_for_acknowledged() -> None:
    delivery = Delivery(acked=0, next_seq=3)
    assert not delivery.take(Receipt(7, 7, (), 1))
    assert delivery.acked == 0


def test_a_list_of_gaps_that_is_cut_short_does_not_look_like_a_loss() -> None:
    before = Receipt(0, 1000, ((1, 900),), 1)
    holes = tuple((number, number) for number in range(1, 2 * GAP_LIMIT, 2))
    assert not Receipt(0, holes[-1][1], holes, 2).lost_since(before)
    assert Receipt(0, 1000, ((1, 950),), 2).lost_since(before)
    assert Receipt(0, 900, (), 2).lost_since(before)


def test_after_a_reconnection_all_that_waits_is_backlog() -> None:
    delivery = Delivery(acked=0, next_seq=3)
    send(delivery, 0)
    delivery.restart()
    assert send(delivery, 0.1) == [1, 2]


def test_records_no_longer_in_the_store_do_not_hold_up_the_rest() -> None:
    delivery = Delivery(acked=0, next_seq=200)
    for _ in range(10):
        chosen = delivery.plan_backlog(0, RESEND_S)
        delivery.gone(1, 150)
        delivery.sent((seq for seq in chosen if seq > 150), 0)
    assert min(delivery.flying) == 151


def test_the_newest_hour_of_the_backlog_goes_first_then_the_rest_from_its_beginning() -> None:
    delivery = Delivery(acked=10, next_seq=1001, window=20)
    delivery.restart(newest_hour_from=995)
    assert send_backlog(delivery, 0) == [995, 996, 997, 998, 999, 1000, 11, 12, 13, 14]
    delivery.take(receipt({*range(1, 15), *range(995, 1001)}, 1))
    assert send_backlog(delivery, 0)[:2] == [15, 16]


def test_a_newest_hour_that_is_all_there_is_splits_nothing() -> None:
    for hour_from in (0, 3, 11, 99):
        delivery = Delivery(acked=2, next_seq=6)
        delivery.restart(newest_hour_from=hour_from)
        assert send_backlog(delivery, 0) == [3, 4, 5], hour_from


def blocks(next_seq: int = 1) -> Delivery:
    delivery = Delivery(acked=0, next_seq=next_seq, window=LARGEST_WINDOW)
    delivery.look(is_live=False)
    return delivery


def test_what_nobody_looks_at_waits_until_it_makes_a_block() -> None:
    delivery = blocks()
    delivery.next_seq += BLOCK_RECORDS - 1
    assert send(delivery, 0) == []
    assert not delivery.gather(1)
    delivery.next_seq += 1
    assert send(delivery, 1) == list(range(1, BLOCK_RECORDS + 1))


def test_a_block_that_does_not_fill_goes_after_a_minute() -> None:
    delivery = blocks()
    delivery.next_seq = 4
    assert send(delivery, 100) == []
    assert send(delivery, 100 + BLOCK_S) == [1, 2, 3]
    assert not delivery.gather(999)


def test_when_somebody_looks_new_records_go_at_once_and_what_was_gathered_behind_them() -> None:
    delivery = blocks()
    delivery.next_seq = 4
    send(delivery, 0)
    delivery.look(is_live=True)
    delivery.next_seq = 6
    assert send_live(delivery, 1) == [4, 5]
    assert send_backlog(delivery, 1) == [1, 2, 3]


def test_when_nobody_looks_any_more_what_was_not_sent_is_not_forgotten() -> None:
    delivery = Delivery(acked=0, next_seq=1)
    delivery.next_seq = 4
    assert send_live(delivery, 0) == [1, 2, 3]
    delivery.next_seq = 6
    delivery.look(is_live=False)
    assert send(delivery, 0) == [4, 5]
    assert send(delivery, RESEND_S) == [1, 2, 3, 4, 5]


steps = st.lists(
    st.one_of(
        st.tuples(st.just("store"), st.integers(1, 40)),
        st.tuples(st.just("round"), st.integers(0, 2**32 - 1)),
        st.tuples(st.just("receipt"), st.just(0)),
        st.tuples(st.just("reconnect"), st.integers(0, 60)),
        st.tuples(st.just("restore"), st.integers(0, 50)),
        st.tuples(st.just("look"), st.integers(0, 1)),
    ),
    max_size=30,
)


@settings(max_examples=100)
@given(steps)
def test_whatever_is_lost_on_the_way_the_hub_ends_with_everything_and_acked_never_runs_ahead(
    story: list[tuple[str, int]],
) -> None:
    delivery, held, now_s, hub_ns = Delivery(acked=0, next_seq=1), set[int](), 0.0, 0
    for what, number in story:
        now_s, hub_ns = now_s + 1, hub_ns + 1
        if what == "store":
            delivery.next_seq += number
        elif what == "round":
            held |= {seq for seq in send(delivery, now_s) if number >> (seq % 32) & 1}
        elif what == "receipt":
            delivery.take(receipt(held, hub_ns))
        elif what == "reconnect":
            delivery.restart(number)
        elif what == "look":
            delivery.look(bool(number))
        else:
            held = {seq for seq in held if seq <= number}
            delivery.take(receipt(held, hub_ns))
        assert len(delivery.flying) <= WINDOW
        assert all(seq in held for seq in range(1, delivery.acked + 1))
    for _ in range(2000):
        if delivery.acked == delivery.next_seq - 1:
            break
        now_s, hub_ns = now_s + BLOCK_S, hub_ns + 1
        held |= set(send(delivery, now_s))
        delivery.take(receipt(held, hub_ns))
    assert held == set(range(1, delivery.next_seq))
    assert delivery.acked == delivery.next_seq - 1
