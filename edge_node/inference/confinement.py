"""What the worker process gives up before it reads a bundle: the network, other programs, memory without end.

The engine's libraries read what strangers wrote.  A filter of system calls (seccomp) needs no rights and cannot be
taken off again; where the kernel has none, the worker does not start, because then nothing would hold it.  No filter
of calls stops a worker from opening the memory of its parent as a file, so the node closes its own (`shield`), and
Landlock, where the kernel has it, keeps every other process out of reach as well.
"""

import contextlib
import ctypes
import errno
import os
import platform
import resource
import signal
from pathlib import Path

MIB = 1024 * 1024
OPEN_FILES = 256
NICENESS = 10
"""Measurements and alarms of the same machine go first."""
_NO_NEW_PRIVILEGES, _SET_SECCOMP, _SECCOMP_FILTER, _PARENT_DEATH, _DUMPABLE = 38, 22, 2, 1, 4
_LANDLOCK_RULESET, _LANDLOCK_RULE, _LANDLOCK_RESTRICT = 444, 445, 446
"""Numbers of these calls, the same on every processor."""
_NO_DEVICE_NODES = (1 << 6) | (1 << 11)
"""Making character and block devices, which no worker does: a set of rules must forbid something."""
_LINK_ELSEWHERE, _BENEATH = 1 << 13, 1
"""Giving a file a name in another folder: forbidden by any set of rules that does not allow it below some folder."""
_LOAD, _EQUAL, _AT_LEAST, _AND, _RETURN = 0x20, 0x15, 0x35, 0x54, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | 13
"""Let through; or fail with EACCES."""
_ARCHITECTURE_AT, _NUMBER_AT, _FIRST_ARGUMENT_AT, _SECOND_ARGUMENT_AT = 4, 0, 16, 24
_FOREIGN_NUMBERS = 0x40000000
"""From here on are the numbers of x32, a second way to the same calls."""
_LOCAL, _SEQUENCED, _KIND = 1, 5, 0xF
"""Family and kind of the socket that CUDA's driver makes for itself; the kind is in the last four bits."""
CALLS = {
    # socket, connect, socketpair, execve, ptrace, mount, unshare, setns, process_vm_readv and _writev, bpf, execveat,
    # userfaultfd, io_uring_setup; kill, tkill, tgkill, rt_sigqueueinfo, rt_tgsigqueueinfo, perf_event_open,
    # pidfd_send_signal, pidfd_getfd
    "x86_64": (
        0xC000003E,
        (41, 42, 53, 59, 101, 165, 272, 308, 310, 311, 321, 322, 323, 425, 62, 200, 234, 129, 297, 298, 424, 438),
    ),
    "aarch64": (
        0xC00000B7,
        (198, 203, 199, 221, 117, 40, 97, 268, 270, 271, 280, 281, 282, 425, 129, 130, 131, 138, 240, 241, 424, 438),
    ),
}


class Unconfined(Exception):
    """This kernel or processor cannot hold the worker; nothing may be loaded."""


class _Step(ctypes.Structure):
    _fields_ = [
        ("code", ctypes.c_uint16),
        ("if_true", ctypes.c_uint8),
        ("if_false", ctypes.c_uint8),
        ("value", ctypes.c_uint32),
    ]


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32)]


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_uint16), ("steps", ctypes.POINTER(_Step))]


def shield() -> None:
    """Close this process's memory and descriptors to others of its user; the node's, before it starts a worker.

    What it starts is open again.  It leaves no core behind when it crashes.

    Raises:
        Unconfined: the kernel refuses.
    """
    _asked(ctypes.CDLL(None, use_errno=True), _DUMPABLE, 0)


def confine(memory_mib: int, *, has_card: bool = False, may_link: bool = False) -> None:
    """Give it all up, for this process and its threads; called once, before any thread was started.

    Args:
        memory_mib: most that it may take.
        has_card: whether it uses a card: CUDA's driver does not start unless it may make one local socket, which
            can be connected to nothing, because connecting stays refused.
        may_link: whether it gives files names in other folders, as who stores images does.

    Raises:
        Unconfined: the kernel refuses.
    """
    # Courtesies to the rest of the machine, which a service may be forbidden: they hold nothing.
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    with contextlib.suppress(OSError):
        # If memory runs out on this machine, this process is the one to go.
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    resource.setrlimit(resource.RLIMIT_DATA, (memory_mib * MIB, memory_mib * MIB))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
    libc = ctypes.CDLL(None, use_errno=True)
    _asked(libc, _PARENT_DEATH, signal.SIGKILL)
    _asked(libc, _NO_NEW_PRIVILEGES, 1)
    _keep_to_oneself(libc, may_link=may_link)
    steps = refused_calls(has_card=has_card)
    program = _Program(len(steps), (_Step * len(steps))(*steps))
    _asked(libc, _SET_SECCOMP, _SECCOMP_FILTER, ctypes.byref(program))


def refused_calls(*, has_card: bool = False) -> list[_Step]:
    """Return the filter's steps for this processor.

    Raises:
        Unconfined: the numbers of its system calls are not known here.
    """
    if platform.machine() not in CALLS:
        raise Unconfined(f"no list of system calls for {platform.machine()}")
    architecture, refused = CALLS[platform.machine()]
    count = len(refused)
    local = _local_socket(refused[0], count) if has_card else []
    left = len(local) + count
    return [
        _Step(_LOAD, 0, 0, _ARCHITECTURE_AT),
        _Step(_EQUAL, 0, left + 3, architecture),
        _Step(_LOAD, 0, 0, _NUMBER_AT),
        _Step(_AT_LEAST, left + 1, 0, _FOREIGN_NUMBERS),
        *local,
        *(_Step(_EQUAL, count - at, 0, number) for at, number in enumerate(refused)),
        _Step(_RETURN, 0, 0, _ALLOW),
        _Step(_RETURN, 0, 0, _REFUSE),
    ]


def _keep_to_oneself(libc: ctypes.CDLL, *, may_link: bool) -> None:
    """Have Landlock, where the kernel has it, forbid looking into any process that is not held like this one."""
    forbidden = ctypes.c_uint64(_NO_DEVICE_NODES | (_LINK_ELSEWHERE if may_link else 0))
    rules = libc.syscall(_LANDLOCK_RULESET, ctypes.byref(forbidden), ctypes.c_size_t(ctypes.sizeof(forbidden)), 0)
    # Not permitted: so say the filters of services and containers that do not know the call.
    if rules < 0 and ctypes.get_errno() in (errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM):
        return
    if rules < 0 and may_link and ctypes.get_errno() == errno.EINVAL:
        # Its first version forbids such links and cannot allow them; there the node's own shield has to do.
        return
    try:
        if rules < 0 or (may_link and not _may_link(libc, rules)) or libc.syscall(_LANDLOCK_RESTRICT, rules, 0):
            raise Unconfined(f"landlock: {os.strerror(ctypes.get_errno())}")
    finally:
        if rules >= 0:
            os.close(rules)


def _may_link(libc: ctypes.CDLL, rules: int) -> bool:
    root = os.open("/", os.O_PATH)
    try:
        beneath = _Beneath(_LINK_ELSEWHERE, root)
        return not libc.syscall(_LANDLOCK_RULE, rules, _BENEATH, ctypes.byref(beneath), 0)
    finally:
        os.close(root)


def _local_socket(number: int, left: int) -> list[_Step]:
    """Return the steps that let one kind of socket through and no other; so many steps are left to the verdicts."""
    return [
        _Step(_EQUAL, 0, 5, number),
        _Step(_LOAD, 0, 0, _FIRST_ARGUMENT_AT),
        _Step(_EQUAL, 0, left + 4, _LOCAL),
        _Step(_LOAD, 0, 0, _SECOND_ARGUMENT_AT),
        _Step(_AND, 0, 0, _KIND),
        _Step(_EQUAL, left, left + 1, _SEQUENCED),
    ]


def _asked(libc: ctypes.CDLL, option: int, value: int, pointer: object = None) -> None:
    arguments = (pointer, None, None) if pointer is not None else (0, 0, 0)
    if libc.prctl(option, value, *arguments):
        raise Unconfined(f"prctl {option}: {os.strerror(ctypes.get_errno())}")
