"""Programs of DCMTK (Debian: dcmtk), the independent peer of everything that speaks DICOM."""

import os
import shutil
import sysconfig
from pathlib import Path

import pytest


def program(name: str) -> str:
    """Return where a program of DCMTK lies: pynetdicom installs others of the same names into the environment.

    Raises:
        FileNotFoundError: DCMTK is not installed.
    """
    own = Path(sysconfig.get_path("scripts")).resolve()
    places = [place for place in os.get_exec_path() if Path(place).resolve() != own]
    found = shutil.which(name, path=os.pathsep.join(places))
    if found is None:
        raise FileNotFoundError(f"{name} of DCMTK is not installed")
    return found


def _is_installed() -> bool:
    try:
        return bool(program("storescu"))
    except FileNotFoundError:
        return False


needs_dcmtk = pytest.mark.skipif(not _is_installed(), reason="DCMTK is not installed (Debian: dcmtk)")
