"""Reports of models, read in the process in which files from outside are read."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydicom import dcmread
from telemed import ai_report
from telemed.ai_report import NotOurs

from cloud_hub.imaging.files import Unreadable

NO_REPORT = "no-report"


def report(path: Path) -> dict[str, Any]:
    """Return what a report of a model says, as `ai_report.Report` has it.

    Raises:
        Unreadable: it is no such report.
    """
    try:
        return asdict(ai_report.read_back(dcmread(path)))
    except NotOurs as error:
        raise Unreadable(NO_REPORT) from error
