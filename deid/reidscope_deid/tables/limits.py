"""How exposed a profile lets the people of a folder be."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class RiskLimits(BaseModel):
    """What a profile allows a folder's people to be exposed to.

    Attributes
    ----------
    k : int
        People in the smallest class at least: 1 / k is the largest prosecutor risk.
    average : float
        Average prosecutor risk at most.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    k: Annotated[int, Field(ge=1)]
    average: Annotated[float, Field(gt=0, le=1)]
