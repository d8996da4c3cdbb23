"""Generated code is current, and no message may change its meaning between versions."""

import re
from pathlib import Path

import pytest
from grpc_tools import protoc
from telemed import errors, screen
from telemed.v1 import alarm_pb2, event_pb2, reconcile_pb2, sample_pb2, talk_pb2, transfer_pb2, uplink_pb2

PROTOS = Path(__file__).resolve().parents[2] / "protos"
FILES = sorted((PROTOS / "telemed/v1").glob("*.proto"))


@pytest.mark.timeout(180)
def test_the_generated_code_is_that_of_the_proto_files(tmp_path: Path) -> None:
    names = [str(file.relative_to(PROTOS)) for file in FILES]
    assert protoc.main(["protoc", f"-I{PROTOS}", f"--python_out={tmp_path}", *names]) == 0
    for file in FILES:
        made = file.with_name(f"{file.stem}_pb2.py")
        assert made.read_text() == (tmp_path / made.relative_to(PROTOS)).read_text(), f"run `make protos`: {made.name}"


@pytest.mark.timeout(180)
def test_the_generated_calls_are_those_of_the_proto_files(tmp_path: Path) -> None:
    services = [file for file in FILES if "\nservice " in file.read_text()]
    names = [str(file.relative_to(PROTOS)) for file in services]
    assert protoc.main(["protoc", f"-I{PROTOS}", f"--grpc_python_out={tmp_path}", *names]) == 0
    for file in services:
        made = file.with_name(f"{file.stem}_pb2_grpc.py")
        assert made.read_text() == (tmp_path / made.relative_to(PROTOS)).read_text(), f"run `make protos`: {made.name}"


@pytest.mark.parametrize(
    "module",
    [alarm_pb2, event_pb2, reconcile_pb2, sample_pb2, talk_pb2, transfer_pb2, uplink_pb2],
    ids=lambda one: one.DESCRIPTOR.name,
)
def test_numbers_and_enums_follow_the_rules(module: object) -> None:
    descriptor = module.DESCRIPTOR  # type: ignore[attr-defined]
    for enum in descriptor.enum_types_by_name.values():
        assert enum.values_by_number[0].name.endswith("_UNSPECIFIED"), enum.name
    for message in descriptor.message_types_by_name.values():
        for field in message.fields:
            assert re.fullmatch(r"[a-z][a-z0-9_]*", field.name), field.full_name


def test_a_retired_name_cannot_come_back() -> None:
    text = (PROTOS / "telemed/v1/sample.proto").read_text()
    assert "reserved 4;" in text
    assert "patient_name" not in {field.name for field in sample_pb2.NumericSet.DESCRIPTOR.fields}


def test_unknown_fields_of_a_newer_edge_are_kept() -> None:
    newer = sample_pb2.NumericSet(source_ref="a").SerializeToString() + b"\xfa\x07\x01x"
    assert sample_pb2.NumericSet.FromString(newer).SerializeToString() == newer


def test_error_codes_are_stable_words() -> None:
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", code) for code in errors.Code)
    assert len({code.value for code in errors.Code}) == len(list(errors.Code))


def test_every_screen_text_is_in_both_languages() -> None:
    assert set(screen.Text2.model_fields) == {"zh", "en"}
    assert all(field.is_required() for field in screen.Text2.model_fields.values())


@pytest.mark.parametrize(
    "view", [view for view in vars(screen).values() if isinstance(view, type) and issubclass(view, screen.View)]
)
def test_no_screen_shape_takes_what_it_does_not_know(view: type[screen.View]) -> None:
    assert view.model_config["extra"] == "forbid"
    assert view.__doc__
