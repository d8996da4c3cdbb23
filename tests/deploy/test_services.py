"""The services of edge and hub are confined, and name commands and options that exist."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "deploy/systemd"
UNITS = sorted(FOLDER.glob("*.service"))
MOST_EXPOSED = 2.0
ANALYZE = shutil.which("systemd-analyze")


def exposure(unit: Path) -> float:
    assert ANALYZE
    done = subprocess.run(
        [ANALYZE, "security", "--offline=true", "--no-pager", str(unit)], capture_output=True, text=True, check=True
    )
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert found, done.stdout
    assert "Unknown key" not in done.stderr
    return float(found[1])


@pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_service_is_confined(unit: Path) -> None:
    assert exposure(unit) < MOST_EXPOSED


@pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")
def test_the_measure_of_confinement_can_fail(tmp_path: Path) -> None:
    bare = tmp_path / "bare.service"
    bare.write_text("[Service]\nExecStart=/bin/true\n")
    assert exposure(bare) > MOST_EXPOSED


def test_there_is_a_service_for_each_side() -> None:
    assert [unit.stem for unit in UNITS] == ["yuanzhen-edge", "yuanzhen-hub"]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_commands_of_a_service_exist(unit: Path) -> None:
    lines = re.findall(r"^Exec\w+=/opt/yuanzhen/bin/(\S+) (\S+) (--config) ", unit.read_text(), re.MULTILINE)
    assert len(lines) == 2
    for program, command, option in lines:
        module = {"edge-node": "edge_node", "cloud-hub": "cloud_hub"}[program]
        shown = subprocess.run(
            [sys.executable, "-m", module, command, "--help"], capture_output=True, text=True, check=True
        )
        assert option in shown.stdout


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_refused_configuration_stays_down_and_all_else_starts_again(unit: Path) -> None:
    text = unit.read_text()
    assert "Restart=always" in text
    assert "RestartPreventExitStatus=2" in text
    assert "User=yuanzhen-" in text
