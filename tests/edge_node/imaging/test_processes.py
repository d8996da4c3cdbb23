"""Which process has what to do with the bytes of strangers."""

import subprocess
import sys

import pytest

from tests.edge_node.imaging.conftest import ENVIRONMENT

READERS = "{'pydicom', 'pynetdicom', 'gdcm'}"


def loaded(module: str) -> str:
    """Return which libraries for images a process has that imports a module."""
    program = f"import sys, {module}; print(sorted({READERS} & {{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=ENVIRONMENT, check=True)
    return done.stdout.strip()


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_the_node_s_own_process_reads_no_data_sets() -> None:
    assert loaded("edge_node.imaging.receiver") != "[]", "the check can fail"
    assert loaded("edge_node.app") == "[]"
