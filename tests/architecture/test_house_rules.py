"""Rules of the house that a machine can hold: names, docstrings, configuration fields, imports, empty rooms."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

import cloud_hub.config
import edge_node.config

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("edge_node", "cloud_hub", "models", "protos/telemed", "deploy")
VAGUE_NAMES = {"utils", "common", "helpers", "core", "base", "manager", "handler", "service", "misc", "util"}


def python_files(*folders: str) -> list[Path]:
    """Return the product's own Python files below these folders, generated ones left out."""
    return sorted(
        path
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        if not path.name.endswith("_pb2.py") and "node_modules" not in path.parts
    )


def test_no_module_has_a_name_that_says_nothing() -> None:
    vague = [path for path in python_files(*SOURCES) if path.stem in VAGUE_NAMES or path.parent.name in VAGUE_NAMES]
    assert vague == []


def test_every_module_says_what_it_is_for() -> None:
    silent = [path for path in python_files(*SOURCES) if ast.get_docstring(ast.parse(path.read_text())) is None]
    assert silent == []


def test_package_fronts_hold_a_docstring_and_nothing_else() -> None:
    busy = [
        path
        for path in python_files("edge_node", "cloud_hub", "models", "protos/telemed")
        if path.name == "__init__.py" and len(ast.parse(path.read_text()).body) != 1
    ]
    assert busy == []


def test_the_contracts_are_imported_under_one_name() -> None:
    # Importing generated code as protos.telemed too would register every descriptor twice.
    wrong = [
        path
        for path in python_files(*SOURCES, "tests")
        if path != Path(__file__) and ("from protos" in path.read_text() or "import protos" in path.read_text())
    ]
    assert wrong == []


def sections(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """Yield every section class of a configuration module."""
    yield from model.__subclasses__()


@pytest.mark.parametrize("module", [edge_node.config, cloud_hub.config], ids=["edge", "hub"])
def test_every_configuration_field_is_described_and_unknown_keys_are_refused(module: object) -> None:
    base = module.Section  # type: ignore[attr-defined]
    undescribed = [
        f"{section.__name__}.{name}"
        for section in sections(base)
        for name, field in section.model_fields.items()
        if not field.description
    ]
    assert undescribed == []
    assert all(section.model_config.get("extra") == "forbid" for section in sections(base))


def test_no_file_names_a_package_registry_or_a_private_path() -> None:
    # A lock file with a host would tie every installation to that host.
    lock = ROOT / "cloud_hub/web/ui/package-lock.json"
    assert not lock.exists() or '"resolved": "http' not in lock.read_text()
