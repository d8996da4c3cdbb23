"""What the sources may not hold: text run as code, weak cryptography, guessable secrets, markup made from text."""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.architecture.test_house_rules import ROOT, python_files

SCREENS = ROOT / "cloud_hub/web/ui/src"
RUNS_TEXT = {"eval", "exec", "__import__", "system", "popen", "create_subprocess_shell"}
READS_OBJECTS = {"pickle", "marshal", "shelve", "dill", "yaml", "xml", "lxml"}
"""Formats that may carry code, or other files, into whoever reads them."""
WEAK = {"md5", "sha1", "MD5", "SHA1", "ECB", "CBC", "PKCS1v15", "ARC4", "TripleDES", "Blowfish", "DES"}
MARKUP = re.compile(
    r"dangerouslySetInnerHTML|innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function"
    r"|\.postMessage\(|\"message\"|<(?:object|embed|applet|iframe)\b"
)
STORAGE = re.compile(r"localStorage|sessionStorage|indexedDB|document\.cookie|caches\.open")
ELSEWHERE = re.compile(r"[\"'`(](?:https?:)?//(?!www\.w3\.org/)[a-z]", re.IGNORECASE)
PASSWORD_FIELD = re.compile(r"<Input[^>]*-password\"[^>]*>")


def runs_text(tree: ast.Module) -> Iterator[str]:
    """Yield what would run a text as code, by a shell or by a reader of objects."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", "") or getattr(node.func, "attr", "")
            is_shell = any(each.arg == "shell" for each in node.keywords)
            if name in RUNS_TEXT or is_shell:
                yield name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from READS_OBJECTS & set(imported(node))


def weak_cryptography(tree: ast.Module) -> Iterator[str]:
    """Yield the names of algorithms that are not to be used."""
    for node in ast.walk(tree):
        name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
        if name in WEAK:
            yield str(name)


def guessable(tree: ast.Module) -> Iterator[str]:
    """Yield every use of the module `random` but the one number that spreads a wait."""
    modules = [each for node in ast.walk(tree) if isinstance(node, ast.Import) for each in node.names]
    if any(isinstance(node, ast.ImportFrom) and node.module == "random" for node in ast.walk(tree)):
        yield "from random"
    if not any(each.name == "random" for each in modules):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "random" and node.attr != "random":
            yield node.attr


def foreign_formats(tree: ast.Module) -> Iterator[str]:
    """Yield what fills a format that is neither a constant of a module nor a text in one of the two languages."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and "format" in node.func.attr:
            filled = node.func.value
            name = getattr(filled, "id", "") or getattr(filled, "attr", "")
            is_ours = isinstance(filled, ast.Constant) or name.isupper() or name in ("zh", "en")
            if node.func.attr in ("format", "format_map", "vformat") and not is_ours:
                yield ast.unparse(node.func)


def imported(node: ast.Import | ast.ImportFrom) -> list[str]:
    """Return the outermost names that a line imports."""
    names = [each.name for each in node.names] if isinstance(node, ast.Import) else [node.module or ""]
    return [name.split(".")[0] for name in names]


def screens() -> dict[Path, str]:
    """Return the text of every source of the screens, and of the one script beside them."""
    paths = [*sorted(SCREENS.rglob("*.ts*")), ROOT / "cloud_hub/web/oauth_key.js"]
    return {path: path.read_text(encoding="utf-8") for path in paths}


Check = Callable[[ast.Module], Iterator[str]]
CHECKS: list[Check] = [runs_text, weak_cryptography, guessable, foreign_formats]


@pytest.mark.parametrize("check", CHECKS, ids=["runs text", "weak cryptography", "guessable", "foreign formats"])
def test_no_python_source_of_the_product_holds_any(check: Check) -> None:
    files = python_files("edge_node", "cloud_hub", "protos/telemed")
    found = {path: list(check(ast.parse(path.read_text(encoding="utf-8")))) for path in files}
    assert len(files) > 200
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (runs_text, "eval(text)"),
        (runs_text, "import os\nos.system(text)"),
        (runs_text, "subprocess.run(text, shell=True)"),
        (runs_text, "from xml.etree import ElementTree"),
        (runs_text, "import pickle"),
        (weak_cryptography, "hashlib.md5(text)"),
        (weak_cryptography, "from cryptography import x\nx.modes.ECB()"),
        (guessable, "import random\nrandom.choice(letters)"),
        (guessable, "from random import choice"),
        (foreign_formats, "asked.format(name=name)"),
        (foreign_formats, "form.get('text').format(name)"),
        (foreign_formats, "string.Formatter().vformat(text, (), {})"),
    ],
)
def test_a_source_that_holds_one_is_found(check: Check, text: str) -> None:
    assert list(check(ast.parse(text)))


def test_numbers_of_the_module_random_are_used_by_the_node_s_uplink_alone() -> None:
    files = python_files("edge_node", "cloud_hub", "protos/telemed")
    lines = {path: ast.walk(ast.parse(path.read_text(encoding="utf-8"))) for path in files}
    users = [
        path
        for path, nodes in lines.items()
        if any(isinstance(node, ast.Import) and "random" in imported(node) for node in nodes)
    ]
    assert users
    assert [path for path in users if "edge_node/uplink" not in str(path)] == []


def test_the_screens_make_no_markup_or_code_from_text_and_take_no_messages_of_other_windows() -> None:
    assert [path for path, text in screens().items() if MARKUP.search(text)] == []
    assert MARKUP.search("<p dangerouslySetInnerHTML={{ __html: name }} />")
    assert MARKUP.search('window.addEventListener("message", take)')


def test_the_browser_keeps_nothing_but_the_language() -> None:
    keepers = {path: text for path, text in screens().items() if STORAGE.search(text)}
    assert [path.relative_to(SCREENS).as_posix() for path in keepers] == ["i18n/index.ts"]
    (text,) = keepers.values()
    assert set(re.findall(r"Storage\.\w+\((\w+)", text)) == {"KEPT_AS"}
    assert re.search(r'KEPT_AS = "[\w.-]*lang\w*"', text)


def test_the_screens_name_no_other_host() -> None:
    pages = [*screens().items(), *((path, path.read_text()) for path in SCREENS.parent.glob("entries/*/index.html"))]
    assert [path for path, text in pages if ELSEWHERE.search(text)] == []
    assert ELSEWHERE.search('<script src="//cdn.example/a.js">')


def test_password_fields_are_masked_and_open_to_password_managers() -> None:
    found = [field for text in screens().values() for field in PASSWORD_FIELD.findall(text)]
    assert len(found) == 5
    for field in found:
        assert 'type="password"' in field or field.startswith("<Input.Password")
        assert re.search(r'autoComplete="(current|new)-password"', field)
    assert [path for path, text in screens().items() if re.search(r"onPaste|onCopy|preventDefault.*paste", text)] == []
