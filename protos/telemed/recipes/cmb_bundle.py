"""What the manifest of a microbleed bundle says to the recipes, written and read: makers and nodes must agree on it."""

from typing import Any

from telemed.bundle import Manifest
from telemed.recipes.cmb import Settings, settings_of
from telemed.recipes.volume import Shape

DETECTOR, REGIONS = "detector", "regions"
"""Names of the graphs; a bundle without the second says nothing of regions."""
DETECTOR_INPUT, OBJECTNESS, DELTAS = "volume", "objectness", "deltas"
REGIONS_INPUT, REGIONS_OUTPUT = "slab", "regions"
SCORE = "score"
"""Name of the threshold: least probability, uncalibrated, of a finding that is told."""


def told(settings: Settings, regions_window: Shape) -> dict[str, Any]:
    """Return the entries of a manifest's draft that say the settings."""
    return {
        "parameters": {
            "window_voxels": list(settings.window_shape),
            "stride_voxels": settings.grid.stride_voxels,
            "spacing_mm": settings.grid.spacing_mm,
            "calibration": list(settings.calibration),
            "regions_window_voxels": list(regions_window),
        },
        "thresholds": {SCORE: settings.threshold},
        "anchors": [list(settings.grid.sizes_mm)],
    }


def settings_in(manifest: Manifest) -> Settings:
    """Return the settings that a manifest says.

    Raises:
        KeyError, TypeError, ValueError: something is missing, or is not what it should be.
    """
    (anchors_mm,) = manifest.anchors
    return settings_of({**manifest.parameters, "anchors_mm": anchors_mm, "threshold": manifest.thresholds[SCORE]})


def regions_window_in(manifest: Manifest) -> Shape:
    """Return the window of the region graph that a manifest says.

    Raises:
        KeyError, TypeError, ValueError: it is missing, or is no window.
    """
    said = manifest.parameters["regions_window_voxels"]
    if not isinstance(said, tuple):
        raise TypeError("regions_window_voxels: three numbers")
    depth, rows, columns = (int(each) for each in said)
    return depth, rows, columns
