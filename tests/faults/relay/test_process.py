"""The relay as a process of its own, and the link that holds it."""

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.faults.relay.link import ROOT, Proxy, RelayRefused, datagram, stream
from tests.faults.relay.punctual import timed
from tests.faults.relay.settings import Settings, plain
from tests.faults.relay.traces import read_mahimahi, stepped

pytestmark = pytest.mark.slow
COMMAND = (sys.executable, "-m", "tests.faults.relay")


@pytest.fixture
def echo() -> Iterator[tuple[str, int]]:
    """Address of a UDP echo."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as line:
        line.bind(("127.0.0.1", 0))
        line.settimeout(0.05)
        ended = threading.Event()

        def answer() -> None:
            while not ended.is_set():
                try:
                    line.sendto(*line.recvfrom(2048))
                except TimeoutError:
                    continue

        thread = threading.Thread(target=answer)
        thread.start()
        yield line.getsockname()
        ended.set()
        thread.join()


@contextmanager
def asking(link: Proxy) -> Iterator[socket.socket]:
    """Hold a UDP client of a relay."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as client:
        client.connect(link.address)
        client.settimeout(1)
        yield client


def answers(client: socket.socket, within_s: float) -> bool:
    """Say whether a question is answered in time; late answers to earlier ones are passed over."""
    question = str(time.monotonic_ns()).encode()
    client.send(question)
    client.settimeout(within_s)
    try:
        while client.recv(2048) != question:
            continue
    except TimeoutError:
        return False
    return True


def test_a_link_is_set_cut_and_healed_from_another_process(echo: tuple[str, int]) -> None:
    near = Settings(delay_s=0.01)
    with datagram(echo, up=near, down=near) as link, asking(link) as client:
        assert answers(client, 1)
        link.cut("down")
        assert link.settings("down") == replace(near, cut=True)
        assert not answers(client, 0.15)
        link.heal()
        assert answers(client, 1)
        link.set("up", Settings(loss=plain(1)))
        assert not answers(client, 0.15)
        report = link.report()
        assert (report.up.dropped_loss, report.down.dropped_cut) == (1, 1)
        assert report.up.offered == 4


def test_a_flapping_link_is_whole_in_the_end(echo: tuple[str, int]) -> None:
    with datagram(echo) as link, asking(link) as client:
        with link.flapping(up_s=0.05, down_s=0.05):
            heard = [answers(client, 0.02) for _ in range(20)]
        assert {True, False} == set(heard)
        assert all(answers(client, 1) for _ in range(5))


def test_a_whole_recording_can_be_sent_to_a_running_relay(shared_data: Path, echo: tuple[str, int]) -> None:
    capacity = read_mahimahi(shared_data / "network" / "mahimahi" / "Verizon-LTE-short.up.gz")
    with datagram(echo) as link, asking(link) as client:
        link.set("up", Settings(rate=capacity))
        assert answers(client, 1)


def test_an_order_the_relay_cannot_follow_is_an_error_and_it_goes_on(echo: tuple[str, int]) -> None:
    with datagram(echo) as link, asking(link) as client:
        with pytest.raises(RelayRefused, match="connections"):
            link.reset()
        assert answers(client, 1)


def test_settings_that_a_kind_cannot_follow_stop_it_before_it_starts() -> None:
    with pytest.raises(RelayRefused, match="cannot lose"), stream(("127.0.0.1", 9), up=Settings(loss=plain(0.1))):
        pytest.fail("it started")


def test_a_relay_that_was_killed_is_said_to_have_ended(echo: tuple[str, int]) -> None:
    with datagram(echo) as link:
        link._process.kill()
        link._process.wait()
        with pytest.raises(RelayRefused, match="ended"):
            link.cut()


def test_a_byte_stream_is_reset_from_another_process() -> None:
    with (
        closing(socket.create_server(("127.0.0.1", 0))) as server,
        stream(server.getsockname()) as link,
        closing(socket.create_connection(link.address)) as client,
        closing(server.accept()[0]) as served,
    ):
        client.sendall(b"?")
        assert served.recv(1) == b"?"
        link.reset()
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_a_profile_on_the_command_line_is_run_until_its_input_ends(tmp_path: Path, echo: tuple[str, int]) -> None:
    (tmp_path / "p.toml").write_text(f'kind = "datagram"\ntarget = "{echo[0]}:{echo[1]}"\n[up]\ndelay_s = 0.01\n')
    orders = '{"do": "cut", "direction": "up"}\n{"do": "counts"}\nnonsense\n'
    done = _run(str(tmp_path / "p.toml"), input=orders)
    ready, cut, counts, refused = (json.loads(line) for line in done.stdout.splitlines())
    assert ready["ready"]["kind"] == "datagram"
    assert cut == {"done": "cut"}
    assert counts["up"]["offered"] == 0
    assert "refused" in refused
    assert done.returncode == 0


def test_a_wrong_profile_is_refused_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text('kind = "tunnel"\n[up]\nlost = 0.1\n')
    done = _run(str(tmp_path / "p.toml"), input="")
    assert done.returncode == 2
    assert "up.lost" in done.stderr


def test_several_controllers_may_use_the_unix_socket(tmp_path: Path, echo: tuple[str, int]) -> None:
    path = tmp_path / "control"
    with (
        datagram(echo, control=path) as link,
        asking(link) as client,
        _controller(path) as one,
        _controller(path) as two,
    ):
        assert _order(one, {"do": "cut"}) == {"done": "cut"}
        assert not answers(client, 0.1)
        assert _order(two, {"do": "heal"}) == {"done": "heal"}
        assert answers(client, 1)
    assert not path.exists()


def test_it_stays_without_input_if_told_so_and_ends_on_a_signal(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text('kind = "stream"\ntarget = "127.0.0.1:9"\n')
    command = [*COMMAND, str(tmp_path / "p.toml"), "--stay", "--control", str(tmp_path / "control")]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as relay:
        assert relay.stdout is not None
        assert b"ready" in relay.stdout.readline()
        with _controller(tmp_path / "control") as controller:
            assert "up" in _order(controller, {"do": "counts"})
        relay.send_signal(signal.SIGTERM)
        assert relay.wait(10) == 0


def test_capacity_that_falls_while_much_waits_slows_what_waits(echo: tuple[str, int]) -> None:
    fast = Settings(rate=stepped([(1, 800_000)]), queue_bytes=100_000)
    with datagram(echo, up=fast) as link, asking(link) as client:
        with timed() as span:
            for _ in range(20):
                client.send(bytes(972))
            link.set("up", replace(fast, rate=stepped([(1, 200_000)])))
            client.settimeout(5)
            for _ in range(20):
                client.recv(2048)
        # 20 x 8,000 bits: 0.2 s at the first rate, 0.8 s at the second; the change may be late as well.
        assert 0.7 - 3 * span.late_s <= span.took_s <= 0.9 + span.late_s, str(span)


def _run(*words: str, input: str) -> "subprocess.CompletedProcess[str]":  # noqa: A002
    return subprocess.run([*COMMAND, *words], cwd=ROOT, input=input, capture_output=True, text=True, check=False)


@contextmanager
def _controller(path: Path) -> Iterator[socket.socket]:
    with closing(socket.socket(socket.AF_UNIX)) as line:
        line.connect(str(path))
        line.settimeout(5)
        yield line


def _order(controller: socket.socket, order: dict[str, str]) -> dict[str, Any]:
    controller.sendall(json.dumps(order).encode() + b"\n")
    told = b""
    while not told.endswith(b"\n"):
        told += controller.recv(65_536)
    answer: dict[str, Any] = json.loads(told)
    return answer
