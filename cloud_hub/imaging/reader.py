"""The process in which files from outside are read: `python -m cloud_hub.imaging.reader MEMORY_MIB`.

An answer when it is ready, then one line of JSON in and one answer out: four bytes with the length of a JSON head, the
head, and as many bytes as it names.
Decoders of compressed images are C code and files are hostile, so that this process may hold only so much memory, may
write nothing, and is killed by the hub where it takes too long.  It ends with its standard input.
"""

import json
import logging
import os
import resource
import sys
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from pydicom import config
from telemed import study
from telemed.study import ManifestUnreadable

from cloud_hub.imaging import files, pixels, reports
from cloud_hub.imaging.files import Unreadable

LENGTH_BYTES = 4
OUT_OF_MEMORY = "too-heavy"
UNREADABLE = "unreadable"
BAD_MANIFEST = "bad-manifest"
MIB = 1 << 20


def main() -> None:
    """Answer until standard input ends."""
    _bound(int(sys.argv[1]))
    logging.disable(logging.CRITICAL)  # pydicom's warnings quote values
    warnings.simplefilter("ignore")
    config.settings.reading_validation_mode = config.IGNORE
    _write(sys.stdout.buffer, "", {}, b"")  # ready
    for line in sys.stdin.buffer:
        is_last = _answer(json.loads(line), sys.stdout.buffer)
        if is_last:
            return


def work(asked: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """Do what is asked; return what is told of it and the bytes, if any.

    Raises:
        Unreadable: it cannot be done with this file.
    """
    path = Path(asked["path"])
    match asked["do"]:
        case "header":
            return asdict(files.header(path)), b""
        case "manifest":
            return _manifest(path), b""
        case "metadata":
            return {}, json.dumps(files.metadata(path, asked["address"], asked["query"])).encode()
        case "report":
            return reports.report(path), b""
        case "verified":
            # Its library takes a second to load, which no reader of images shall wait for.
            from cloud_hub.imaging import verified  # noqa: PLC0415

            return {}, verified.verified(path, asked["verify"])
        case "bulk":
            return {}, files.bulk_value(path, asked["tags"])
        case "stored":
            return {}, pixels.stored_frame(path, asked["index"])
        case "decoded":
            return {}, pixels.decoded_frame(path, asked["index"])
        case "picture":
            window, viewport = asked["window"], asked["viewport"]
            look = pixels.Look(asked["picture"], window and tuple(window), viewport and tuple(viewport))
            return {}, pixels.picture(path, asked["index"], look)
    raise ValueError("nothing that a reader does")


def _manifest(path: Path) -> dict[str, Any]:
    """Return what the index takes from a manifest; its objects are known by their own files, and counted here."""
    try:
        with path.open("rb") as file:
            found = study.unpack(file.read(study.MANIFEST_LIMIT_BYTES + 1))
    except ManifestUnreadable as error:
        raise Unreadable(BAD_MANIFEST) from error
    told = {"study_id": found.study_id, "person_id": found.person_id, "generation": found.generation}
    told |= {"study_uid": found.study_uid, "study_date": found.study_date, "description": found.description}
    modalities = sorted({one.modality for one in found.objects})
    return told | {"objects": len({one.sha256 for one in found.objects}), "modalities": modalities}


def _answer(asked: dict[str, Any], out: BinaryIO) -> bool:
    """Write one answer; True where the process is to end, because its memory is used up."""
    code, told, body = "", dict[str, Any](), b""
    try:
        told, body = work(asked)
    except Unreadable as error:
        code = error.code
    except MemoryError:
        code = OUT_OF_MEMORY
    except Exception:  # whatever a hostile file does to a reader, nothing can be told of it
        code = UNREADABLE
    _write(out, code, told, body)
    return code == OUT_OF_MEMORY


def _write(out: BinaryIO, code: str, told: dict[str, Any], body: bytes) -> None:
    head = json.dumps({"code": code, "told": told, "bytes": len(body)}).encode()
    out.write(len(head).to_bytes(LENGTH_BYTES, "big") + head)
    out.write(body)
    out.flush()


def _bound(memory_mib: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory_mib * MIB, memory_mib * MIB))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(5)  # pictures wait for alarms, never the other way round


if __name__ == "__main__":
    main()
