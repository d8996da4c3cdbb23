"""Requests that schemathesis makes of a face's OpenAPI document, and what is wrong with the answers."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import requests.exceptions
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
Signed = Callable[[], dict[str, Any]]
"""Sign in, and return headers and cookies as a call takes them."""
TRIES = 3
# What is made up for a body of files goes out as it is, under a type that names no boundary.
schemathesis.serializer.alias("multipart/related", "text/plain")
SIGN_OUT = ("DELETE", "/api/v1/session")


@dataclass(slots=True)
class Face:
    """A face under trial by one role."""

    url: str
    signed: Signed
    examples: int
    """Requests of each operation; half of them as the document has them, half spoilt."""
    known: Mapping[str, str] = field(default_factory=dict)
    """What is there, by the name of a parameter or field; put into every second request that has it."""
    requests: int = 0
    wrong: dict[str, str] = field(default_factory=dict)
    """Operation and failure -> the request that showed it first."""

    def operations(self) -> Iterator[Any]:
        """Yield the operations of the document that the face shows."""
        schema = schemathesis.openapi.from_dict(httpx.get(f"{self.url}/openapi.json", timeout=20).json())
        for found in schema.get_all_operations():
            assert isinstance(found, Ok), found
            yield found.ok()

    def run(self) -> None:
        """Make the requests of all operations, the same ones each time."""
        access = self.signed()
        for number, operation in enumerate(self.operations()):
            self._try(number, operation, access)
            if (operation.method.upper(), operation.path) == SIGN_OUT:
                access = self.signed()

    def _try(self, number: int, operation: Any, access: dict[str, Any]) -> None:
        def judge(case: Any) -> None:
            self.requests += 1
            if self.requests % 2:
                self._name_what_is_there(case)
            try:
                response = self._answer(case, access)
                case.validate_response(response, checks=CHECKS)
            except FailureGroup as failures:
                for failure in failures.exceptions:
                    self._note(operation, case, failure)

        rounds = settings(
            max_examples=self.examples,
            database=None,
            phases=(Phase.explicit, Phase.generate),
            suppress_health_check=list(HealthCheck),
        )
        modes = [GenerationMode.POSITIVE]
        if operation.body or len(operation.query) or len(operation.path_parameters):
            modes.append(GenerationMode.NEGATIVE)
        cases = st.one_of([operation.as_strategy(generation_mode=mode) for mode in modes])
        seed(number)(rounds(given(case=cases)(judge)))()

    def _answer(self, case: Any, access: dict[str, Any]) -> Any:
        """Ask, again where the answer was cut off.

        A server that refuses a request before it has read all of it resets the connection, and the answer may be lost.
        """
        for left in reversed(range(TRIES)):
            try:
                return case.call(base_url=self.url, timeout=20, **access)
            except (requests.exceptions.ConnectionError, requests.exceptions.ChunkedEncodingError):
                if not left:
                    raise
        raise AssertionError("unreachable")

    def _name_what_is_there(self, case: Any) -> None:
        for place in (case.path_parameters, case.body):
            if isinstance(place, dict):
                place.update({name: value for name, value in self.known.items() if name in place})

    def _note(self, operation: Any, case: Any, failure: Exception) -> None:
        what = f"{operation.method.upper()} {operation.path}: {type(failure).__name__}: {str(failure)[:300]}"
        self.wrong.setdefault(what, case.as_curl_command()[:500])
