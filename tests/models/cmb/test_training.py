"""Training with the smallest budget: it runs, it repeats itself, it learns, and it writes what it should."""

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: training is not tested here")

from telemed.ai_result import PHANTOM  # noqa: E402

from models.tasks.cmb import task  # noqa: E402
from models.tasks.cmb.cases import Case, cases  # noqa: E402
from models.tasks.cmb.network import Arm, Config  # noqa: E402
from models.tasks.cmb.training import Schedule, train_detector  # noqa: E402
from models.tasks.cmb.weights import load, sha256  # noqa: E402

SMALL = Schedule(steps=4, batch=4, crop_voxels=16, prototypes_from=0.25)


@pytest.fixture(scope="module")
def subjects() -> tuple[Case, ...]:
    """Three heads of the easy preset."""
    return cases("easy", range(3), Config().settings())


@pytest.mark.parametrize("arm", ["rpn", "ffm-hspl"])
def test_the_same_seed_gives_the_same_weights_and_another_one_does_not(subjects: tuple[Case, ...], arm: Arm) -> None:
    def weights(seed: int) -> bytes:
        detector = train_detector(Config("tiny", arm), subjects, seed, SMALL).detector
        return b"".join(each.detach().numpy().tobytes() for each in detector.state_dict().values())

    assert weights(1) == weights(1)
    assert weights(1) != weights(2)


def test_prototypes_change_the_weights_only_in_their_arm(subjects: tuple[Case, ...]) -> None:
    plain, drawn = (train_detector(Config("tiny", arm), subjects, 1, SMALL) for arm in ("ffm", "ffm-hspl"))
    assert plain.losses[0] == drawn.losses[0]
    assert plain.losses[-1] != drawn.losses[-1]


def test_the_loss_falls(subjects: tuple[Case, ...]) -> None:
    losses = train_detector(Config(), subjects, 0, Schedule(steps=30, batch=4, crop_voxels=16)).losses
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:2])


def test_the_wall_clock_ends_a_run_and_that_is_said(subjects: tuple[Case, ...]) -> None:
    lines: list[str] = []
    schedule = Schedule(steps=50, batch=2, crop_voxels=16, wall_limit_s=0)
    assert train_detector(Config(), subjects, 0, schedule, lines.append).steps == 1
    assert lines[-1] == "stopped by the wall clock after 1 steps"


def test_progress_is_told_every_twenty_steps(subjects: tuple[Case, ...]) -> None:
    lines: list[str] = []
    train_detector(Config(), subjects, 0, Schedule(steps=40, batch=2, crop_voxels=16), lines.append)
    assert [line.split()[1] for line in lines] == ["20/40", "40/40"]


def test_a_run_writes_weights_figures_and_a_card_that_say_what_they_are(
    subjects: tuple[Case, ...], tmp_path: Path
) -> None:
    data = task.Data("easy", subjects, subjects[:2], subjects[1:])
    metrics = task.train(Config("tiny", "ffm"), data, 7, tmp_path, SMALL)
    assert json.loads((tmp_path / task.METRICS).read_text()) == metrics
    assert metrics["weights_sha256"] == sha256(tmp_path / task.WEIGHTS)
    assert metrics["training_data"] == PHANTOM
    assert metrics["trained"]["steps"] == 4
    assert (tmp_path / task.WEIGHTS).stat().st_size < 2_000_000
    _, about = load(tmp_path / task.WEIGHTS)
    assert (about.config, about.seed, about.preset, about.training_data) == (Config("tiny", "ffm"), 7, "easy", PHANTOM)
    page = (tmp_path / task.CARD).read_text()
    assert "**Training data: synthetic phantom.**" in page
    assert metrics["weights_sha256"] in page
    again = task.evaluate(tmp_path / task.WEIGHTS, subjects[1:])
    assert again == metrics["test"]


def test_weights_of_another_arm_are_refused(subjects: tuple[Case, ...], tmp_path: Path) -> None:
    data = task.Data("easy", subjects, subjects[:1], subjects[1:2])
    task.train(Config("tiny", "rpn"), data, 0, tmp_path, Schedule(steps=1, batch=2, crop_voxels=16))
    path = tmp_path / task.WEIGHTS
    # The same length, so that the file stays whole: it now claims an arm whose network has more parts.
    path.write_bytes(path.read_bytes().replace(rb"\"arm\": \"rpn\"", rb"\"arm\": \"ffm\""))
    with pytest.raises(ValueError, match="another network"):
        load(path)
