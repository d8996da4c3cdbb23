"""The product's own judge takes the good bundles of the forge, and refuses each other one for the fault that it has."""

from pathlib import Path
from random import Random

import pytest
from telemed.bundle import BundleRefused, parse
from telemed.bundle_archive import Archive

from edge_node.inference.shelf import Shelf
from edge_node.inference.trust import Trust
from tests.faults.chaos.forging import REASONS, Forge, Kind


def judged(path: Path, node: Path, root: bytes) -> str:
    """Return why a node refuses a bundle before it runs it, empty where it does not."""
    try:
        with Archive(path) as archive:
            bundle = parse(archive.manifest())
            Trust(node / "trust", root).check(archive, bundle)
            Shelf(node).put(archive, bundle)
    except BundleRefused as refused:
        return refused.reason
    return ""


@pytest.mark.parametrize("kind", list(REASONS))
def test_each_bad_bundle_is_refused_for_its_fault_and_the_good_one_after_it_is_taken(
    tmp_path: Path, kind: Kind
) -> None:
    forge, draw = Forge(tmp_path / "forge"), Random(18)
    for each, reason in ((Kind.GOOD, ""), (kind, REASONS[kind]), (Kind.GOOD, "")):
        assert forge.can_make(each)
        _, path = forge.made(each, draw)
        assert judged(path, tmp_path / "node", forge.root) == reason


def test_one_that_is_out_of_date_comes_with_each_good_one_and_is_given_out_once(tmp_path: Path) -> None:
    forge, draw = Forge(tmp_path), Random(18)
    assert not forge.can_make(Kind.OLDER)
    good, _ = forge.made(Kind.GOOD, draw)
    older, _ = forge.made(Kind.OLDER, draw)
    assert older < good
    assert not forge.can_make(Kind.FORGED)
