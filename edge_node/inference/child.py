"""The worker's side: one bundle, checked once more from its bytes, loaded, and run as often as the node asks."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from telemed import bundle_graph
from telemed.bundle import MANIFEST, Bundle, BundleRefused, Precision, Refusal, parse

from edge_node.inference import arena, libraries
from edge_node.inference.arena import Arena, Misfit
from edge_node.inference.engine import Blueprint, Engine, EngineBroke, Library
from edge_node.inference.pipe import Done, Failed, Line, Load, Loaded, Run


def serve(load: Load, lines: Iterable[Line], say: Callable[[Line], None]) -> None:
    """Load a bundle and run its graphs until there are no more lines; whatever cannot be done is said."""
    try:
        bundle = _read(Path(load.folder), load.bundle_id)
        engines = _engines(bundle, load)
        offer = libraries.offer(Library(load.library))
    except BundleRefused as refused:
        say(Failed(refused.reason, refused.detail))
        return
    except (EngineBroke, OSError, MemoryError) as error:
        say(Failed(Refusal.ENGINE_FAILED, f"{type(error).__name__}: {error}"[:500]))
        return
    memory = Arena(load.arena, arena.size_bytes(bundle.manifest))
    say(Loaded(offer.version, offer.device))
    for line in lines:
        if isinstance(line, Run):
            say(_run(bundle, engines, memory, line))


def _run(bundle: Bundle, engines: Mapping[str, Engine], memory: Arena, asked: Run) -> Line:
    graph = bundle.manifest.graphs[asked.graph]
    try:
        found = engines[asked.graph].run(memory.inputs(graph))
        arena.fill(memory.outputs(graph), graph.outputs, found)
    except Misfit as error:
        return Failed(Refusal.SHAPE_WRONG, str(error))
    except (EngineBroke, MemoryError) as error:
        return Failed(Refusal.ENGINE_FAILED, f"{type(error).__name__}: {error}"[:500])
    return Done()


def _read(folder: Path, bundle_id: str) -> Bundle:
    bundle = parse((folder / MANIFEST).read_bytes())
    if bundle.bundle_id != bundle_id:
        raise BundleRefused(Refusal.HASH_WRONG, MANIFEST)
    return bundle


def _engines(bundle: Bundle, load: Load) -> dict[str, Engine]:
    library, engines = Library(load.library), dict[str, Engine]()
    allowed: dict[str, Precision] = {each: each for each in bundle.manifest.precisions()}
    if load.precision not in allowed:
        raise EngineBroke(f"{load.precision} is no precision in which this bundle may be run")
    precision, cache = allowed[load.precision], Path(load.cache) / bundle.bundle_id
    for name, graph in bundle.manifest.graphs.items():
        file = graph.files[precision]
        # Read once: what was checked is what is loaded.
        model = (Path(load.folder) / file).read_bytes()
        if hashlib.sha256(model).hexdigest() != bundle.manifest.files[file].sha256:
            raise BundleRefused(Refusal.HASH_WRONG, file)
        bundle_graph.check(file, model, graph)
        made_from = Blueprint(bundle.bundle_id, name, graph, model, precision, load.threads, cache, load.may_build)
        engines[name] = libraries.load(made_from, library)
    return engines
