"""What the hub has of what modalities were promised: each object once, with the bytes that were sent."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import httpx

from edge_node.imaging import part10
from tests.faults.transfers.modality import Image


@dataclass(frozen=True, slots=True)
class Faults:
    """SOP Instance UIDs that break the promise."""

    missing: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    altered: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.missing) + len(self.doubled) + len(self.altered)


def compare(
    promised: Iterable[Image], at_hub: Callable[[str], Counter[str]], given: Callable[[Image], bytes]
) -> Faults:
    """Hold what is at the hub against what was promised.

    Args:
        promised: the objects of the ledger.
        at_hub: how often a study's list names each SOP Instance UID.
        given: the data set that the hub gives for an object that it lists.
    """
    found, listed = Faults(), dict[str, Counter[str]]()
    for image in promised:
        if image.study not in listed:
            listed[image.study] = at_hub(image.study)
        times = listed[image.study][image.instance]
        if times == 0:
            found.missing.append(image.instance)
            continue
        if times > 1:
            found.doubled.append(image.instance)
        if given(image) != image.data_set:
            found.altered.append(image.instance)
    return found


@dataclass(frozen=True, slots=True)
class Hub:
    """The hub's DICOMweb as a program sees it."""

    client: httpx.Client
    _series: dict[str, str] = field(default_factory=dict)
    """Of the instances that were listed."""

    def listed(self, study: str) -> Counter[str]:
        """Return how often the hub lists each instance of a study; what a node makes of it may be among them."""
        answer = self.client.get(f"/dicom-web/studies/{study}/instances", params={"limit": 1000})
        if answer.status_code in (httpx.codes.NOT_FOUND, httpx.codes.NO_CONTENT):
            return Counter()
        answer.raise_for_status()
        found = [(row["00080018"]["Value"][0], row["0020000E"]["Value"][0]) for row in answer.json()]
        self._series.update(found)
        return Counter(instance for instance, _ in found)

    def data_set(self, image: Image) -> bytes:
        """Return the data set of an instance that was listed."""
        series = self._series[image.instance]
        address = f"/dicom-web/studies/{image.study}/series/{series}/instances/{image.instance}"
        answer = self.client.get(address, headers={"Accept": "application/dicom"})
        answer.raise_for_status()
        return bytes(part10.parted(answer.content).data)
