"""What a model says about a study: the one form from which SR, segmentations and FHIR are made."""

from dataclasses import dataclass
from typing import Literal

PHANTOM = "synthetic phantom"
"""Training data of weights that have never seen a patient: refused on patients unless research is switched on."""

Status = Literal["UNVERIFIED"]
"""A model's word is never more than this; a physician's acceptance is a document of its own."""


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Which model, as which weights, said it."""

    task: str
    version: str
    weights_sha256: str
    training_data: str

    @property
    def is_phantom_trained(self) -> bool:
        """True where every output must carry the research mark."""
        return self.training_data == PHANTOM


@dataclass(frozen=True, slots=True)
class Sphere:
    """A round finding in the patient."""

    centre_mm: tuple[float, float, float]
    """LPS."""
    diameter_mm: float


@dataclass(frozen=True, slots=True)
class AiResult:
    """One finding of one model in one study."""

    code: str
    """Of the finding, in the dictionary of the task."""
    place: Sphere
    confidence: float
    """Probability after calibration, 0 to 1."""
    model: ModelIdentity
    series_uid: str
    key_image_uid: str | None
    """SOP instance that shows it best; None where the input had no instances."""
    limits: str
    """What the reader must know about what this model was trained on and how often it errs."""
    region: str | None = None
    """Anatomical region, where the task knows one."""
    status: Status = "UNVERIFIED"
