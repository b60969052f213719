"""The tree that errors.py draws is the tree that it holds."""

from __future__ import annotations

import json
import pickle
import re
import traceback
from collections.abc import Iterator

import pytest

from reidscope_protocols import errors
from reidscope_protocols.errors import DescribedError, ReidscopeError
from reidscope_protocols.study import Study

LINE = re.compile(r"^ {4}((?:[│ ]   )*)(?:[├└]── )?(\w+Error) +(\d+)   \S")

TOKEN = "PLANTED-VALUE"


def drawn() -> dict[str, tuple[int, str]]:
    """Name -> exit code and the parent's name, as drawn."""
    tree: dict[str, tuple[int, str]] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = LINE.match("    " + line.removeprefix("    "))
        if match is None:
            continue
        bars, name, code = match.groups()
        depth = 0 if name == "ReidscopeError" else len(bars) // 4 + 1
        path = [*path[:depth], name]
        tree[name] = int(code), path[-2] if depth else ""
    return tree


def held() -> dict[str, tuple[int, str]]:
    return {
        kind.__name__: (
            kind.exit_code,
            ""
            if kind is ReidscopeError
            else next(
                base.__name__
                for base in kind.__mro__[1:]
                if base is not DescribedError and issubclass(base, ReidscopeError)
            ),
        )
        for kind in kinds()
    }


def kinds() -> Iterator[type[ReidscopeError]]:
    for value in vars(errors).values():
        is_class = isinstance(value, type) and issubclass(value, ReidscopeError)
        if is_class and value is not DescribedError:
            yield value


def test_the_drawn_tree_names_every_class_with_its_code_under_its_parent() -> None:
    assert drawn() == held()
    assert len(drawn()) > 25


def test_no_two_errors_share_an_exit_code() -> None:
    codes = [kind.exit_code for kind in kinds()]
    assert len(set(codes)) == len(codes)
    assert all(0 < code < 126 for code in codes)


def test_a_branch_keeps_its_codes_in_its_own_ten() -> None:
    for kind in kinds():
        (parent, *_) = kind.__bases__
        if parent not in (ReidscopeError, DescribedError, Exception):
            assert kind.exit_code // 10 == parent.exit_code // 10  # type: ignore[attr-defined]  # every base here is one of ours


@pytest.mark.parametrize("kind", [kind for kind in kinds() if issubclass(kind, DescribedError)])
def test_a_message_is_one_line_that_says_what_got_expected_and_what_to_do(
    kind: type[DescribedError],
) -> None:
    error = kind("thing", got="one", expected="another", do="change it")
    assert str(error) == "thing: got one, expected another; change it"
    assert (kind.__doc__ or "").strip().endswith(".")
    assert len((kind.__doc__ or "").splitlines()) == 1


@pytest.mark.parametrize("kind", [kind for kind in kinds() if issubclass(kind, DescribedError)])
def test_an_error_comes_whole_out_of_another_process(kind: type[DescribedError]) -> None:
    error = kind("thing", got="one", expected="another", do="change it")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301  # bytes of this test
    assert type(again) is kind
    assert str(again) == str(error)
    assert again.problem.do == "change it"


def test_an_error_that_replaces_another_does_not_show_it() -> None:
    """What a parser said could quote a field: it is dropped, not chained."""
    with pytest.raises(errors.MalformedError) as caught:
        Study.parse(json.dumps({"schema": TOKEN}).encode())
    shown = "".join(traceback.format_exception(caught.value))
    assert TOKEN not in shown
