"""A real Orthanc with its DICOMweb on a free port, in a folder of the test: the archive of a hospital."""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from cloud_hub.config import ArchiveConfig
from tests.fakes.ports import free_port

PROGRAM = shutil.which("Orthanc") or "/usr/sbin/Orthanc"
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
USER, PASSWORD = "yuanzhen", "an-archive-that-asks-0001"
SYSTEM = "urn:hospital:mrn"
START_LIMIT_S = 30
needed = pytest.mark.skipif(not Path(PROGRAM).exists() or not PLUGIN.exists(), reason="needs orthanc, orthanc-dicomweb")


@dataclass(frozen=True, slots=True)
class Orthanc:
    """One that serves."""

    folder: Path
    port: int

    @property
    def url(self) -> str:
        """Address of its DICOMweb."""
        return f"http://127.0.0.1:{self.port}/dicom-web"

    def config(self, password: str = PASSWORD, **more: object) -> ArchiveConfig:
        """Return how a hub is told of it."""
        file = self.folder / "password"
        file.write_text(password + "\n")
        told = {"url": self.url, "identifier_system": SYSTEM, "user": USER, "password_file": file}
        return ArchiveConfig.model_validate(told | more)

    def store(self, *contents: bytes) -> None:
        """Store files as a modality's gateway does."""
        for content in contents:
            self._ask("POST", "/instances", content)

    def clear(self) -> None:
        """Delete everything."""
        for patient in self._ask("GET", "/patients").json():
            self._ask("DELETE", f"/patients/{patient}")

    def _ask(self, method: str, path: str, content: bytes | None = None) -> httpx.Response:
        root = f"http://127.0.0.1:{self.port}"
        answer = httpx.request(method, root + path, content=content, auth=(USER, PASSWORD), trust_env=False)
        assert answer.is_success, answer.text
        return answer


@contextmanager
def running(folder: Path) -> Iterator[Orthanc]:
    """Run one until the block ends."""
    port = free_port()
    settings = {
        "Name": "archive",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "HttpPort": port,
        "DicomServerEnabled": False,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": True,
        "RegisteredUsers": {USER: PASSWORD},
        "SslEnabled": False,
        "SyncStorageArea": False,
        "DefaultEncoding": "Utf8",
        "Plugins": [str(PLUGIN)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "orthanc.log").open("wb") as log:
        process = subprocess.Popen([PROGRAM, str(folder / "orthanc.json")], stdout=log, stderr=log)
        try:
            _await(process, port)
            yield Orthanc(folder, port)
        finally:
            process.terminate()
            process.wait(20)


def _await(process: "subprocess.Popen[bytes]", port: int) -> None:
    until = time.monotonic() + START_LIMIT_S
    while time.monotonic() < until and process.poll() is None:
        try:
            answer = httpx.get(f"http://127.0.0.1:{port}/dicom-web/studies", auth=(USER, PASSWORD), trust_env=False)
            if answer.is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise RuntimeError("Orthanc does not start")
