"""Training of the detector: deterministic for a seed on one thread of a CPU; on a card the last bits are not."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from models.detection.losses import Concentration, box, focal
from models.tasks.cmb.cases import Case
from models.tasks.cmb.crops import Batch, Sampler
from models.tasks.cmb.mimics import Guard, Point, points
from models.tasks.cmb.network import Config, Detector, build

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how hard."""

    steps: int = 400
    batch: int = 8
    crop_voxels: int = 24
    heads: int = 16
    """Made-up heads that a run is trained on."""
    peak_rate: float = 4e-3
    prototype_weight: float = 0.2
    prototypes_from: float = 0.2
    """Share of the steps before which the peaks are too random to be learnt from."""
    wall_limit_s: float | None = None
    """Stops early: for a machine that only wants to see that training runs.  Such weights are not to be released."""
    device: str = "cpu"
    """As torch names it: "cpu" or "cuda"."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A detector and how it came about."""

    detector: Detector
    steps: int
    wall_s: float
    processor_s: float
    losses: tuple[float, ...]
    """Mean of each tenth of the run, first to last."""
    suspects: tuple[tuple[str, tuple[int, ...]], ...]
    """Places of the training volumes that may be bleeds nobody marked."""
    machine: str = ""
    """What it was trained on."""


@dataclass(slots=True)
class _Run:
    config: Config
    schedule: Schedule
    detector: Detector
    prototypes: Concentration
    sampler: Sampler
    device: torch.device
    guard: Guard = field(default_factory=Guard)

    def step_loss(self, step: int, steps_an_epoch: int) -> Tensor:
        batch = self.sampler.batch(self.schedule.batch)
        features = self.detector.features(batch.volumes)
        logits, deltas = self.detector.heads(features)
        labels = torch.from_numpy(batch.labels).to(self.device)
        wanted = torch.from_numpy(batch.deltas).to(self.device)
        loss = focal(logits, labels) + box(deltas.reshape(wanted.shape), wanted, labels)
        if self.config.has_prototypes and step >= self.schedule.prototypes_from * self.schedule.steps:
            loss = loss + self.schedule.prototype_weight * self._concentration(
                batch, features, logits, step // steps_an_epoch
            )
        return loss

    def _concentration(self, batch: Batch, features: Tensor, logits: Tensor, epoch: int) -> Tensor:
        likelihood = torch.sigmoid(logits.detach()).amax(dim=1).where(batch.inside, -1).cpu().numpy()
        chosen = points(batch, likelihood, self.sampler.grid, self.guard, epoch)
        if not chosen:
            return features.new_zeros(())
        kinds = torch.tensor([point.kind for point in chosen]).to(self.device)
        result: Tensor = self.prototypes(_at(features, chosen), kinds)
        return result


def train_detector(
    config: Config, subjects: Sequence[Case], seed: int, schedule: Schedule, tell: Tell = lambda _: None
) -> Trained:
    """Train one detector; the same seed and subjects give the same weights on the same machine."""
    run = _prepared_run(config, subjects, seed, schedule)
    started_s, used_s = time.monotonic(), time.process_time()
    lost = list(_steps(run, max(1, len(subjects) // schedule.batch), tell))
    parts = np.array_split(np.asarray(lost), min(10, len(lost)))
    return Trained(
        detector=run.detector.eval(),
        steps=len(lost),
        wall_s=time.monotonic() - started_s,
        processor_s=time.process_time() - used_s,
        losses=tuple(float(part.mean()) for part in parts),
        suspects=tuple(run.guard.suspects()),
        machine=machine(run.device),
    )


def machine(device: torch.device) -> str:
    """Return the name of what trains, and torch's version."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device.type}, one thread"
    return f"{name}, torch {torch.__version__}"


def _prepared_run(config: Config, subjects: Sequence[Case], seed: int, schedule: Schedule) -> _Run:
    device = torch.device(schedule.device)
    if device.type == "cpu":
        # More threads would add in another order, and the last bits of the weights with it.
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(True)
        torch.set_flush_denormal(True)
    torch.manual_seed(seed)
    # Made on the processor, so that a seed begins with the same weights everywhere.
    detector = build(config).train().to(device)
    prototypes = Concentration(detector.fuse2.out_channels).to(device)
    sampler = Sampler(subjects, schedule.crop_voxels, config.settings().grid, seed, device)
    return _Run(config, schedule, detector, prototypes, sampler, device)


def _steps(run: _Run, steps_an_epoch: int, tell: Tell) -> Iterator[float]:
    schedule = run.schedule
    parameters = [*run.detector.parameters(), *run.prototypes.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=schedule.peak_rate)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, schedule.peak_rate, total_steps=schedule.steps)
    started_s = time.monotonic()
    for step in range(schedule.steps):
        loss = run.step_loss(step, steps_an_epoch)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        rates.step()
        yield loss.item()
        gone_s = time.monotonic() - started_s
        if (step + 1) % 20 == 0:
            tell(f"step {step + 1}/{schedule.steps}  loss {loss.item():.3f}  {gone_s:.0f} s")
        if schedule.wall_limit_s is not None and gone_s > schedule.wall_limit_s:
            tell(f"stopped by the wall clock after {step + 1} steps")
            return


def _at(features: Tensor, chosen: Sequence[Point]) -> Tensor:
    samples, z, y, x = torch.tensor([(point.sample, *point.cell) for point in chosen]).T.to(features.device)
    return features[samples, :, z, y, x]
