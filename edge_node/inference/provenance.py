"""What a result says of where it came from, and on whom a model may be run.  Pure."""

from dataclasses import dataclass
from enum import Enum

from telemed.bundle import AI_MARK, RESEARCH_MARK, Bundle

from edge_node.errors import NotForPatients
from edge_node.inference.engine import EVERYWHERE, Choice


class Subject(Enum):
    """Of whom the input is."""

    PATIENT = "patient"
    PHANTOM = "phantom"  # made by a program or of plastic, marked so where it was made


@dataclass(frozen=True, slots=True)
class Provenance:
    """Stored with every result: model, engine, machine."""

    task: str
    version: str
    bundle_id: str
    library: str
    library_version: str
    device: str
    precision: str
    is_for_research: bool
    """Whether the weights saw phantoms alone."""
    is_slow_path: bool
    """Whether it ran on the processor although this node has something faster for it."""

    def marks(self) -> list[tuple[str, str]]:
        """Return what every output must bear: Chinese, English."""
        return [AI_MARK, RESEARCH_MARK] if self.is_for_research else [AI_MARK]


def of(bundle: Bundle, ran: Choice, loaded: tuple[str, str], chosen: Choice) -> Provenance:
    """Return what a result of a bundle says.

    Args:
        bundle: what was run.
        ran: by what.
        loaded: version of the library, and the device.
        chosen: by what it was to be run.
    """
    manifest = bundle.manifest
    return Provenance(
        manifest.task,
        manifest.version,
        bundle.bundle_id,
        ran.library,
        loaded[0],
        loaded[1],
        ran.precision,
        manifest.is_for_research,
        is_slow_path=ran == EVERYWHERE and chosen != EVERYWHERE,
    )


def check(bundle: Bundle, subject: Subject, *, is_research: bool) -> None:
    """Look whether a model may be run on somebody.

    Raises:
        NotForPatients: its weights saw phantoms alone, and this node is not set up for research.
    """
    if bundle.manifest.is_for_research and subject is Subject.PATIENT and not is_research:
        raise NotForPatients(
            f"{bundle.manifest.task} {bundle.manifest.version}: trained on phantoms, and inference.research is off"
        )
