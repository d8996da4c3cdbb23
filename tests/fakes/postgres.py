"""A private PostgreSQL server for tests: own data folder, free port, ended with the session."""

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.fakes.ports import free_port


def find_programs() -> Path | None:
    """Return the folder of initdb and pg_ctl, None where PostgreSQL is not installed."""
    if found := shutil.which("initdb"):
        return Path(found).parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return versions[-1].parent if versions else None


@contextlib.contextmanager
def postgres_server(programs: Path) -> Iterator[str]:
    """Run a server; give its URL up to the database name."""
    # Not below pytest's folder: that one is 0700, and the server runs under another account.
    folder = Path(tempfile.mkdtemp(prefix="yz-pg-"))
    folder.chmod(0o755)
    data, account = folder / "data", _account()
    data.mkdir()
    if account:
        os.chown(data, account["user"], account["group"])
        os.chown(folder, account["user"], account["group"])
    port = free_port()

    def call(*words: str) -> None:
        subprocess.run(words, check=True, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **account)

    ctl = str(programs / "pg_ctl")
    options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={folder} -c fsync=off"
    try:
        call(
            str(programs / "initdb"), "-D", str(data), "-U", "yz", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8",
            "--no-sync",
        )  # fmt: skip
        call(ctl, "-D", str(data), "-w", "-o", options, "-l", str(folder / "log"), "start")
        try:
            yield f"postgresql+psycopg://yz@127.0.0.1:{port}/"
        finally:
            call(ctl, "-D", str(data), "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _account() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    entry = pwd.getpwnam("postgres")
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
