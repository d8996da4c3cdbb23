"""A changed configuration on running processes: taken over on SIGHUP, or refused while the earlier one goes on."""

import contextlib
import os
import signal
import socket
from collections.abc import Iterator

import httpx
import pytest

from tests.fakes.ports import free_port
from tests.region.region import Region, until
from tests.region.screen import Screen

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
EDGE = "edge-clinic"


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Region]:
    made = Region(tmp_path_factory.mktemp("region"))
    made.prepare()
    try:
        made.start()
        yield made
    except BaseException:
        print(made.logs())
        raise
    finally:
        made.stop()


def change(region: Region, file: str, old: str, new: str) -> None:
    text = (region.folder / file).read_text()
    assert old in text
    (region.folder / file).write_text(text.replace(old, new))


def hang_up(region: Region, name: str) -> None:
    os.kill(region.processes[name].popen.pid, signal.SIGHUP)


def log_of(region: Region, name: str) -> str:
    return (region.folder / f"{name}.log").read_text()


def stuck(region: Region, code: str) -> list[str]:
    """What the bedside page says of this code to the clinic."""
    with contextlib.closing(region.signed_in(region.page_url(), "clinic")) as client:
        screen = Screen(client)
        screen.socket.close()
    return [one["text"]["en"] for view in screen.snapshot["sites"] for one in view["stuck"] if one["code"] == code]


def test_a_node_goes_on_with_the_earlier_configuration_and_says_so_until_the_file_is_right(region: Region) -> None:
    process = region.processes[EDGE].popen
    change(region, f"{EDGE}.toml", "[bedside]", "[bedside]\ncolour = 'red'")
    hang_up(region, EDGE)
    words = until(lambda: stuck(region, "config-refused"), 15, "the bedside page says that the file is wrong")
    assert "bedside.colour" in words[0]
    assert httpx.get(f"{region.page_url()}/readyz").status_code == 200

    change(region, f"{EDGE}.toml", "colour = 'red'\n", "")
    change(region, f"{EDGE}.toml", "Baoshan Town Clinic", "Baoshan Clinic, new wing")
    hang_up(region, EDGE)
    until(lambda: "config-reloaded" in log_of(region, EDGE), 15, "the node begins anew")
    region.until_ready(region.page_url())
    assert stuck(region, "config-refused") == []
    with contextlib.closing(region.signed_in(region.hub_url, "physician")) as client:

        def name() -> bool:
            screen = Screen(client)
            screen.socket.close()
            return any(view["name"]["en"] == "Baoshan Clinic, new wing" for view in screen.snapshot["sites"])

        until(name, 15, "the hub shows the new name")
    assert process.poll() is None


@pytest.mark.parametrize(("name", "file"), [(EDGE, f"{EDGE}.toml"), ("hub", "hub.toml")])
def test_a_new_port_is_taken_over_and_one_in_use_is_not(region: Region, name: str, file: str) -> None:
    process, key = region.processes[name].popen, "web" if name == "hub" else f"{EDGE}.page"
    old, new = region.ports[key], free_port()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        other = taken.getsockname()[1]
        change(region, file, f"port = {old}\n", f"port = {other}\n")
        hang_up(region, name)
        until(lambda: f"{other}" in log_of(region, name), 20, "the port in use is said")
        region.until_ready(f"http://127.0.0.1:{old}")

    change(region, file, f"port = {other}\n", f"port = {new}\n")
    hang_up(region, name)
    region.until_ready(f"http://127.0.0.1:{new}")
    region.ports[key] = new
    assert process.poll() is None
