"""What the controller knows of a process."""

import signal
import subprocess
import sys

from tests.faults.chaos.nursery import catches

LATE = """
import signal
print("listening", flush=True)
input()
signal.signal(signal.SIGHUP, lambda *_: None)
print("hears", flush=True)
input()
"""


def test_a_process_hears_a_signal_only_from_when_it_handles_it() -> None:
    with subprocess.Popen([sys.executable, "-c", LATE], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as late:
        assert late.stdin is not None
        assert late.stdout is not None
        assert late.stdout.readline() == b"listening\n"
        listening = catches(late.pid, signal.SIGHUP)
        late.stdin.write(b"\n")
        late.stdin.flush()
        assert late.stdout.readline() == b"hears\n"
        hearing = catches(late.pid, signal.SIGHUP)
        late.send_signal(signal.SIGHUP)
        late.stdin.write(b"\n")

    assert (listening, hearing) == (False, True)
    assert late.returncode == 0
    assert not catches(late.pid, signal.SIGHUP)
