"""The region network on the command line."""

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

from models.phantoms.swi_head import PRESETS
from models.tasks.cmb import exporting, region_task
from models.tasks.cmb.region_network import RegionConfig
from models.tasks.cmb.region_training import RegionSchedule
from models.tasks.cmb.released import FOLDER
from models.tasks.verbs import Verb


def _train_options(parser: ArgumentParser) -> None:
    parser.add_argument("--preset", choices=sorted(PRESETS), default="hard")
    parser.add_argument("--seed", type=int, default=0)
    usual = RegionSchedule()
    parser.add_argument("--steps", type=int, default=usual.steps)
    parser.add_argument("--batch", type=int, default=usual.batch, help="slabs of a step")
    parser.add_argument("--heads", type=int, default=usual.heads, help="that a run is trained on")
    parser.add_argument("--device", default=usual.device, help="cpu or cuda")
    parser.add_argument("--out", type=Path, help="folder (var/models/cmb/regions-SEED)")


def _train(options: Namespace) -> None:
    out = options.out or Path("var/models/cmb") / f"regions-{options.seed}"
    schedule = RegionSchedule(steps=options.steps, batch=options.batch, heads=options.heads, device=options.device)
    metrics = region_task.train(
        RegionConfig(), options.preset, options.seed, out, schedule, lambda line: print(line, flush=True)
    )
    print(json.dumps(metrics, indent=2))


def _export_options(parser: ArgumentParser) -> None:
    parser.add_argument("--weights", type=Path, default=FOLDER / region_task.WEIGHTS)
    parser.add_argument("--out", type=Path, help="the .onnx file; the side-car lies beside it")


def _export(options: Namespace) -> None:
    path = options.out or options.weights.with_name(region_task.ONNX)
    side_car = exporting.export_regions(options.weights, path)
    print(f"{path}: {', '.join(side_car['graph']['operators'])}; parity {side_car['graph']['parity']:.1e}")


def _release_options(parser: ArgumentParser) -> None:
    parser.add_argument("--run", dest="folder", type=Path, required=True, help="of a training run")
    parser.add_argument("--out", type=Path, default=FOLDER)


def _release(options: Namespace) -> None:
    options.out.mkdir(parents=True, exist_ok=True)
    for name in (region_task.WEIGHTS, region_task.METRICS, region_task.CARD):
        (options.out / name).write_bytes((options.folder / name).read_bytes())
    side_car = exporting.export_regions(options.out / region_task.WEIGHTS, options.out / region_task.ONNX)
    print(f"released {side_car['weights_sha256']} to {options.out}; commit the folder")


VERBS = {
    "train": Verb("train a region network on made-up heads", _train_options, _train),
    "export": Verb("write weights as an ONNX graph with its side-car", _export_options, _export),
    "release": Verb("put a training run where the repository carries it", _release_options, _release),
}
