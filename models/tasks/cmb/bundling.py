"""What `python -m deploy.bundles pack` makes a bundle of: released graphs, golden cases of made-up heads, a draft."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from telemed import bundle_golden
from telemed.ai_result import PHANTOM
from telemed.bundle_golden import Case
from telemed.recipes import cmb, cmb_bundle, cmb_regions
from telemed.recipes.cmb import Prepared, Settings, settings_of
from telemed.recipes.volume import Shape, Volume

from models.phantoms.swi_head import head
from models.tasks.cmb.graphs import onnx_graph, region_graph
from models.tasks.cmb.released import FOLDER

DRAFT = "draft.json"
GOLDEN_SEEDS = (100, 101)
"""Heads of the golden cases: test heads, so that no weight was fitted to them."""
TOLERANCE = {"fp32": 2e-3}
"""Of log odds: what other libraries and cards differ by in single precision, and less than any finding turns on."""
DEADLINE_S = 30.0
_FILES = {cmb_bundle.DETECTOR: "detector.onnx", cmb_bundle.REGIONS: "regions.onnx"}
WORDS = {
    "intended_use": {
        "zh": "在头部磁敏感加权磁共振上向医师提示可能的脑微出血位置。不作任何决定；未提示之处仍可能有微出血。",
        "en": "Points a physician to places on susceptibility-weighted MR of the head that may be cerebral "
        "microbleeds. It decides nothing, and what it does not point to may be there all the same.",
    },
    "limits": {
        "zh": "仅以 48 毫米的仿真头训练，从未见过患者，不得用于诊断。需要同一次扫描的幅值和已滤波的相位；"
        "没有相位时会把钙化当作出血。在仿真头上每例约有 7 处误报。",
        "en": "Trained on made-up heads of 48 mm only, never on a patient. Not for diagnosis. Needs magnitude and "
        "filtered phase of one scan; without phase, calcium is taken for blood. On made-up heads about 7 places a head "
        "are pointed to in error.",
    },
    "training_data": {"zh": "仅仿真头（swi_head）", "en": "Made-up heads alone (swi_head)"},
}


def fill(folder: Path, version: str = "") -> dict[str, Any]:
    """Write graphs, golden cases and the draft of the manifest into a new folder; return the draft.

    Args:
        folder: is made.
        version: of the bundle; empty: that of the released weights.

    Raises:
        OSError: the folder is there already, or cannot be written.
    """
    side_car = json.loads((FOLDER / "detector.json").read_text(encoding="utf-8"))
    regions = json.loads((FOLDER / "regions.json").read_text(encoding="utf-8"))
    settings, window = settings_of(side_car["settings"]), _shape(regions["settings"]["window_voxels"])
    (folder / "golden").mkdir(parents=True)
    for file in _FILES.values():
        (folder / file).write_bytes((FOLDER / file).read_bytes())
    draft = {
        "task": side_car["task"],
        "version": version or side_car["version"],
        "graphs": {
            cmb_bundle.DETECTOR: _graph(side_car, "detector.onnx"),
            cmb_bundle.REGIONS: _graph(regions, "regions.onnx"),
        },
        "preprocessing": cmb.PREPARE,
        "postprocessing": cmb.DECODE,
        **cmb_bundle.told(settings, window),
        **WORDS,
        "trained_on": PHANTOM,
        "metrics": _metrics(),
        "golden": list(_golden(folder, settings, window)),
        "tolerance": TOLERANCE,
    }
    (folder / DRAFT).write_text(json.dumps(draft, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return draft


def _graph(side_car: dict[str, Any], file: str) -> dict[str, Any]:
    told = {name: [_tensor(each) for each in side_car["graph"][name]] for name in ("inputs", "outputs")}
    return {"files": {"fp32": file}, **told, "deadline_s": DEADLINE_S}


def _tensor(said: dict[str, Any]) -> dict[str, Any]:
    # A side-car tells the unit of each part of a tensor; a manifest has room for one.
    units = {"volume": "SWI 0-1; phase/pi -1-1", "slab": "SWI; phase/pi; x y z -1-1", "deltas": "anchor edge; ln ratio"}
    unit = units.get(said["name"], "logit")
    return {"name": said["name"], "shape": said["shape"], "dtype": said["dtype"], "unit": unit}


def _metrics() -> dict[str, float]:
    told = json.loads((FOLDER / "metrics.json").read_text(encoding="utf-8"))["test"]
    return {"sensitivity": told["sensitivity"]["value"], "false-per-head": told["false"]["value"]}


def _golden(folder: Path, settings: Settings, window: Shape) -> list[dict[str, str]]:
    detector, regions = onnx_graph(FOLDER / "detector.onnx"), region_graph(FOLDER / "regions.onnx")
    cases = []
    for seed in GOLDEN_SEEDS:
        prepared = cmb.prepare(head(seed, "hard").study, settings)
        volume = next(iter(prepared.inputs()))
        raw = detector(volume)
        outputs = {cmb_bundle.OBJECTNESS: raw.objectness, cmb_bundle.DELTAS: raw.deltas}
        name = f"golden/detector-{seed}.npz"
        bundle_golden.write(folder / name, Case({cmb_bundle.DETECTOR_INPUT: volume}, outputs))
        cases.append({"graph": cmb_bundle.DETECTOR, "file": name})
        slab = _middle_slab(prepared, window)
        name = f"golden/regions-{seed}.npz"
        case = Case({cmb_bundle.REGIONS_INPUT: slab}, {cmb_bundle.REGIONS_OUTPUT: regions(slab)})
        bundle_golden.write(folder / name, case)
        cases.append({"graph": cmb_bundle.REGIONS, "file": name})
    return cases


def _middle_slab(prepared: Prepared, window: Shape) -> Volume:
    slabs = list(cmb_regions.layout(prepared, window).inputs())
    return np.ascontiguousarray(slabs[len(slabs) // 2], dtype=np.float32)


def _shape(said: list[int]) -> Shape:
    depth, rows, columns = said
    return depth, rows, columns
