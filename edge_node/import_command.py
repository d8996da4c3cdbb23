"""`edge-node import`: hands a volume, photo or PDF to the node, which makes DICOM of it; waits for what becomes of it.

Beside a running node, which alone knows whose identifier that is; one that does not run imports it once it does.
"""

import argparse
import shutil
import time
from pathlib import Path

from pydantic import ValidationError

from edge_node.config import EdgeConfig
from edge_node.errors import ConfigRefused, FileUnusable
from edge_node.importing import gathering, handing
from edge_node.importing.asking import Ask
from edge_node.importing.imports import JOBS
from edge_node.importing.reasons import NotImported

NAME = "import"
LOOK_EVERY_S = 0.2


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Give the parser its arguments."""
    command.add_argument("file", type=Path, metavar="FILE", help="MHD, MHA, NRRD, NIfTI, GIPL, VTI, JPEG, PNG or PDF")
    command.add_argument("--patient", required=True, metavar="MRN", help="identifier of the person at this site")
    command.add_argument("--issuer", default="", help="who gave the identifier, where several people have it")
    command.add_argument("--modality", default="", metavar="CT|MR", help="of a volume, which does not say it itself")
    command.add_argument("--description", default="", help="what was examined")
    command.add_argument("--date", default="", metavar="YYYY-MM-DD", help="day of the examination")
    command.add_argument("--axes", default="", metavar="LPS|RAS", help="of a volume that does not say where left is")
    command.add_argument("--wait", type=float, default=600, metavar="SECONDS", help="how long to wait for the answer")


def run(config: EdgeConfig, asked: argparse.Namespace) -> list[str]:
    """Do the command; return what to print.

    Raises:
        ConfigRefused: this node takes no images.
        FileUnusable: it is not imported, or not within the time.
    """
    if config.imaging is None or config.imaging.folder is None:
        raise ConfigRefused("imaging: the section is not there, so this node takes no images")
    folder: Path | None = None
    try:
        said = Ask.model_validate({name: getattr(asked, name) for name in Ask.model_fields})
        folder = handing.new_folder(config.imaging.folder / JOBS)
        path = gathering.gather(asked.file, folder).path
        handing.say(path, said)
    except ValidationError as error:
        told = "; ".join(f"--{'.'.join(map(str, row['loc'][:1]))}: {row['msg']}" for row in error.errors())
        raise FileUnusable(told) from error
    except (NotImported, OSError) as error:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        raise FileUnusable(f"{asked.file}: {error}") from error
    return [_answer(path, asked.wait)]


def _answer(path: Path, limit_s: float) -> str:
    """Wait for what became of a file, and leave nothing behind.

    Raises:
        FileUnusable: it is refused, or nothing is known within the time.
    """
    until_s = time.monotonic() + limit_s
    while time.monotonic() < until_s:
        became = handing.became(path)
        if became is not None:
            shutil.rmtree(path.parent, ignore_errors=True)
            if not became.is_imported:
                raise FileUnusable(became.text)
            return became.text
        time.sleep(LOOK_EVERY_S)
    raise FileUnusable("已排队，尚未导入；节点在运行吗？ / queued, and not imported yet; is the node running?")
