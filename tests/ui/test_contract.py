"""The page's types are what the server's shapes say."""

import importlib.util
from pathlib import Path

UI = Path(__file__).parents[2] / "cloud_hub" / "web" / "ui"


def test_the_pages_contract_is_the_one_written_from_the_servers_shapes() -> None:
    spec = importlib.util.spec_from_file_location("yuanzhen_ui_contract", UI / "scripts" / "contract.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    written = (UI / "src" / "contract.ts").read_text(encoding="utf-8")
    assert script.document() == written, "run: python scripts/contract.py > src/contract.ts"


def test_the_lock_file_names_no_registry() -> None:
    lock = (UI / "package-lock.json").read_text(encoding="utf-8")
    assert '"resolved"' not in lock
    assert "://registry" not in lock
