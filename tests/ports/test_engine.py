"""What a worker relies on of an engine, for each library that this machine has."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from edge_node.inference import libraries
from edge_node.inference.engine import Blueprint, Engine, EngineBroke, Library
from tests.fakes import bundles
from tests.fakes.bundles import blurred, image
from tests.telemed.test_bundle_graph import GRAPH

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(params=Library)
def library(request: pytest.FixtureRequest) -> Library:
    found: Library = request.param
    if found not in {offer.library for offer in libraries.offers()}:
        pytest.skip(f"{found} is not on this machine")
    return found


def blueprint(model: bytes, cache: Path) -> Blueprint:
    return Blueprint("b" * 64, "net", GRAPH, model, "fp32", 1, cache, may_build=True)


@pytest.fixture
def engine(library: Library, tmp_path: Path) -> Iterator[Engine]:
    made = libraries.load(blueprint(bundles.blur().SerializeToString(), tmp_path), library)
    yield made
    made.close()


def test_it_gives_what_numpy_gives_again_and_again(engine: Engine) -> None:
    for seed in range(3):
        found = engine.run({"image": image(seed)})
        assert found.keys() == {"out"}
        assert np.max(np.abs(found["out"] - blurred(image(seed)))) < 1e-3


def test_what_it_cannot_load_is_a_failure_of_its_own_kind(library: Library, tmp_path: Path) -> None:
    unknown = bundles.model([helper.make_node("Conv", ["image", "nowhere"], ["out"])], {})
    for model in (unknown.SerializeToString(), b"", b"\x00" * 100):
        with pytest.raises(EngineBroke, match="net"):
            libraries.load(blueprint(model, tmp_path), library)


def test_closing_twice_is_harmless_and_a_closed_one_does_not_run(engine: Engine) -> None:
    engine.close()
    engine.close()
    with pytest.raises(EngineBroke):
        engine.run({"image": image()})


def test_an_offer_names_version_and_device(library: Library) -> None:
    (offer,) = [each for each in libraries.offers() if each.library is library]
    assert offer.version
    assert offer.device
