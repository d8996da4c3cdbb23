"""What the demo writes is what its processes can read, and the demo really starts."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from cloud_hub import config as hub_config
from deploy.demo.__main__ import prepare
from deploy.demo.state import Ports
from deploy.demo.story import CLINIC, SCANNER, SITES
from edge_node import config as edge_config
from tests.fakes.ports import free_port
from tests.region.region import ROOT, until


@pytest.mark.parametrize("record", ["", "some/record.hea"])
def test_hub_and_nodes_read_the_configurations_that_the_demo_writes(tmp_path: Path, record: str) -> None:
    folder, ports = tmp_path / "demo", Ports(100)
    prepare(folder, ports, record)
    hub = hub_config.load(folder / "hub.toml")
    assert (hub.web.port, hub.rpc.port) == (ports.web, ports.files)
    for site in SITES:
        node = edge_config.load(folder / f"{site.node}.toml")
        assert node.uplink.secret_file.is_file()
        assert (node.uplink.broker_port, node.transfer.hub_port) == (ports.broker, ports.files)
        assert (node.imaging is None) == site.home
        assert (node.inference.root_file is None) == site.home
        assert node.imaging is None or (node.imaging.port, node.imaging.senders) == (ports.dicom, [SCANNER])
        assert bool(record and not site.home) == any(row.family == "recorded" for row in node.devices)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_demo_starts_says_where_it_is_and_ends_with_its_terminal() -> None:
    offset = free_port() % 20_000 + 10_000
    demo = subprocess.Popen(
        [sys.executable, "-m", "deploy.demo"],
        cwd=ROOT,
        env=os.environ | {"PORT_OFFSET": str(offset), "RECORD": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert demo.stdout is not None
        said = []
        for line in demo.stdout:
            said.append(line)
            if f":{Ports(offset).web}" in line:
                break
        else:
            raise AssertionError("".join(said))
        until((ROOT / "var" / f"demo-{offset}" / CLINIC.node / "scanned").exists, 90, "the scanner's study is taken")
        figures = httpx.get(f"http://127.0.0.1:{Ports(offset).page(CLINIC)}/metrics").text
        assert "\nedge_inference_serving{" in figures
        demo.send_signal(signal.SIGINT)
        assert demo.wait(60) == 0
    finally:
        demo.kill()
        demo.wait()
        if demo.stdout is not None:
            demo.stdout.close()
        shutil.rmtree(ROOT / "var" / f"demo-{offset}", ignore_errors=True)
