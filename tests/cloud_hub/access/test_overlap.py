"""How long an earlier authority of the hub is trusted: until no node is bound to it."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from telemed.topics import NodeAddress

from cloud_hub.access import authorities, overlap
from cloud_hub.access.ca_folder import CaFolder, open_folder
from cloud_hub.store import node_certificates
from cloud_hub.store.engine import Database
from cloud_hub.store.node_certificates import CertificateRow
from cloud_hub.store.schema import CARE
from tests.fakes.containers import CLINIC, HOME

DAY = 24 * 3600 * 10**9
BEGAN = 100 * DAY
GRACE = timedelta(days=30)


def row(issued_day: int, address: NodeAddress = CLINIC, revoked_ns: int = 0, renewed: str = "") -> CertificateRow:
    """A certificate of seven days; the successor began on day 100."""
    issued_ns, ends_ns = issued_day * DAY, (issued_day + 7) * DAY
    return CertificateRow(f"{issued_day:x}", address, "k", issued_ns, ends_ns, renewed, revoked_ns)


OLD = row(98, renewed="k1")
"""Of the earlier authority; the hub gave the next one for it."""


@pytest.mark.parametrize(
    ("rows", "day", "is_bound"),
    [
        ([], 101, False),
        ([row(98)], 101, True),
        ([row(98)], 135, True),
        ([row(98)], 136, False),
        ([row(101), OLD], 106, True),
        ([row(103), row(102), row(101), OLD], 135, True),
        ([row(101), OLD], 136, False),
        ([row(105), row(101, renewed="k2"), OLD], 105, True),
        ([row(105), row(101, renewed="k2"), OLD], 106, False),
        ([row(98, revoked_ns=1)], 101, False),
        ([row(101)], 102, False),
    ],
    ids=[
        "no node",
        "has not renewed",
        "may renew for 30 days after its end",
        "is away for too long",
        "renewed, but the answer may have been lost, and the node is away past the end of the one before",
        "renewed, but no answer may have arrived",
        "renewed, and the one before was over for too long",
        "has renewed what the successor gave, and the one before lasts",
        "has renewed what the successor gave, and the one before has ended",
        "revoked",
        "has one of the successor",
    ],
)
def test_a_node_is_bound_as_long_as_it_could_come_back_by_what_it_has(
    rows: list[CertificateRow], day: int, is_bound: bool
) -> None:
    assert overlap.bound(rows, BEGAN, day * DAY, GRACE) == ([CLINIC] if is_bound else [])


def test_each_node_is_judged_by_its_own_certificates() -> None:
    rows = [row(105), row(101, renewed="k2"), OLD, row(98, HOME)]
    assert overlap.bound(rows, BEGAN, 106 * DAY, GRACE) == [HOME]


@pytest.fixture
def care(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path}/care.db", CARE, "care")
    database.migrate()
    yield database
    database.close()


def opened(folder: Path) -> CaFolder:
    return open_folder(folder / "pki", "baoshan", ["127.0.0.1"], "hub")


def given(care: Database, issued_day: int) -> None:
    care.write_blocking(lambda c: node_certificates.add(c, row(issued_day), 0))


def test_an_earlier_authority_ends_at_a_start_after_its_last_node_and_not_before(
    tmp_path: Path, care: Database
) -> None:
    assert not overlap.settle(opened(tmp_path), care, 90 * DAY, GRACE), "there is one alone"
    given(care, 98)
    authorities.add_next(tmp_path / "pki", "baoshan")
    for day in (100, 110, 135):
        assert not overlap.settle(opened(tmp_path), care, day * DAY, GRACE)
        assert len(opened(tmp_path).trusted) == 2
    assert overlap.settle(opened(tmp_path), care, 136 * DAY, GRACE)
    assert len(opened(tmp_path).trusted) == 1


def test_a_hub_without_nodes_changes_at_once(tmp_path: Path, care: Database) -> None:
    opened(tmp_path)
    authorities.add_next(tmp_path / "pki", "baoshan")
    assert overlap.settle(opened(tmp_path), care, BEGAN, GRACE)


def test_a_clock_that_was_set_back_ends_no_authority_early(tmp_path: Path, care: Database) -> None:
    opened(tmp_path)
    given(care, 98)
    authorities.add_next(tmp_path / "pki", "baoshan")
    assert not overlap.settle(opened(tmp_path), care, 1 * DAY, GRACE)
    assert not overlap.settle(opened(tmp_path), care, 102 * DAY, GRACE)


def test_a_store_that_does_not_answer_ends_no_authority(tmp_path: Path) -> None:
    opened(tmp_path)
    authorities.add_next(tmp_path / "pki", "baoshan")
    away = Database(f"sqlite:///{tmp_path}/none/care.db", CARE, "care")
    assert not overlap.settle(opened(tmp_path), away, BEGAN, GRACE)
    assert len(opened(tmp_path).trusted) == 2
    away.close()


def test_a_successor_s_number_begins_anew_after_one_that_was_given_up(tmp_path: Path) -> None:
    folder = tmp_path / "pki"
    opened(tmp_path)
    authorities.note_began(folder, 2, 7 * DAY)
    assert authorities.add_next(folder, "baoshan") == 2
    assert authorities.began_ns(folder, 2) is None
