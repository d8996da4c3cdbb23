"""From a folder with graphs, golden cases and a draft of the manifest to a bundle that a node would take."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from telemed import bundle_archive, bundle_golden, bundle_graph
from telemed.bundle import FORMAT, Bundle, parse

from deploy.bundles.repository import Repository

DRAFT = "draft.json"
"""The manifest without `format` and `files`, which are added here."""


def draft_in(folder: Path) -> dict[str, Any]:
    """Return the draft that lies in a folder.

    Raises:
        OSError: there is none.
        ValueError: it is no JSON object.
    """
    found = json.loads((folder / DRAFT).read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise ValueError(f"{DRAFT}: is no JSON object")
    return found


def complete(draft: Mapping[str, Any], folder: Path) -> Bundle:
    """Return the bundle of a draft whose files lie in a folder, judged as a node judges it but for running it.

    Raises:
        BundleRefused: no node would take it.
        OSError: a file cannot be read.
        KeyError: the draft has no graphs or golden cases.
    """
    names = {file for graph in draft["graphs"].values() for file in graph["files"].values()}
    names |= {case["file"] for case in draft["golden"]}
    facts = {name: _fact(folder / name) for name in sorted(names)}
    whole = {"format": FORMAT, **draft, "files": facts}
    bundle = parse(json.dumps(whole, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode())
    for graph in bundle.manifest.graphs.values():
        for file in graph.files.values():
            bundle_graph.check(file, (folder / file).read_bytes(), graph)
    for case in bundle.manifest.golden:
        bundle_golden.read(folder / case.file, bundle.manifest.graphs[case.graph])
    return bundle


def pack(draft: Mapping[str, Any], folder: Path, repository: Repository, out: Path) -> Bundle:
    """Complete a draft, sign it as the current bundle of its task, and write the file that hub and nodes are given.

    Raises:
        BundleRefused: no node would take it; nothing was signed.
        KeyUnusable: the task's key is not at hand.
        Unsigned: the task has no role.
        OSError: a file cannot be read or written, or `out` is there already; nothing lies there.
    """
    if out.exists():
        raise FileExistsError(f"{out}: is there already")
    bundle = complete(draft, folder)
    fresh = out.with_name(f"{out.name}.new")
    fresh.unlink(missing_ok=True)
    try:
        # First all but the signatures: what is signed makes the version before it out of date.
        bundle_archive.write(fresh, bundle, folder, {})
        repository.sign(bundle)
        bundle_archive.add_metadata(fresh, repository.metadata(bundle.manifest.task))
        fresh.rename(out)
    finally:
        fresh.unlink(missing_ok=True)
    return bundle


def _fact(path: Path) -> dict[str, object]:
    with path.open("rb") as file:
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "size_bytes": path.stat().st_size}
