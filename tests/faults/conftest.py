"""The same world as the attacks have: an operator and two enrolled sites."""

from __future__ import annotations

from tests.attacks.conftest import template, world

__all__ = ["template", "world"]
