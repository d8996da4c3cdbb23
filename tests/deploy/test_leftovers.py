"""A demo that was killed itself does not stand in the way of the next one."""

import json
import subprocess
import sys
from pathlib import Path

from deploy.demo.processes import end_leftovers
from tests.region.region import until


def test_processes_of_the_folder_are_ended_and_others_left_alone(tmp_path: Path) -> None:
    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    ours = subprocess.Popen([*sleep, str(tmp_path / "hub.toml")])
    foreign = subprocess.Popen(sleep)
    try:
        # Right after its start a process has no command line yet; a leftover is never that young.
        until(lambda: Path(f"/proc/{ours.pid}/cmdline").read_bytes(), 5, "the process has begun")
        (tmp_path / "processes.json").write_text(json.dumps({"hub": ours.pid, "edge-clinic": foreign.pid}))
        assert end_leftovers(tmp_path) == ["hub"]
        assert ours.wait(5) != 0
        assert foreign.poll() is None
    finally:
        for process in (ours, foreign):
            process.kill()
            process.wait()


def test_without_a_list_there_is_nothing_to_end(tmp_path: Path) -> None:
    assert end_leftovers(tmp_path) == []
