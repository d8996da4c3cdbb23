"""The region network: size, loss, a small run, its export, and what its filter does."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: training is not tested here")
pytest.importorskip("onnx", reason="onnx is not installed: export is not tested here")

from telemed.recipes.cmb import Candidate  # noqa: E402
from telemed.recipes.cmb_regions import Region  # noqa: E402

from models.detection.froc import judged  # noqa: E402
from models.phantoms.swi_head import Kind  # noqa: E402
from models.tasks.cmb import exporting, region_task  # noqa: E402
from models.tasks.cmb.evaluation import Read  # noqa: E402
from models.tasks.cmb.network import parameter_count  # noqa: E402
from models.tasks.cmb.region_evaluation import filtered, region_figures  # noqa: E402
from models.tasks.cmb.region_network import RegionConfig, RegionNet  # noqa: E402
from models.tasks.cmb.region_overlap import dice  # noqa: E402
from models.tasks.cmb.region_training import (  # noqa: E402
    RegionCase,
    RegionSchedule,
    load_regions,
    region_loss,
    save_regions,
    train_regions,
)

CONFIG = RegionConfig()
SMALL = RegionSchedule(steps=2, batch=1)


@pytest.fixture(scope="module")
def subjects() -> tuple[RegionCase, ...]:
    """Two heads of the hard preset."""
    return region_task.phantoms(CONFIG, "hard", range(2))


def read_all_marks(subject: RegionCase) -> Read:
    """Return a reading that points to everything that was drawn."""
    marks = subject.case.marks
    candidates = tuple(Candidate(mark.centre_mm, mark.diameter_mm, 1.0) for mark in marks)
    bleeds = [mark for mark in marks if mark.kind is Kind.BLEED]
    return Read(
        subject.case,
        candidates,
        judged(
            subject.case.subject,
            np.array([mark.centre_mm for mark in marks]),
            np.ones(len(marks)),
            np.array([mark.centre_mm for mark in bleeds]),
            np.array([mark.diameter_mm for mark in bleeds]),
        ),
    )


def test_the_network_keeps_its_budget_and_gives_every_voxel_every_region() -> None:
    network = RegionNet(CONFIG).eval()
    assert parameter_count(network) / 1e6 == pytest.approx(0.3, rel=0.05)
    assert network(torch.zeros(1, 5, 16, 48, 48)).shape == (1, len(Region), 16, 48, 48)


def test_the_loss_is_near_nought_for_the_truth_and_large_for_its_opposite() -> None:
    truth = torch.randint(0, 4, (2, 4, 6, 6), generator=torch.Generator().manual_seed(0))
    sure = torch.nn.functional.one_hot(truth, 4).movedim(-1, 1).float() * 20
    assert region_loss(sure, truth).item() < 0.01
    assert region_loss(-sure, truth).item() > 5


def test_the_same_seed_gives_the_same_weights(subjects: tuple[RegionCase, ...]) -> None:
    narrow = RegionConfig((2, 4, 4), (8, 16, 16))
    first, again, other = (train_regions(narrow, subjects, seed, SMALL).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_the_truth_as_a_map_keeps_every_bleed_and_rejects_every_sulcal_vein(subjects: tuple[RegionCase, ...]) -> None:
    reads = tuple(read_all_marks(subject) for subject in subjects)
    truth = [subject.regions for subject in subjects]
    left = filtered(reads, truth)
    for before, after in zip(reads, left, strict=True):
        assert (after.judged.hits >= 0).sum() == (before.judged.hits >= 0).sum() == before.judged.lesions
        kinds = Counter(after.told_apart(0))
        assert kinds["sulcal-vein"] == 0 < before.told_apart(0)["sulcal-vein"]
        assert kinds["calcium"] == before.told_apart(0)["calcium"]
    figures = region_figures(reads, truth, truth, 0.0)
    assert figures.accuracy == 1
    assert figures.found == sum(each.judged.lesions for each in reads)
    assert figures.dice == {"lobar": 1, "deep": 1, "infratentorial": 1}


def test_overlap_is_counted_over_all_heads_together() -> None:
    told, truth = np.zeros((2, 2, 2), np.uint8), np.zeros((2, 2, 2), np.uint8)
    told[0], truth[0, 0] = Region.DEEP, Region.DEEP
    assert dice([told], [truth]) == {"lobar": 1, "deep": pytest.approx(2 * 2 / 6), "infratentorial": 1}


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_exported_graph_tells_what_the_weights_tell(tmp_path: Path) -> None:
    torch.manual_seed(2)
    network = RegionNet(CONFIG).eval()
    save_regions(tmp_path / region_task.WEIGHTS, network, CONFIG, "hard", 2)
    side_car = exporting.export_regions(tmp_path / region_task.WEIGHTS, tmp_path / region_task.ONNX)
    assert side_car["graph"]["parity"] < 1e-4
    assert side_car["graph"]["inputs"][0]["shape"] == [1, 5, 16, 48, 48]
    loaded, config, about = load_regions(tmp_path / region_task.WEIGHTS)
    assert (config, about["seed"]) == (CONFIG, 2)
    assert all(torch.equal(one, loaded.state_dict()[name]) for name, one in network.state_dict().items())
