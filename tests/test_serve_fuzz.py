"""The whole OpenAPI, asked with what fits and what does not: no server error, and every reply as it is described."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import schemathesis
    from schemathesis import GenerationMode
    from schemathesis.specs.openapi.checks import positive_data_acceptance

from served import a_run, listens, service

FEW, MANY = 6, 300
ELSEWHERE = [positive_data_acceptance]
"""Checks that say nothing here: 422 is also the answer to what the grammar allows and the data do not, such as a column
that the items lack."""
SECRET = ("/v1/audit", "/v1/jobs", "/v1/keys")
NOT_FOR_ALL = r"/v1/(keys|models/\{name\}/(load|unload)).*"
"""A first key shuts out the fuzzer itself, and loads take seconds."""


@pytest.fixture(scope="module")
def described(tmp_path_factory) -> Iterator[Any]:
    # Its own, as what comes of all these requests would surprise the other tests.
    folder = a_run(tmp_path_factory.mktemp("runs"))
    with service(folder, rate=1e5, burst=100_000, gorse=True) as made, listens(made) as url:
        yield schemathesis.openapi.from_url(f"{url}/v1/openapi.json").exclude(path_regex=NOT_FOR_ALL)


def ask(described: Any, examples: int) -> None:
    """Each address with so many requests that fit its schema, and as many that do not."""
    for found in described.get_all_operations():
        operation = found.ok()
        for mode in GenerationMode.POSITIVE, GenerationMode.NEGATIVE:
            cases = operation.as_strategy(generation_mode=mode)

            @settings(
                max_examples=examples,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                phases=[Phase.explicit, Phase.generate],
                derandomize=True,
                database=None,
            )
            @given(case=cases)
            def check(case: Any) -> None:
                case.call_and_validate(excluded_checks=ELSEWHERE)

            with contextlib.suppress(Unsatisfiable):
                # Without a body or parameters there is nothing that does not fit.
                check()


def test_every_address_answers_as_it_is_described(described):
    ask(described, FEW)


@pytest.mark.slow
def test_every_address_answers_as_it_is_described_at_length(described):
    ask(described, MANY)


def test_the_description_names_every_error_that_there_is(described):
    raw = described.raw_schema
    for path, operations in raw["paths"].items():
        for method, operation in operations.items():
            if path.startswith("/v1/health"):
                continue
            assert {"401", "403", "413", "422", "429", "500", "503"} <= set(operation["responses"]), (method, path)
            assert operation["description"], (method, path)
            assert operation["x-scope"] in ("read", "write", "admin")
            if method == "get":
                assert operation["x-scope"] == "read" or path.rpartition("/")[2] == "config" or path.startswith(SECRET)
