"""What the edge process must not load: the heavy libraries of the player and the oracles of the tests."""

import subprocess
import sys

PROGRAM = """
import sys
import {modules}
print(" ".join({{"neurokit2", "wfdb", "hl7", "hl7apy", "pandas", "scipy", "matplotlib"}} & set(sys.modules)))
"""


def loaded_by(modules: str) -> str:
    program = PROGRAM.format(modules=modules)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()


def test_the_drivers_load_none_of_the_heavy_libraries() -> None:
    assert loaded_by("edge_node.devices.hl7_monitor.driver, edge_node.devices.recorded.driver") == ""


def test_the_player_of_recordings_loads_none_of_them_either() -> None:
    assert loaded_by("edge_node.devices.simulated.__main__") == ""
