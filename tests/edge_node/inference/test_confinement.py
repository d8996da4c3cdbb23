"""What a worker cannot do, tried in processes of their own."""

import subprocess
import sys
import textwrap

import pytest

from edge_node.inference import confinement

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]


def confined(program: str, memory_mib: int = 512) -> str:
    """Run a program after giving everything up, and return what it says."""
    text = f"from edge_node.inference.confinement import confine\nconfine({memory_mib})\n{textwrap.dedent(program)}"
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
    ],
)
def test_neither_network_nor_other_programs_can_be_reached(attempt: str) -> None:
    said = confined(
        f"try:\n    {attempt}\n    print('reached')\nexcept (PermissionError, AssertionError):\n    print('refused')"
    )
    assert said == "refused"


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
