"""Which process has what to do with the bytes of strangers."""

import subprocess
import sys

import pytest

from edge_node.imaging.receiver import DIED
from tests.edge_node.imaging.conftest import ENVIRONMENT

READERS = "{'pydicom', 'pynetdicom', 'gdcm'}"


def loaded(module: str) -> str:
    """Return which libraries for images a process has that imports a module."""
    program = f"import sys, {module}; print(sorted({READERS} & {{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=ENVIRONMENT, check=True)
    return done.stdout.strip()


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_node_s_own_process_reads_no_data_sets() -> None:
    assert loaded("edge_node.imaging.receiver") != "[]", "the check can fail"
    assert loaded("edge_node.app") == "[]"


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_receiver_whose_watch_dies_ends_so_that_another_is_started_and_tells_no_value() -> None:
    program = (
        "import threading, time\n"
        "from edge_node.imaging.receiver import for_life\n"
        "def watch(): raise UnicodeError('SECRET-7')\n"
        "threading.Thread(target=for_life, args=(watch,), daemon=True, name='watch').start()\n"
        "time.sleep(20)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert done.returncode == DIED
    told = done.stdout + done.stderr
    assert "UnicodeError" in told
    assert "SECRET" not in told
