"""Every measure beside a plain reading of its definition."""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidscope_deid.tables.classes import group, spread
from reidscope_deid.tables.closeness import equal_distance, hierarchical_distance, ordered_distance
from reidscope_deid.tables.diversity import recursive_ratio
from reidscope_deid.tables.plan import ColumnPlan
from reidscope_deid.tables.reading import Column
from reidscope_deid.tables.reidentification import population_risk, sample_risk
from reidscope_deid.tables.report import measure_codes
from reidscope_deid.tables.sensitive import Sensitive, build_sensitive

Rows = list[tuple[int, int, int]]
rows_of = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=40
)


def columns(rows: Rows) -> list[np.ndarray]:
    return [np.array(column) for column in zip(*rows, strict=True)]


def held(rows: Rows) -> list[Counter[int]]:
    classes: defaultdict[tuple[int, int], Counter[int]] = defaultdict(Counter)
    for first, second, value in rows:
        classes[first, second][value] += 1
    return list(classes.values())


def sensitive(codes: np.ndarray, distance: str = "equal") -> Sensitive:
    values = tuple(map(str, range(int(codes.max()) + 1)))
    return Sensitive(name="s", distance=distance, values=values, codes=codes, levels=())


def moved(counts: Counter[int], whole: Counter[int], apart: dict[tuple[int, int], float]) -> float:
    """Earth mover's distance by sending every row's share to the cheapest open place, all orders.

    Exact: shares are whole numbers of 1 / (class x table), and few enough to solve as an
    assignment by successive shortest paths.
    """
    n, total = counts.total(), whole.total()
    supply = {v: counts[v] * total for v in counts}
    demand = {v: whole[v] * n for v in whole}
    flow: dict[tuple[int, int], int] = defaultdict(int)
    cost = 0.0
    nodes = [("s", v) for v in supply] + [("d", v) for v in demand]
    while any(supply.values()):
        # Bellman-Ford over the residual graph
        dist = {node: (0.0 if node[0] == "s" and supply[node[1]] else math.inf) for node in nodes}
        before: dict[tuple[str, int], tuple[str, int]] = {}
        for _ in nodes:
            for a, b in itertools.product(supply.keys() | counts.keys(), demand):
                if dist["s", a] + apart[a, b] < dist["d", b] - 1e-12:
                    dist["d", b], before["d", b] = dist["s", a] + apart[a, b], ("s", a)
                if flow[a, b] and dist["d", b] - apart[a, b] < dist["s", a] - 1e-12:
                    dist["s", a], before["s", a] = dist["d", b] - apart[a, b], ("d", b)
        end = min((("d", b) for b in demand if demand[b]), key=lambda node: dist[node])
        path = [end]
        while path[-1] in before:
            path.append(before[path[-1]])
        steps = list(itertools.pairwise(reversed(path)))
        amount = min(
            [supply[path[-1][1]], demand[end[1]]]
            + [flow[b[1], a[1]] for a, b in steps if a[0] == "d"]
        )
        for a, b in steps:
            if a[0] == "s":
                flow[a[1], b[1]] += amount
            else:
                flow[b[1], a[1]] -= amount
        supply[path[-1][1]] -= amount
        demand[end[1]] -= amount
        cost += amount * dist[end]
    return cost / (n * total)


@settings(deadline=None)
@given(rows_of)
def test_every_measure_is_what_its_definition_says(rows: Rows) -> None:
    first, second, values = columns(rows)
    found = measure_codes([first, second], [sensitive(values)])
    classes, whole = held(rows), Counter(values.tolist())
    sizes = [counts.total() for counts in classes]
    assert found.sample.k == min(sizes)
    assert found.sample.classes == len(classes)
    assert found.sample.uniques == sizes.count(1)
    assert found.sample.histogram == dict(sorted(Counter(sizes).items()))
    assert found.sample.prosecutor_max == pytest.approx(max(1 / size for size in sizes))
    assert found.sample.average == pytest.approx(
        sum(size * (1 / size) for size in sizes) / len(rows)
    )
    assert found.sample.above["0.2"] == sum(size for size in sizes if size < 5) / len(rows)
    one = found.attributes[0]
    p = {value: count / len(rows) for value, count in whole.items()}
    shares = [{v: n / counts.total() for v, n in counts.items()} for counts in classes]
    assert one.distinct_l == min(map(len, classes))
    assert one.entropy_l == pytest.approx(
        min(math.exp(-sum(q * math.log(q) for q in share.values())) for share in shares)
    )
    assert one.alpha == pytest.approx(max(max(share.values()) for share in shares))
    assert one.basic_beta == pytest.approx(
        max((share.get(v, 0) - p[v]) / p[v] for share in shares for v in p), abs=1e-9
    )
    assert one.log_ratio == pytest.approx(
        max(abs(math.log(q / p[v])) for share in shares for v, q in share.items()), abs=1e-9
    )
    for l, c in one.recursive_c.items():  # noqa: E741 - the literature's own name
        ranked = [sorted(counts.values(), reverse=True) for counts in classes]
        assert c == pytest.approx(max(r[0] / sum(r[l - 1 :]) for r in ranked))


@settings(max_examples=60, deadline=None)
@given(rows_of)
def test_distances_are_the_least_work_of_moving_earth(rows: Rows) -> None:
    first, second, values = columns(rows)
    classes = group([first, second])
    pairs = spread(classes.of_row, values, classes=len(classes), kinds=5)
    inside = {
        number: Counter(values[classes.of_row == number].tolist()) for number in range(len(classes))
    }
    whole = Counter(values.tolist())
    rank = {value: place for place, value in enumerate(sorted(whole))}
    tree = [np.arange(5), np.array([0, 0, 1, 1, 1]), np.array([0, 0, 1, 1, 1])]
    both = list(itertools.product(range(5), repeat=2))
    equal = {(a, b): float(a != b) for a, b in both}
    ordered = {
        (a, b): abs(rank[a] - rank[b]) / max(len(rank) - 1, 1)
        for a, b in both
        if a in rank and b in rank
    }
    height = {(a, b): sum(level[a] != level[b] for level in tree) / 3 for a, b in both}
    for number, counts in inside.items():
        assert equal_distance(pairs)[number] == pytest.approx(moved(counts, whole, equal))
        assert ordered_distance(pairs)[number] == pytest.approx(moved(counts, whole, ordered))
        assert hierarchical_distance(pairs, tree)[number] == pytest.approx(
            moved(counts, whole, height)
        )


@settings(max_examples=40, deadline=None)
@given(rows_of, st.randoms(use_true_random=False))
def test_the_order_of_rows_and_columns_changes_nothing(rows: Rows, random: object) -> None:
    first, second, values = columns(rows)
    place = np.random.default_rng(random.randint(0, 99)).permutation(len(rows))  # type: ignore[attr-defined]  # hypothesis gives a random.Random
    before = measure_codes([first, second], [sensitive(values, "ordered")], sampling_fraction=0.1)
    after = measure_codes(
        [second[place], first[place]],
        [sensitive(values[place], "ordered")],
        sampling_fraction=0.1,
    )
    assert after.sample == before.sample
    assert after.uniqueness == before.uniqueness
    assert after.attributes[0].t == pytest.approx(before.attributes[0].t)
    assert after.attributes[0].entropy_l == pytest.approx(before.attributes[0].entropy_l)


@given(st.lists(st.tuples(*[st.integers(0, 3)] * 5), min_size=1, max_size=60), st.data())
def test_rows_weighed_are_rows_repeated(rows: list[tuple[int, ...]], data: st.DataObject) -> None:
    codes = columns(rows)  # type: ignore[arg-type]  # rows of five instead of three
    weights = np.array(
        data.draw(st.lists(st.integers(0, 4), min_size=len(rows), max_size=len(rows)))
    )
    weighed = group(codes, weights)
    repeated = Counter(
        row for row, weight in zip(rows, weights, strict=True) for _ in range(weight)
    )
    assert sorted(weighed.sizes[weighed.sizes > 0]) == sorted(repeated.values())


def test_combinations_beyond_sixty_four_bits_are_still_told_apart() -> None:
    # five columns of 2^20 values: in 64 bits the first would count for nothing
    codes = np.zeros((5, 300), dtype=np.int64)
    codes[:, 0] = (1 << 20) - 1
    codes[0, 1:] = np.arange(299) // 2
    found = group(list(codes))
    assert sorted(found.sizes) == [1] * 2 + [2] * 149


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9)), min_size=1, max_size=20))
def test_risk_against_a_population_is_what_its_definition_says(
    pairs: list[tuple[int, int]],
) -> None:
    pairs = [(f, f + more) for f, more in pairs if f + more]
    if not any(f for f, _ in pairs):
        return
    found = population_risk(*columns(pairs))  # type: ignore[arg-type]  # pairs instead of threes
    inside = [(f, F) for f, F in pairs if f]
    rows = sum(f for f, _ in inside)
    assert found.k_map == min(F for _, F in inside)
    assert found.journalist_max == pytest.approx(max(1 / F for _, F in inside))
    assert found.marketer == pytest.approx(sum(f / F for f, F in inside) / rows)
    assert found.journalist_average == pytest.approx(
        max(len(inside) / sum(F for _, F in inside), found.marketer)
    )
    assert found.population_uniques == sum(f for f, F in inside if F == 1)
    assert found.delta_min == pytest.approx(min(f / F for f, F in pairs))
    assert found.delta_max == pytest.approx(max(f / F for f, F in pairs))
    assert (found.unmatched_rows, found.exceeding_classes) == (0, 0)


def test_a_population_that_does_not_cover_the_table_gives_no_presence() -> None:
    found = population_risk(np.array([3, 2]), np.array([2, 0]))
    assert (found.k_map, found.unmatched_rows, found.exceeding_classes) == (0, 2, 2)
    assert found.delta_min is None
    assert found.delta_max is None


def test_a_class_of_exactly_the_cell_size_is_not_above_its_threshold() -> None:
    above = sample_risk(np.array([3, 5, 11, 20])).above
    assert above == {"0.05": 19 / 39, "0.09": 8 / 39, "0.2": 3 / 39, "0.33": 0.0}


def test_recursive_diversity_is_infinite_where_a_class_has_too_few_values() -> None:
    held = spread(np.array([0, 0, 1]), np.array([0, 1, 0]), classes=2, kinds=2)
    assert recursive_ratio(held, 2).tolist() == [1.0, math.inf]


def test_numbers_written_differently_are_one_sensitive_value_and_in_their_order() -> None:
    column = Column(name="x", values=("10", "9.0", "9", "-1"), codes=np.array([0, 1, 2, 3]))
    plan = ColumnPlan(name="x", role="sensitive", kind="number")
    one = build_sensitive(column, plan, missing=[""], folder=Path())
    assert one.codes.tolist() == [2, 1, 1, 0]
    assert one.values == ("-1", "9.0", "10")


def test_a_sensitive_column_with_a_tree_is_as_far_as_its_tree_says() -> None:
    column = Column(name="x", values=("flu", "tb", "ms"), codes=np.array([0, 1, 2, 2]))
    plan = ColumnPlan(name="x", role="sensitive", groups={"lung": ["flu", "tb"], "head": ["ms"]})
    one = build_sensitive(column, plan, missing=[""], folder=Path())
    assert one.distance == "hierarchical"
    # the class {flu, tb} of the table {flu, tb, ms, ms}: half its people, from lung to head
    pairs = spread(np.array([0, 0, 1, 1]), one.codes, classes=2, kinds=3)
    assert one.apart(pairs) == pytest.approx([0.5, 0.5])
    # {flu, ms}: a quarter from flu to tb, half as far
    pairs = spread(np.array([0, 1, 0, 1]), one.codes, classes=2, kinds=3)
    assert one.apart(pairs) == pytest.approx([0.125, 0.125])
