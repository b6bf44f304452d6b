"""Columns of text."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.table import aligned

WORD = st.text("abc", min_size=1, max_size=6)


@given(st.lists(st.tuples(WORD, WORD, WORD), min_size=1, max_size=6))
def test_cells_of_a_column_begin_at_the_same_place(rows: list[tuple[str, str, str]]) -> None:
    lines = aligned(rows)

    begin = 0
    for column in range(3):
        for line, row in zip(lines, rows, strict=True):
            assert line[begin:].startswith(row[column])
        begin += max(len(row[column]) for row in rows) + 2


def test_no_rows_are_no_lines() -> None:
    assert aligned([]) == []
