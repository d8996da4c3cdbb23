"""Network namespaces of the packet tunnel: made, entered, emptied and removed (Linux, root, iproute2).

Their names hold the process that owns them and when it began, so that those of a process that was killed are known
as nobody's and are removed at the next start.
"""

import ctypes
import errno
import fcntl
import os
import shutil
import signal
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "yuanzhen-relay"
FOLDER = Path("/run/netns")
TUN_DEVICE = Path("/dev/net/tun")
LINK_NAME = "link0"
MTU_BYTES = 1500
CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TUN_NO_PI = 0x0001 | 0x1000
EMPTY_WITHIN_S = 2.0
LOOK_AGAIN_S = 0.02

_libc = ctypes.CDLL(None, use_errno=True)


class Unavailable(Exception):
    """This machine does not let us make namespaces or TUN interfaces; the text says what is missing."""


def make(end: str) -> str:
    """Make a namespace with loopback up, owned by this process, and return its name; raises Unavailable."""
    name = f"{PREFIX}-{os.getpid()}-{_began(os.getpid())}-{end}"
    if os.geteuid() != 0:
        raise Unavailable("network namespaces need root")
    _ip("netns", "add", name)
    try:
        _ip("-n", name, "link", "set", "lo", "up")
        with inside(name), suppress(OSError):
            # Router solicitations and the like would be taken for traffic.
            Path("/proc/sys/net/ipv6/conf/all/disable_ipv6").write_text("1")
    except BaseException:
        remove(name)
        raise
    return name


def open_tun(name: str, address: str, peer: str) -> int:
    """Make the interface of a namespace and return its file descriptor; it vanishes when that is closed.

    One read is one IPv4 packet, and so is one write; reads do not wait.  Raises Unavailable.
    """
    try:
        with inside(name):
            tun = os.open(TUN_DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise Unavailable(f"{TUN_DEVICE}: {error.strerror}") from error
    try:
        fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", LINK_NAME.encode(), IFF_TUN_NO_PI))
        _ip("-n", name, "address", "add", address, "peer", peer, "dev", LINK_NAME)
        _ip("-n", name, "link", "set", LINK_NAME, "mtu", str(MTU_BYTES), "up")
    except OSError as error:
        os.close(tun)
        raise Unavailable(f"TUN interface: {error.strerror}") from error
    except BaseException:
        os.close(tun)
        raise
    return tun


@contextmanager
def inside(name: str) -> Iterator[None]:
    """Let the calling thread live in a namespace for a while; sockets made meanwhile stay there for ever.

    Only this thread: what it hands to other threads happens where those are.
    """
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        other = os.open(FOLDER / name, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(other)
        finally:
            os.close(other)
        try:
            yield
        finally:
            _enter(own)
    finally:
        os.close(own)


def command_inside(name: str, command: list[str]) -> list[str]:
    """Return the command that runs another one in a namespace, under the same process id."""
    return [_program(), "netns", "exec", name, *command]


def empty(name: str) -> None:
    """Kill every process that lives in a namespace and wait until they are gone, at most two seconds."""
    until_s = time.monotonic() + EMPTY_WITHIN_S
    while (inhabitants := _inhabitants(name)) and time.monotonic() < until_s:
        for process in inhabitants:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(LOOK_AGAIN_S)


def remove(name: str) -> None:
    """Remove a namespace and whoever lives in it; nothing happens if it is gone already."""
    if not (FOLDER / name).exists():
        return
    empty(name)
    # Another start may have removed it at the same moment.
    subprocess.run([_program(), "netns", "delete", name], capture_output=True, check=False)


def left_behind() -> list[str]:
    """Return our namespaces whose owner is gone."""
    names = sorted(path.name for path in FOLDER.glob(f"{PREFIX}-[0-9]*-[0-9]*-*"))
    return [name for name in names if not _has_owner(name)]


def remove_left_behind() -> list[str]:
    """Remove what killed processes left, and return the names."""
    names = left_behind()
    for name in names:
        remove(name)
    return names


def owned_by(process: int) -> list[str]:
    """Return the namespaces of a process, living or not."""
    return sorted(path.name for path in FOLDER.glob(f"{PREFIX}-{process}-*"))


def _has_owner(name: str) -> bool:
    owner, began, _ = name.removeprefix(f"{PREFIX}-").split("-")
    return began == _began(int(owner))


def _began(process: int) -> str:
    """Return when a process began, in the kernel's ticks; empty if there is no such process, or only its corpse."""
    try:
        state, *fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state in "ZX" else fields[18]


def _inhabitants(name: str) -> list[int]:
    listed = subprocess.run([_program(), "netns", "pids", name], capture_output=True, text=True, check=False).stdout
    # Whoever holds the tunnel may have a thread in there.
    return [int(process) for process in listed.split() if int(process) not in (os.getpid(), os.getppid())]


def _enter(namespace: int) -> None:
    if _libc.setns(namespace, CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _program() -> str:
    found = shutil.which("ip") or shutil.which("ip", path="/usr/sbin:/sbin")
    if found is None:
        raise Unavailable("the program ip (iproute2) is not installed")
    return found


def _ip(*words: str) -> None:
    done = subprocess.run([_program(), *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Unavailable(f"ip {' '.join(words)}: {done.stderr.strip() or errno.errorcode.get(done.returncode, '?')}")
