"""What a worker cannot do, tried in processes of their own."""

import ctypes
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from edge_node.inference import confinement
from edge_node.inference.__main__ import ON_PROCESSOR
from edge_node.inference.engine import Library

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def confined(program: str, memory_mib: int = 512, *, has_card: bool = False, may_link: bool = False) -> str:
    """Run a program after giving everything up, and return what it says."""
    given = f"{memory_mib}, has_card={has_card}, may_link={may_link}"
    text = f"from edge_node.inference.confinement import confine\nconfine({given})\n{textwrap.dedent(program)}"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)
    return done.stdout.strip() or f"{done.returncode} {done.stderr}"


@pytest.mark.parametrize(
    "attempt",
    [
        "import socket; socket.socket()",
        "import socket; socket.socket(socket.AF_UNIX)",
        "import socket; socket.socketpair()",
        "import os; os.execv('/bin/true', ['true'])",
        "import subprocess; subprocess.run(['/bin/true'])",
        "import ctypes; assert not ctypes.CDLL(None).ptrace(0, 0, 0, 0)",
        "import os; os.kill(os.getppid(), 0)",
        "import signal; signal.pthread_kill(__import__('threading').get_ident(), 0)",
        "import os, signal; signal.pidfd_send_signal(os.pidfd_open(os.getppid()), 0)",
    ],
)
def test_neither_network_nor_other_programs_can_be_reached(attempt: str) -> None:
    said = confined(
        f"try:\n    {attempt}\n    print('reached')\nexcept (PermissionError, AssertionError):\n    print('refused')"
    )
    assert said == "refused"


NODE = """
    import ctypes, socket, subprocess, sys
    from edge_node.inference.confinement import shield
    {shielded}
    secret = ctypes.create_string_buffer(b"in-the-node")
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    places = [str(ctypes.addressof(secret)), str(theirs.fileno())]
    done = subprocess.run([sys.executable, "-c", sys.argv[1], *places], capture_output=True, text=True)
    try:
        heard = ours.recv(100)
    except BlockingIOError:
        heard = b""
    print(done.stdout.strip() or done.stderr, secret.value.decode(), heard.decode() or "nothing")
"""
WORKER = """
    import ctypes, os, sys
    from edge_node.inference import confinement
    {confined}
    said = []
    try:
        with open(f"/proc/{{os.getppid()}}/mem", "r+b", buffering=0) as memory:
            memory.seek(int(sys.argv[1]))
            memory.write(b"overwritten")
    except OSError:
        said.append("no memory")
    node = os.pidfd_open(os.getppid())
    taken = ctypes.CDLL(None).syscall(438, node, int(sys.argv[2]), 0)
    said.append("no descriptor" if taken < 0 else str(os.write(taken, b"by the worker")))
    print(", ".join(said))
"""


def attacked(shielded: str, confined: str) -> str:
    """Have a worker reach for memory and a socket of its node, neither with more rights than a service has."""
    node, worker = textwrap.dedent(NODE).format(shielded=shielded), textwrap.dedent(WORKER).format(confined=confined)
    asked = [sys.executable, "-B", "-c", node, worker]
    done = subprocess.run(
        asked, capture_output=True, text=True, check=False, timeout=50, preexec_fn=_without_the_right_to_look
    )
    return done.stdout.strip() or done.stderr


def _without_the_right_to_look() -> None:
    # What root may look into is no measure of what a service's user may: without this right it may no more than that.
    drop_from_bounds, look_into_processes = 24, 19
    ctypes.CDLL(None).prctl(drop_from_bounds, look_into_processes, 0, 0, 0)


def test_the_node_is_out_of_a_workers_reach_by_landlock_and_without_it() -> None:
    held = "no memory, no descriptor in-the-node nothing"
    assert attacked("shield()", "confinement.confine(512)") == held
    without_landlock = "confinement._keep_to_oneself = lambda *_, **__: None; confinement.confine(512)"
    assert attacked("shield()", without_landlock) == held
    assert attacked("shield()", "pass") == held
    # The attack is a real one: it succeeds where nothing holds the worker, and the filter alone holds half of it.
    assert attacked("", "pass") == "13 overwritten by the worker"
    assert attacked("", without_landlock) == "no descriptor overwritten nothing"


def test_landlock_alone_keeps_a_worker_out_of_processes_that_do_not_close_themselves() -> None:
    if ctypes.CDLL(None).syscall(444, None, 0, 1) < 0:
        pytest.skip("this kernel has no Landlock")
    assert attacked("", "confinement.confine(512)") == "no memory, no descriptor in-the-node nothing"


def test_what_a_worker_needs_still_works() -> None:
    said = confined("""
        import threading, mmap, numpy as np
        done = []
        thread = threading.Thread(target=lambda: done.append(float(np.ones((300, 300)) @ np.ones(300) @ np.ones(300))))
        thread.start(); thread.join()
        print(done)
    """)
    assert said == "[90000.0]"


def test_memory_ends_at_the_limit() -> None:
    said = confined("""
        try:
            bytearray(600 * 1024 * 1024)
        except MemoryError:
            print("no more")
    """)
    assert said == "no more"


def test_a_processor_without_a_list_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "sparc")
    with pytest.raises(confinement.Unconfined):
        confinement.refused_calls()


def test_both_lists_have_the_same_calls() -> None:
    lists = [refused for _, refused in confinement.CALLS.values()]
    assert len({len(refused) for refused in lists}) == 1
    assert all(len(set(refused)) == len(refused) for refused in lists)


def test_who_stores_images_may_give_a_file_a_name_in_another_folder(tmp_path: Path) -> None:
    (tmp_path / "incoming").mkdir()
    (tmp_path / "objects").mkdir()
    (tmp_path / "incoming" / "one").write_bytes(b"1")
    program = f"""
        import os
        os.link("{tmp_path}/incoming/one", "{tmp_path}/objects/one")
        print("linked")
    """
    assert confined(program, may_link=True) == "linked"


UNDER_A_FILTER = """
    import ctypes, platform
    from edge_node.inference import confinement
    kept, libc = dict(confinement.CALLS), ctypes.CDLL(None)
    confinement.CALLS[platform.machine()] = (kept[platform.machine()][0], (444,))
    steps = confinement.refused_calls()
    steps[-1].value = 0x00050001
    confinement.CALLS.update(kept)
    program = confinement._Program(len(steps), (confinement._Step * len(steps))(*steps))
    assert not libc.prctl(38, 1, 0, 0, 0)
    assert not libc.prctl(22, 2, ctypes.byref(program), None, None)
    confinement.confine(512)
    print("held")
"""


def test_a_worker_is_held_also_where_the_services_own_filter_does_not_know_landlock() -> None:
    asked = [sys.executable, "-B", "-c", textwrap.dedent(UNDER_A_FILTER)]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert (done.stdout.strip() or done.stderr) == "held"


@pytest.mark.parametrize(
    ("family", "kind", "said"),
    [
        ("AF_UNIX", "SOCK_SEQPACKET | socket.SOCK_CLOEXEC", "made, not connected"),
        ("AF_UNIX", "SOCK_STREAM", "refused"),
        ("AF_UNIX", "SOCK_DGRAM", "refused"),
        ("AF_INET", "SOCK_STREAM", "refused"),
        ("AF_INET6", "SOCK_DGRAM", "refused"),
        ("AF_NETLINK", "SOCK_RAW", "refused"),
    ],
)
def test_with_a_card_one_kind_of_local_socket_can_be_made_and_connected_to_nothing(
    family: str, kind: str, said: str
) -> None:
    program = f"""
        import socket
        try:
            made = socket.socket(socket.{family}, socket.{kind})
            try:
                made.connect("/run/nobody")
            except PermissionError:
                print("made, not connected")
        except PermissionError:
            print("refused")
    """
    assert confined(program, 512, has_card=True) == said


def test_with_a_card_other_programs_stay_out_of_reach() -> None:
    said = confined(
        "import os\ntry:\n    os.execv('/bin/true', ['true'])\nexcept PermissionError:\n    print('refused')",
        has_card=True,
    )
    assert said == "refused"


def test_the_library_that_needs_no_card_has_the_name_that_is_told() -> None:
    assert ON_PROCESSOR == Library.ONNXRUNTIME_CPU
