"""What runs a graph fastest: torch as it comes, torch compiled, ONNX Runtime, TensorRT-RTX; each right, by turns.

`python -m bench.engines`, with `--device cuda` on a card.  A run is from an array in the processor's memory to arrays
in it, whatever runs it.  The engines are those of the product, in this process.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from telemed.bundle import Precision

from bench.__main__ import circumstances
from bench.engines_graphs import INPUT, Candidate, candidates
from edge_node.inference import libraries
from edge_node.inference.engine import Blueprint, Library

HERE = Path(__file__).resolve().parent
DRIVER = Path("/proc/driver/nvidia/version")
ROUNDS = 9
LEAST_TURN_S = 0.1
"""A turn runs a graph as often as takes this long, so that a clock can see it."""
EAGER = "torch eager"
ON_PROCESSOR = (Library.ONNXRUNTIME_CPU,)
ON_CARD = (Library.ONNXRUNTIME_CUDA, Library.TENSORRT, Library.TENSORRT_RTX)

Run = Callable[[], Sequence[np.ndarray[Any, np.dtype[np.float32]]]]


@dataclass(frozen=True, slots=True)
class Row:
    """One engine on one graph."""

    graph: str
    dimensions: int
    engine: str
    precision: Precision
    ms: float
    """Median of the turns' times for one run."""
    faster: float
    """Than torch eager: median of the ratios of turns that follow each other."""
    least: float
    most: float
    difference: float
    """Largest difference of any output from torch eager in single precision on the processor."""


def measure(device: str, threads: int) -> tuple[list[Row], list[str]]:
    """Return the rows, and what could not be tried."""
    torch.set_num_threads(threads)
    # Single precision means that here, as it does in the product.
    torch.backends.cudnn.allow_tf32 = False
    rows, said = list[Row](), list[str]()
    with tempfile.TemporaryDirectory() as folder:
        for candidate in candidates(Path(folder)):
            with torch.inference_mode():
                right = _arrays(candidate.network(candidate.example))
            runs: dict[tuple[str, Precision], Run] = {}
            for name, precision, make in _makers(candidate, device, threads, Path(folder)):
                try:
                    run = make()
                    run()
                except Exception as error:  # whatever a library raises, the others are measured
                    said.append(f"{name} {precision}: {type(error).__name__}: {str(error)[:200]}")
                else:
                    runs[name, precision] = run
            rows += _by_turns(candidate, runs, right)
    return rows, sorted(set(said))


def _by_turns(
    candidate: Candidate, runs: Mapping[tuple[str, Precision], Run], right: Sequence[np.ndarray[Any, Any]]
) -> Iterator[Row]:
    times: dict[tuple[str, Precision], list[float]] = {key: [] for key in runs}
    often = {key: _often(run) for key, run in runs.items()}
    for number in range(ROUNDS):
        for key in sorted(runs, reverse=bool(number % 2)):
            began_s = time.perf_counter()
            for _ in range(often[key]):
                runs[key]()
            times[key].append((time.perf_counter() - began_s) / often[key])
    eager = times[EAGER, "fp32"]
    for (name, precision), spent in times.items():
        ratios = [slow / quick for slow, quick in zip(eager, spent, strict=True)]
        apart = max(float(np.abs(one - other).max()) for one, other in zip(right, runs[name, precision](), strict=True))
        yield Row(
            candidate.name, candidate.dimensions, name, precision, round(statistics.median(spent) * 1000, 3),
            round(statistics.median(ratios), 2), round(min(ratios), 2), round(max(ratios), 2), float(f"{apart:.2g}"),
        )  # fmt: skip


def _often(run: Run) -> int:
    for _ in range(3):
        run()
    began_s = time.perf_counter()
    run()
    return max(1, round(LEAST_TURN_S / (time.perf_counter() - began_s)))


def _makers(
    candidate: Candidate, device: str, threads: int, folder: Path
) -> Iterator[tuple[str, Precision, Callable[[], Run]]]:
    yield EAGER, "fp32", lambda: _of_torch(candidate.network, candidate, device)
    yield "torch.compile", "fp32", lambda: _of_torch(torch.compile(candidate.network), candidate, device)
    precisions: tuple[Precision, ...] = ("fp32", "fp16")
    for library in ON_CARD if device == "cuda" else ON_PROCESSOR:
        for precision in precisions if device == "cuda" else precisions[:1]:
            yield library.value, precision, partial(_of_product, candidate, library, precision, threads, folder)


def _of_torch(network: Any, candidate: Candidate, device: str) -> Run:
    network.to(device)
    example = candidate.example.numpy()

    def run() -> Sequence[np.ndarray[Any, np.dtype[np.float32]]]:
        with torch.inference_mode():
            return _arrays(network(torch.from_numpy(example).to(device)))

    return run


def _of_product(candidate: Candidate, library: Library, precision: Precision, threads: int, folder: Path) -> Run:
    model = candidate.files[precision].read_bytes()
    made_from = Blueprint(
        "b" * 64, candidate.files[precision].stem, candidate.graph, model, precision, threads, folder / "engines" / "b",
        True,
    )  # fmt: skip
    engine = libraries.load(made_from, library)
    given = {INPUT: candidate.example.numpy()}

    def run() -> Sequence[np.ndarray[Any, np.dtype[np.float32]]]:
        found = engine.run(given)
        return [np.asarray(found[tensor.name]) for tensor in candidate.graph.outputs]

    return run


def _arrays(told: Any) -> list[np.ndarray[Any, np.dtype[np.float32]]]:
    return [part.cpu().numpy() for part in (told if isinstance(told, tuple) else (told,))]


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as a table."""
    lines = [
        "| graph | engine | precision | ms | times faster than torch eager (least to most) | difference |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {row['graph']} | {row['engine']} | {row['precision']} | {row['ms']} "
        f"| {row['faster']} ({row['least']} to {row['most']}) | {row['difference']:.1e} |"
        for row in rows
    ]
    return "\n".join(lines)


def page(machines: Sequence[Mapping[str, Any]]) -> str:
    """Return what was measured on each machine as a page."""
    parts = []
    for each in machines:
        facts = "\n".join(f"- {name}: {value}" for name, value in each["facts"].items())
        missing = "\n".join(f"- not measured: {line}" for line in each["not_measured"])
        parts.append(f"## {each['facts']['device']}\n\n{facts}\n{missing}\n\n{table(each['rows'])}\n")
    return f"""# What runs a graph fastest

{ROUNDS} rounds by turns in one process, medians; a run is from an array in the processor's memory to arrays in it. TF32
is off everywhere: single precision is single precision. The difference is the largest of any output from torch eager
in single precision on the processor. Asked: ONNX Runtime 2 times torch eager on 2-D graphs and 1.3 times on 3-D,
differing by less than 1e-4; TensorRT in half precision 3 times torch eager on a card.

Where the load is above the number of cores, read the least ratio: torch's threads wait for each other and lose more.

{chr(10).join(parts)}"""


def device_name(device: str) -> str:
    """Return what the figures are of."""
    if device == "cuda":
        return str(torch.cuda.get_device_name(0))
    model = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return model[0].partition(":")[2].strip() if model else platform.machine()


def main() -> None:
    """Run it and write engines.json and engines.md; what was measured on other devices stays in them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of every engine")
    parser.add_argument("--dry", action="store_true", help="write no files")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    rows, not_measured = measure(asked.device, asked.threads)
    facts = {"device": device_name(asked.device), **circumstances()}
    facts["command"] = " ".join(("python -m bench.engines", *sys.argv[1:]))
    facts["threads"] = str(asked.threads)
    facts["torch"] = torch.__version__
    if DRIVER.exists():
        facts["driver"] = next(word for word in DRIVER.read_text().split() if word[0].isdigit() and "." in word)
    facts["libraries"] = ", ".join(f"{offer.library} {offer.version}" for offer in libraries.offers())
    facts["load"] = f"{os.getloadavg()[1]:.1f} (five minutes, at the end)"
    new = {"facts": facts, "not_measured": not_measured, "rows": [asdict(row) for row in rows]}
    print(page([new]))
    if asked.dry:
        return
    file = HERE / "engines.json"
    former = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
    kept = [each for each in former if each["facts"]["device"] != facts["device"]]
    machines = sorted([*kept, new], key=lambda each: str(each["facts"]["device"]))
    file.write_text(json.dumps(machines, indent=1) + "\n", encoding="utf-8")
    (HERE / "engines.md").write_text(page(machines), encoding="utf-8")


if __name__ == "__main__":
    main()
