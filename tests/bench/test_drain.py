"""An hour of eight patients drained by real processes at the two ends of a packet tunnel, ten times as fast as in life.

How old live values become at the worst is the bench's word: on a machine that others load it says nothing.
"""

import json
import os
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from bench import drain, far
from bench.drain_watch import Disk, Moment, Screen, Watch, waiting
from tests.faults.relay.namespaces import Unavailable
from tests.region.region import until

HOURS, TIMES = 1, 10


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_was_written_without_a_link_is_all_at_the_hub_and_live_values_are_back() -> None:
    try:
        outcome = drain.measure(HOURS, TIMES)
    except Unavailable as reason:
        pytest.skip(str(reason))
    # That all is at the hub, and every bed live on the screen, `measure` itself waits for.
    assert outcome.messages == HOURS * 3600 * len(drain.BEDS)
    assert outcome.buffer_mib > 0
    assert 0 < outcome.live_again_s <= outcome.drained_s
    assert 0 < outcome.link_share <= 1
    assert outcome.times_real_time >= 2
    assert outcome.live_p50_s < 2
    assert outcome.timeline[-1].waiting_records == 0
    # Plain containers take twice of that.
    assert outcome.bytes_a_patient_second < 700


def test_what_waits_is_what_the_watermarks_lack_of_the_outage_and_nothing_later() -> None:
    assert waiting([], 2, 100) == 200
    assert waiting([(100, []), (40, [(1, 10)])], 2, 100) == 70
    # Live numbers came first; the outage's last ones behind them.
    assert waiting([(150, [(1, 60), (98, 120)])], 1, 100) == 63
    assert waiting([(150, [(101, 120)]), (100, [])], 2, 100) == 0


def test_the_time_line_tells_of_each_stretch_what_was_worst_in_it(tmp_path: Path) -> None:
    store = tmp_path / "samples.db"
    with closing(sqlite3.connect(store)) as database, database:
        database.execute("CREATE TABLE watermark (max INTEGER, gaps TEXT)")
        database.execute("INSERT INTO watermark VALUES (50, ?)", (json.dumps([(1, 20)]),))
    watch = Watch(store, Screen(ages_s=[0.5, 1.5]), Disk(slowest_s=0.4), 1, 50, rate_bps=8000)
    watch.begin(iter(range(0, 10_000, 500)).__next__)
    watch.note(10, 20)
    watch.screen.ages_s += [0.7]
    watch.note(20, 0)
    assert watch.timeline == [Moment(10, 20, 1.5, 0.05, 0.4), Moment(20, 0, 0.7, 0.05, 0.0)]
    assert not watch.is_drained()


def test_a_sync_that_is_not_through_yet_counts_as_slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stands, goes_on = threading.Event(), threading.Event()

    def sync(_file: int) -> None:
        stands.set()
        assert goes_on.wait(10)

    monkeypatch.setattr(os, "fdatasync", sync)
    disk = Disk()
    with disk.watched(tmp_path):
        assert stands.wait(10)
        time.sleep(0.05)
        assert disk.take() >= 0.05
        goes_on.set()
        until(lambda: disk.take() == 0, 5, "it is through")


def test_the_table_keeps_the_oldest_values_of_the_points_that_it_leaves_out() -> None:
    moments = [Moment(float(number), 100 - number, 1.9 if number == 7 else 0.5, 0.5, 0.1) for number in range(100)]
    lines = drain.timeline_table(moments).splitlines()
    assert len(lines) <= drain.ROWS_SHOWN + 2
    assert sum("1.9" in line.split("|")[3] for line in lines) == 1
    assert lines[-1].split("|")[2].strip() == "1"


def test_who_watches_does_something_now_and_then_so_that_the_session_does_not_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = list[str]()

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        if len(asked) == 1:
            raise httpx.ConnectError("the hub is away")
        return httpx.Response(200)

    monkeypatch.setattr(far, "MOVES_EVERY_S", 0.01)
    with httpx.Client(transport=httpx.MockTransport(answer), base_url="http://hub") as client, far.sitting(client):
        until(lambda: len(asked) >= 3, 5, "it asks again, also after a hub that was away")
    assert set(asked) == {"/api/v1/session"}
