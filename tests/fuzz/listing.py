"""All targets, by name."""

from tests.fuzz.target import Target
from tests.fuzz.targets import (
    archives,
    arrivals,
    bundles,
    datagrams,
    images,
    monitors,
    pages,
    recordings,
    records,
    settings,
    transfers,
)

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        monitors.MLLP,
        monitors.HL7,
        records.CONTAINER,
        records.PAYLOAD,
        datagrams.DATAGRAM,
        transfers.OFFER,
        transfers.LACKING,
        transfers.PIECE,
        transfers.MARKS,
        settings.HUB,
        settings.EDGE,
        settings.SEED,
        settings.BROKER,
        settings.ADMISSIONS,
        settings.RULES,
        pages.BODY,
        pages.SEARCH,
        pages.SIGNAL,
        pages.DESCRIPTION,
        pages.OFFER,
        recordings.WFDB,
        recordings.EDF,
        images.DATA_SET,
        images.FILE,
        archives.LIST,
        arrivals.MULTIPART,
        arrivals.HEADER,
        arrivals.LINES,
        bundles.BUNDLE,
        bundles.MANIFEST,
        bundles.ONNX,
        bundles.GOLDEN,
    )
}
