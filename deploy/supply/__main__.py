"""`python -m deploy.supply`: writes var/sbom (CycloneDX of edge, hub and screens) and docs/licences.md."""

import subprocess
import sys
from pathlib import Path

from deploy.supply import licences
from deploy.supply.licences import Component

ROOT = Path(__file__).resolve().parents[2]
SCREENS = ROOT / "cloud_hub/web/ui"
PAGE = ROOT / "docs/licences.md"
HEAD = """# Licences of what is shipped

Written by `make sbom`; `tests/deploy/test_supply.py` fails where a package is missing here or has a licence that does
not fit. The product itself is under Apache-2.0. Programs that run beside it and are not part of it (Mosquitto,
PostgreSQL, ModemManager) keep their own licences. LGPL-3.0 (psycopg) is imported as it is and can be replaced.
"""


def main() -> int:
    """Write all and return the exit status: 1 where a licence does not fit."""
    folder = ROOT / "var/sbom"
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("edge", "hub"):
        _bill_of_python(part, folder / f"{part}.cdx.json")
    _bill_of_screens(folder / "screens.cdx.json")
    found = shipped()
    PAGE.write_text(page(found), encoding="utf-8")
    misfits = [one for each in found.values() for one in each if not licences.is_taken(one.licence)]
    for one in misfits:
        print(f"{one.name} {one.version}: licence {one.licence or 'unknown'} does not fit", file=sys.stderr)
    print(
        f"{folder}: edge, hub, screens; {PAGE.relative_to(ROOT)}: {sum(len(each) for each in found.values())} packages"
    )
    return 1 if misfits else 0


def shipped() -> dict[str, list[Component]]:
    """Return what edge, hub and screens bring along, by part."""
    parts = {part: licences.locked((ROOT / f"deploy/locks/{part}.txt").read_text()) for part in ("edge", "hub")}
    return {
        **{f"{part} (Python)": licences.of_python(names) for part, names in parts.items()},
        "screens (npm)": licences.of_screens(SCREENS / "package-lock.json"),
    }


def page(found: dict[str, list[Component]]) -> str:
    """Return the page for people."""
    lines = [HEAD]
    for part, components in found.items():
        lines += [
            f"## {part}: {len(components)} packages",
            "",
            "| Package | Version | Licence (SPDX) |",
            "|---|---|---|",
        ]
        lines += [f"| {one.name} | {one.version} | {one.licence or 'unknown'} |" for one in components] + [""]
    return "\n".join(lines)


def _bill_of_python(part: str, file: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "cyclonedx_py", "requirements", f"deploy/locks/{part}.txt", "--pyproject",
         "pyproject.toml", "--output-reproducible", "--of", "JSON", "-o", str(file)],
        cwd=ROOT, check=True,
    )  # fmt: skip


def _bill_of_screens(file: Path) -> None:
    done = subprocess.run(
        ["npm", "sbom", "--sbom-format", "cyclonedx", "--omit", "dev"], cwd=SCREENS, check=True, stdout=subprocess.PIPE
    )
    file.write_bytes(done.stdout)


if __name__ == "__main__":
    raise SystemExit(main())
