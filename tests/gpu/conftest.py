"""What there is to be run on the card: graphs of the tests' own, and the bundles that BUNDLES names."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from edge_node.inference import tensorrt_engine
from edge_node.inference.cuda import Cuda
from edge_node.inference.engine import EngineBroke

BUNDLES = [Path(each) for each in os.environ.get("BUNDLES", "").split(os.pathsep) if each]


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Skip by name where there is no card."""
    try:
        Cuda()
    except EngineBroke as missing:
        here = [item for item in items if Path(__file__).parent in item.path.parents]
        for item in here:
            item.add_marker(pytest.mark.skip(reason=str(missing)))


@pytest.fixture(scope="session", autouse=True)
def _what_is_missing_is_said() -> None:
    for library in tensorrt_engine.MODULES:
        if tensorrt_engine.module_of(library) is None:
            print(f"{library} is not installed: not tried")
