"""Losses against figures worked out by hand."""

import math

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: training is not tested here")

from models.detection.losses import Concentration, box, focal  # noqa: E402


def test_the_focal_loss_is_the_papers_formula_over_the_positives_without_what_is_ignored() -> None:
    likely = torch.tensor([0.9, 0.2, 0.5])
    loss = focal(torch.logit(likely), torch.tensor([1, 0, -1]))
    wanted = 0.75 * 0.1**2 * -math.log(0.9) + 0.25 * 0.2**2 * -math.log(0.8)
    assert loss.item() == pytest.approx(wanted, rel=1e-5)


def test_the_focal_loss_without_positives_is_finite() -> None:
    assert math.isfinite(focal(torch.zeros(5), torch.zeros(5)).item())
    assert focal(torch.tensor([200.0]), torch.tensor([0])).item() == pytest.approx(0.25 * 200)


def test_boxes_count_at_positives_alone_and_are_averaged_over_them() -> None:
    deltas, wanted = torch.zeros(1, 1, 4, 2, 1, 1), torch.zeros(1, 1, 4, 2, 1, 1)
    labels = torch.tensor([1, 0]).reshape(1, 1, 2, 1, 1)
    deltas[0, 0, 0, 0], deltas[0, 0, 1, 0], deltas[0, 0, 2, 1] = 3.0, 0.5, 99.0
    assert box(deltas, wanted, labels).item() == pytest.approx(2.5 + 0.125)
    assert box(deltas, wanted, torch.zeros_like(labels)).item() == 0


def test_concentration_is_least_where_points_lie_on_their_prototypes() -> None:
    torch.manual_seed(0)
    loss = Concentration(4)
    with torch.no_grad():
        loss.prototypes.copy_(torch.tensor([[3.0, 0, 0, 0], [0, 3.0, 0, 0]]))
    kinds = torch.tensor([0, 1])
    at_home, swapped = loss(loss.prototypes.detach(), kinds), loss(loss.prototypes.detach().flip(0), kinds)
    assert at_home.item() == pytest.approx(math.log(1 + math.exp(-18)), abs=1e-6)
    assert swapped.item() == pytest.approx(18 + 0.05 * 18, rel=1e-4)


def test_concentration_moves_points_towards_their_prototype() -> None:
    torch.manual_seed(0)
    loss = Concentration(4)
    points = torch.randn(6, 4, requires_grad=True)
    kinds = torch.tensor([0, 1, 0, 1, 0, 1])
    before = loss(points, kinds)
    before.backward()
    assert points.grad is not None
    assert loss((points - 0.1 * points.grad).detach(), kinds).item() < before.item()
