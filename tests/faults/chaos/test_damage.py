"""Damage to the node's own files is inflicted, salvaged and owned up to; a salvage that keeps silent is found."""

import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from edge_node.buffer import salvage
from edge_node.buffer.store import Buffer
from edge_node.samples.measurement import Intake, NumericSet, Value
from tests.faults.chaos import access, damage, invariants, theme
from tests.faults.chaos.reading import Reader
from tests.faults.chaos.schedule import RENEWAL
from tests.faults.chaos.seen import EdgeSeen, HubSeen, Violation

ROWS = 300
HIT_PAGES = 40


async def store(folder: Path) -> None:
    buffer = Buffer.open(folder, group_commit_ms=0)
    for number in range(ROWS):
        now_ns = time.time_ns()
        values = (Value("hr", "70", "/min"), *(Value(f"x{n}", f"{number}.{n}", "1") for n in range(20)))
        taken = NumericSet("mon-b01", now_ns, now_ns, values, source_ref=f"a-{number}")
        await buffer.store_intake(Intake(sets=(taken,)))
    buffer.close()


def salvaged(folder: Path, tmp_path: Path) -> tuple[EdgeSeen, EdgeSeen]:
    """Damage pages until rows are lost; return what was there and what is there."""
    reader = Reader(tmp_path / "copies")
    before = reader.edge(folder)
    path = folder / "vitals.db"
    draw = Random(3)
    pages = path.stat().st_size // damage.PAGE_BYTES
    with path.open("r+b") as file:
        for page in draw.sample(range(1, pages), min(HIT_PAGES, pages // 3)):
            file.seek(page * damage.PAGE_BYTES)
            file.write(draw.randbytes(damage.PAGE_BYTES))
    Buffer.open(folder).close()
    return before, reader.edge(folder)


def wrong(before: EdgeSeen, edge: EdgeSeen, folder: Path) -> list[Violation]:
    told = invariants.damage_is_told(before, edge, is_set_aside=damage.is_set_aside(folder))
    return told + invariants.no_loss(edge, HubSeen({}, {}), settled=False)


@pytest.mark.anyio
async def test_what_a_damaged_file_lost_is_declared(tmp_path: Path) -> None:
    await store(tmp_path / "edge")
    before, edge = salvaged(tmp_path / "edge", tmp_path)

    assert wrong(before, edge, tmp_path / "edge") == []
    assert 0 < len(invariants.owned_up(before, edge, HubSeen({}, {}))) < ROWS


@pytest.mark.anyio
async def test_a_salvage_that_keeps_silent_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    silent: Callable[..., None] = lambda *_: None  # noqa: E731
    monkeypatch.setattr(salvage, "_declare_missing", silent)
    await store(tmp_path / "edge")
    before, edge = salvaged(tmp_path / "edge", tmp_path)

    assert {each.invariant for each in wrong(before, edge, tmp_path / "edge")} == {"I1"}


@pytest.mark.anyio
async def test_the_damage_that_is_drawn_hits_a_file_and_is_named(tmp_path: Path) -> None:
    await store(tmp_path / "edge")
    seen = {damage.inflict(tmp_path / "edge", Random(number)) for number in range(20)}

    assert seen == {"6 damaged: header", "6 damaged: page"}
    assert not damage.is_set_aside(tmp_path / "edge")
    Buffer.open(tmp_path / "edge").close()
    assert damage.is_set_aside(tmp_path / "edge")


def test_every_theme_is_drawn_and_the_same_seed_draws_the_same() -> None:
    drawn = [theme.of_episode(f"1/{number}") for number in range(200)]

    assert {(each.mishaps, each.damages) for each in drawn} == {
        (each.mishaps, each.damages) for _, each in theme.THEMES
    }
    assert drawn == [theme.of_episode(f"1/{number}") for number in range(200)]
    assert 30 < sum(each.has_garbage for each in drawn) < 90
    assert 10 < sum(each.is_cloned for each in drawn) < 60
    assert {each.known_by for each in drawn} == set(access.ALL)
    assert 10 < sum(each.renews for each in drawn) < 50
    assert 10 < sum(each.has_bundles for each in drawn) < 40
    renewing = [theme.of_episode(f"1/{number}", [RENEWAL]) for number in range(200)]
    assert 40 < sum(each.renews for each in renewing) < 110
    assert not any(each.is_cloned or each.mishaps or each.damages for each in drawn if each.own)
