"""The task on the command line."""

import json
import os
import time
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from dataclasses import replace
from pathlib import Path

from models.phantoms.swi_head import PRESETS
from models.tasks.cmb import ablation, bundling, task
from models.tasks.cmb.cases import DISTORTIONS, TEST_SEEDS, Distortion, cases
from models.tasks.cmb.network import ARMS, SIZES, Config
from models.tasks.cmb.released import FOLDER
from models.tasks.cmb.training import Schedule
from models.tasks.verbs import Verb


def seeds(text: str) -> range:
    """Return the seeds of "3" or "100-159"."""
    first, _, last = text.partition("-")
    try:
        found = range(int(first), int(last or first) + 1)
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is neither a number nor two of them with a dash between") from error
    if not found:
        raise ArgumentTypeError(f"{text!r} names no seed")
    return found


def _schedule_options(parser: ArgumentParser) -> None:
    usual = Schedule()
    parser.add_argument("--steps", type=int, default=usual.steps)
    parser.add_argument("--heads", type=int, default=usual.heads, help="that a run is trained on")
    parser.add_argument("--batch", type=int, default=usual.batch, help="crops of a step")
    parser.add_argument("--crop-voxels", type=int, default=usual.crop_voxels, help="edge of a crop")
    parser.add_argument("--prototype-weight", type=float, default=usual.prototype_weight)
    parser.add_argument("--device", default=usual.device, help="cpu or cuda")


def _schedule(options: Namespace) -> Schedule:
    return Schedule(
        steps=options.steps,
        batch=options.batch,
        crop_voxels=options.crop_voxels,
        heads=options.heads,
        prototype_weight=options.prototype_weight,
        device=options.device,
    )


def _train_options(parser: ArgumentParser) -> None:
    parser.add_argument("--preset", choices=sorted(PRESETS), default="hard")
    parser.add_argument("--arm", choices=ARMS, default="ffm-hspl")
    parser.add_argument("--size", choices=sorted(SIZES), default="tiny")
    parser.add_argument("--seed", type=int, default=0)
    _schedule_options(parser)
    parser.add_argument("--without-phase", action="store_true", help="weights for series that have none")
    parser.add_argument("--wall-limit-s", type=float, help="stop early; only where CI is set")
    parser.add_argument("--out", type=Path, help="folder (var/models/cmb/ARM-SEED)")


def _train(options: Namespace) -> None:
    if options.wall_limit_s is not None and not os.environ.get("CI"):
        raise SystemExit("--wall-limit-s is for CI: weights that depend on how busy a machine was are no release")
    config = Config(options.size, options.arm)
    out = options.out or Path("var/models/cmb") / f"{options.arm}-{options.seed}"
    print(f"drawing heads of preset {options.preset} ...", flush=True)
    distortion: Distortion = "no-phase" if options.without_phase else "none"
    schedule = replace(_schedule(options), wall_limit_s=options.wall_limit_s)
    data = task.phantoms(config, options.preset, options.seed, schedule.heads, distortion)
    started_s = time.monotonic()
    metrics = task.train(config, data, options.seed, out, schedule, lambda line: print(line, flush=True))
    print(json.dumps(metrics["test"], indent=2))
    print(f"written to {out} after {time.monotonic() - started_s:.0f} s")


def _evaluate_options(parser: ArgumentParser) -> None:
    parser.add_argument("--weights", type=Path, default=FOLDER / task.ONNX, help="a .safetensors or .onnx file")
    parser.add_argument("--preset", choices=sorted(PRESETS), default="hard")
    parser.add_argument("--seeds", type=seeds, default=TEST_SEEDS, help="of the heads, as 100-159")
    parser.add_argument("--distortion", choices=DISTORTIONS, default="none")


def _evaluate(options: Namespace) -> None:
    subjects = cases(options.preset, options.seeds, task.settings(options.weights), options.distortion)
    print(json.dumps(task.evaluate(options.weights, subjects), indent=2))


def _export_options(parser: ArgumentParser) -> None:
    parser.add_argument("--weights", type=Path, default=FOLDER / task.WEIGHTS)
    parser.add_argument("--out", type=Path, help="the .onnx file; the side-car lies beside it")


def _export(options: Namespace) -> None:
    path = options.out or options.weights.with_name(task.ONNX)
    side_car = task.export(options.weights, path)
    print(f"{path}: {', '.join(side_car['graph']['operators'])}; parity {side_car['graph']['parity']:.1e}")


def _ablate_options(parser: ArgumentParser) -> None:
    parser.add_argument("--preset", choices=sorted(PRESETS), default="hard")
    parser.add_argument("--seeds", type=seeds, default=range(3), help="of the training runs, as 0-2")
    _schedule_options(parser)
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--out", type=Path, default=Path("var/models/cmb"))


def _ablate(options: Namespace) -> None:
    plan = ablation.Plan(options.preset, options.seeds, _schedule(options), options.out, options.jobs)
    print(ablation.run(plan, lambda line: print(line, flush=True)))


def _release_options(parser: ArgumentParser) -> None:
    parser.add_argument("--run", dest="folder", type=Path, required=True, help="of a training run")
    parser.add_argument("--out", type=Path, default=FOLDER)


def _release(options: Namespace) -> None:
    side_car = task.release(options.folder, options.out)
    print(f"released {side_car['weights_sha256']} to {options.out}; commit the folder")


def _bundle_options(parser: ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, help="folder that is made")
    parser.add_argument("--version", default="", help="of the bundle, as 1.0.0; that of the weights when not given")


def _bundle(options: Namespace) -> None:
    draft = bundling.fill(options.out, options.version)
    print(f"{options.out}: {draft['task']} {draft['version']}; pack it with `python -m deploy.bundles pack`")


VERBS = {
    "train": Verb("train a detector on made-up heads", _train_options, _train),
    "evaluate": Verb("measure weights or a graph", _evaluate_options, _evaluate),
    "export": Verb("write weights as an ONNX graph with its side-car", _export_options, _export),
    "release": Verb("put a training run where the repository carries the detector", _release_options, _release),
    "bundle": Verb("lay the released models out for `python -m deploy.bundles pack`", _bundle_options, _bundle),
    "ablate": Verb("train every arm with several seeds and compare them", _ablate_options, _ablate),
}
