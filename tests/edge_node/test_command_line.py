"""Bad configuration (reliability 4.4 row 40): refused with file, line and a hint, exit status 2."""

from pathlib import Path

import pytest

from edge_node.__main__ import main

GOOD = """[node]
region = "baoshan"
site = "baoshan-clinic"
node = "edge-clinic"
name_zh = "站"
name_en = "Site"
[buffer]
folder = "buffer"
[uplink]
secret_file = "secret"
[[beds]]
bed = "B01"
label = "01"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "node.toml"
    path.write_text(text, encoding="utf-8")
    (folder / "secret").write_text("secret\n")
    return path


def test_a_good_file_is_good(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-config", "--config", str(write(tmp_path, GOOD))]) == 0
    assert "ok" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new", "hint"),
    [
        ('folder = "buffer"', 'folder = "buffer"\nfoldr = 1', "node.toml:9: buffer.foldr"),
        ('folder = "buffer"', 'folder = "buffer"\nlimit_mib = "2 GB"', "node.toml:9: buffer.limit_mib"),
        ('folder = "buffer"', 'folder = "buffer"\ngroup_commit_ms = 500', "node.toml:9: buffer.group_commit_ms"),
        ('secret_file = "secret"', 'secret_file = "nowhere"', "uplink.secret_file"),
        ('secret_file = "secret"', 'secret_file = "secret"\nbroker_host = "hub.example.org"', "not loopback"),
        ('secret_file = "secret"', 'secret_file = "secret"\n[transfer]\nhub_host = "192.0.2.7"', "transfer.hub_host"),
        ('secret_file = "secret"', 'certificates = "pki"', "run `edge-node enrol` with a token"),
        ('label = "01"', 'label = "01"\n[bedside]\nhost = "0.0.0.0"', "bedside.host: not loopback, so passwords"),
        (
            'label = "01"',
            'label = "01"\n[bedside.https]\nhost = "0.0.0.0"\ncertificate_file = "no.pem"\nkey_file = "no.key"',
            "no.pem: No such file",
        ),
        ("[node]", "[node", "not valid TOML"),
        ('label = "01"', 'label = "01"\n[alarms]\nruleset = "no.toml"', "no.toml: cannot be read"),
    ],
)
def test_a_wrong_file_is_refused_with_its_place_and_a_hint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, hint: str
) -> None:
    path = write(tmp_path, GOOD.replace(old, new))
    for command in ("check-config", "serve"):
        assert main([command, "--config", str(path)]) == 2
        told = capsys.readouterr().err
        assert hint in told
        assert "Traceback" not in told


def test_a_file_that_is_not_there_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-config", "--config", str(tmp_path / "none.toml")]) == 2
    assert "cannot be read" in capsys.readouterr().err
