"""Templates and token batches."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genre.errors import ConfigError
from genre.text import batches_by_length, columns_of, render

ITEMS = pa.table(
    {
        "title": ["Alien", "", None],
        "year": [1979, None, 2001],
        "categories": [["Horror", "Sci-Fi"], [], None],
    }
)


def test_lists_are_joined_and_missing_values_leave_nothing_behind():
    assert render(ITEMS, "{title} ({year}). {categories}") == ["Alien (1979). Horror, Sci-Fi", "", "(2001)."]
    texts = render(ITEMS, "{title} {year} {categories}")
    assert texts == ["Alien 1979 Horror, Sci-Fi", "", "2001"]


def test_an_unknown_column_is_named_with_a_suggestion():
    with pytest.raises(ConfigError, match="no column 'titel'; did you mean 'title'"):
        render(ITEMS, "{titel}")


def test_braces_that_do_not_match_are_an_error():
    with pytest.raises(ConfigError, match=r"model\.template"):
        columns_of("{title")


@given(st.lists(st.integers(1, 60), min_size=1, max_size=200), st.integers(60, 600))
def test_every_text_is_in_one_batch_within_the_budget(lengths, budget):
    batches = list(batches_by_length(np.array(lengths), budget))
    rows = np.concatenate([batch.rows for batch in batches])
    assert sorted(rows) == list(range(len(lengths)))
    assert all(batch.length * len(batch.rows) <= budget for batch in batches)
    assert all(max(lengths[i] for i in batch.rows) == batch.length for batch in batches)
