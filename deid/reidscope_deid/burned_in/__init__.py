"""Text burned into pixels: found, blanked, and put on a list for a person (PS3.15 113101)."""

from __future__ import annotations

from reidscope_deid.burned_in.cleaning import Examined, clean_pixels, examine
from reidscope_deid.burned_in.policy import PixelPolicy, load_policy

__all__ = ["Examined", "PixelPolicy", "clean_pixels", "examine", "load_policy"]
