"""Which studies are to be read by which models now.  Pure."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from edge_node.imaging.study import Instance, Study


@dataclass(frozen=True, slots=True)
class Duty:
    """A bundle that is on duty for a task."""

    task: str
    version: str
    bundle_id: str


@dataclass(frozen=True, slots=True)
class Waits:
    """Between which ages a study is read."""

    quiet_ns: int
    """Nothing must have come of it for so long: it is complete."""
    within_ns: int
    """What came longer ago is not read any more: a new model is not let loose on all that was ever kept."""


@dataclass(frozen=True, slots=True)
class Sources:
    """The images of a study that a task may read."""

    instances: tuple[Instance, ...]
    """The first content of each."""
    differing: frozenset[str]
    """SOP Instance UIDs of which there are several contents."""

    @property
    def digest(self) -> str:
        """Names this content: the same images give the same word, whatever else came into the study."""
        return hashlib.sha256("".join(sorted(each.sha256 for each in self.instances)).encode()).hexdigest()


def due(studies: Iterable[Study], duties: Sequence[Duty], now_ns: int, waits: Waits) -> Iterator[tuple[Study, Duty]]:
    """Yield each study that is complete and not too old, with each model, the oldest study first."""
    for study in sorted(studies, key=lambda each: each.last_ns):
        age_ns = now_ns - study.last_ns
        if study.study_uid and waits.quiet_ns <= age_ns <= waits.within_ns:
            yield from ((study, duty) for duty in duties)


def sources(instances: Iterable[Instance], modality: str) -> Sources:
    """Return the images of a modality; what this node made itself is of others."""
    own = [each for each in instances if each.modality.upper() == modality.upper()]
    first = tuple(sorted((each for each in own if each.version == 1), key=lambda each: each.sop_instance_uid))
    return Sources(first, frozenset(each.sop_instance_uid for each in own if each.version > 1))
