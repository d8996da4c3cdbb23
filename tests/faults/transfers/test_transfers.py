"""Every object that a modality was promised is at the hub once and bit for bit, whoever was killed on the way."""

from collections import Counter
from pathlib import Path

import pytest

from tests.faults.transfers.arrived import compare
from tests.faults.transfers.modality import Image, slices
from tests.faults.transfers.run import Asked, run

SENT = slices(0, 3, "P-1")


def at_hub(*images: Image) -> Counter[str]:
    return Counter(image.instance for image in images)


def test_what_is_lost_doubled_or_altered_is_found() -> None:
    first, second, third = SENT
    found = compare(SENT, lambda _: at_hub(first, first, third), lambda image: image.data_set.replace(b"\0", b"\1"))
    assert (found.missing, found.doubled) == ([second.instance], [first.instance])
    assert found.altered == [first.instance, third.instance]
    assert found.count == 4


def test_nothing_is_found_where_all_is_there() -> None:
    assert compare(SENT, lambda _: at_hub(*SENT), lambda image: image.data_set).count == 0


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_nothing_promised_is_lost_while_receivers_node_and_hub_are_killed(tmp_path: Path) -> None:
    outcome = run(Asked(studies=12, heads=0), tmp_path)
    assert outcome.faults.count == 0, outcome.faults
    assert outcome.promised == 12 * 3
    assert outcome.killed.total() >= 2
