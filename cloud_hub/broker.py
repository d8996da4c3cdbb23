"""Starts and watches the embedded broker; writes the settings of an external Mosquitto.

python -m cloud_hub.broker mosquitto --secrets FILE --out FOLDER [--host H] [--port P]
"""

import argparse
import asyncio
import contextlib
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from cloud_hub.broker_certificates import Certified
from cloud_hub.broker_mosquitto import write_settings
from cloud_hub.broker_rights import load_users
from cloud_hub.config import BrokerConfig
from cloud_hub.errors import ConfigRefused

LONGEST_WAIT_S = 1.0
STEADY_AFTER_S = 10.0
STOP_WITHIN_S = 4.0
PORT_WITHIN_S = 5.0

log = structlog.get_logger()


class EmbeddedBroker:
    """The broker process: started by `run`, started again whenever it ends."""

    def __init__(
        self,
        config: BrokerConfig,
        on_start: Callable[[int], None] = lambda _pid: None,
        on_notice: Callable[[str, str], None] = lambda _what, _detail: None,
        certified: Certified | None = None,
    ) -> None:
        """Start nothing yet.

        Args:
            config: where to listen, and the secrets file.
            on_start: told the process id after every start.
            on_notice: told every report of the broker: what, and the details.
            certified: by whose certificates clients are known; None: by the secrets.
        """
        self._config = config
        self._on_start = on_start
        self._on_notice = on_notice
        self._certified = certified
        self._told_of_denied: asyncio.StreamWriter | None = None
        self._ready = asyncio.Event()
        self.pid: int | None = None
        """Process id while the broker runs."""
        self.notices: dict[str, int] = {}
        """How often the broker reported what, e.g. "connect-refused", "topic-refused", "taken-over"."""

    async def ready(self) -> None:
        """Wait until the broker listens."""
        await self._ready.wait()

    def denied(self) -> None:
        """Certificates were revoked, and stand in the authority's folder: their sessions are to end."""
        if self._told_of_denied is not None and not self._told_of_denied.is_closing():
            self._told_of_denied.write(b"denied\n")

    async def run(self) -> None:
        """Keep the broker running until cancelled; the process is ended before this returns.

        Raises:
            ConfigRefused: the secrets file cannot be used, or somebody else has the port.
        """
        if self._certified is None:
            load_users(self._config.secrets_file)
        await _port_free(self._config.host, self._config.port)
        wait_s = 0.1
        while True:
            began = time.monotonic()
            code = await self._run_once()
            self._ready.clear()
            lived_s = time.monotonic() - began
            wait_s = 0.1 if lived_s > STEADY_AFTER_S else min(wait_s * 2, LONGEST_WAIT_S)
            log.warning("broker-ended", code=code, lived_s=round(lived_s, 1), again_in_s=wait_s)
            await asyncio.sleep(wait_s)

    async def _run_once(self) -> int | None:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "cloud_hub.broker_process",
            f"--host={self._config.host}",
            f"--port={self._config.port}",
            *self._known_by(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        self.pid = process.pid
        self._told_of_denied = process.stdin
        self._on_start(process.pid)
        try:
            assert process.stdout is not None
            await self._listen(process.stdout)
            return await process.wait()
        finally:
            self.pid = self._told_of_denied = None
            await _end(process)

    def _known_by(self) -> list[str]:
        if self._certified is None:
            return [f"--secrets={self._config.secrets_file}"]
        return [f"--certificates={self._certified.folder}", f"--region={self._certified.region}"]

    async def _listen(self, lines: asyncio.StreamReader) -> None:
        while line := await lines.readline():
            text = line.decode(errors="replace").strip()
            if text == "ready":
                self._ready.set()
                log.info("broker-ready", port=self._config.port)
                continue
            source, _, rest = text.partition(" ")
            if source != "cloud_hub.broker" and not source.startswith("amqtt"):
                # The further lines of a traceback.
                continue
            what, _, detail = rest.partition(" ") if source == "cloud_hub.broker" else ("amqtt", " ", rest)
            self.notices[what] = self.notices.get(what, 0) + 1
            self._on_notice(what, detail)
            # A hostile client must not fill the log: powers of two only.
            if (self.notices[what] & (self.notices[what] - 1)) == 0:
                log.warning("broker-notice", what=what, detail=detail, times=self.notices[what])


async def _port_free(host: str, port: int) -> None:
    """Wait a little for the port: the broker of a hub that was killed needs a moment to notice."""
    until_s = time.monotonic() + PORT_WITHIN_S
    while True:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
                return
            except OSError as error:
                if time.monotonic() > until_s:
                    raise ConfigRefused(
                        f"broker.port: {host}:{port} cannot be used: {error.strerror}; "
                        "another broker runs there, or set kind = external"
                    ) from error
        await asyncio.sleep(0.1)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(STOP_WITHIN_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
    if process.stdin is not None:
        process.stdin.close()


def main() -> None:
    """Write the settings of an external broker."""
    parser = argparse.ArgumentParser(prog="cloud_hub.broker", description=__doc__)
    parser.add_argument("kind", choices=["mosquitto"])
    parser.add_argument("--secrets", type=Path, required=True, help="secrets file of the hub's [broker] section")
    parser.add_argument("--out", type=Path, required=True, help="folder for mosquitto.conf, passwords and rights")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=1883)
    options = parser.parse_args()
    write_settings(options.secrets, options.out, options.host, options.port)


if __name__ == "__main__":
    main()
