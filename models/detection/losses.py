"""What a detector of small findings is trained to lessen."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.detection.labels import IGNORED, POSITIVE


def focal(logits: Tensor, labels: Tensor, alpha: float = 0.75, gamma: float = 2.0) -> Tensor:
    """Return the focal loss of all cells that count, over the number of positives (Lin 2017).

    Args:
        logits: log odds, any shape.
        labels: POSITIVE, NEGATIVE or IGNORED, of the same shape.
        alpha: weight of positives; negatives weigh what is left to 1.
        gamma: how much less a cell counts the surer it is right.
    """
    truth = (labels == POSITIVE).to(logits.dtype)
    each = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    missed = 1 - torch.exp(-each)
    weighted = (alpha * truth + (1 - alpha) * (1 - truth)) * missed**gamma * each
    return weighted[labels != IGNORED].sum() / truth.sum().clamp(min=1)


def box(deltas: Tensor, wanted: Tensor, labels: Tensor) -> Tensor:
    """Return the smooth L1 loss of the positives' boxes, averaged over them; 0 without any.

    Args:
        deltas: [batch, anchors, 4, cells...].
        wanted: the same shape.
        labels: [batch, anchors, cells...].
    """
    positive = (labels == POSITIVE).unsqueeze(2).expand_as(deltas)
    lost = functional.smooth_l1_loss(deltas[positive], wanted[positive], reduction="sum")
    return lost / (labels == POSITIVE).sum().clamp(min=1)


class Concentration(nn.Module):
    """Draws the features of findings to one point and those of their mimics to another (convolutional prototypes)."""

    def __init__(self, features: int, sharpness: float = 1.0, tightness: float = 0.05) -> None:
        super().__init__()
        self.prototypes = nn.Parameter(torch.randn(2, features) * 0.1)
        self.sharpness = sharpness
        self.tightness = tightness

    def forward(self, features: Tensor, kinds: Tensor) -> Tensor:
        """Return the distance-based cross-entropy plus a pull to the own prototype.

        Args:
            features: one row a point; at least one.
            kinds: 0 for a finding, 1 for a mimic.
        """
        away = (features[:, None] - self.prototypes[None]).square().sum(dim=-1)
        told_apart = functional.cross_entropy(-self.sharpness * away, kinds)
        pull = away.gather(1, kinds[:, None]).mean()
        return told_apart + self.tightness * pull
