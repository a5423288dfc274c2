"""The base of all models."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """A model that is read from a row, and never changed."""

    model_config = ConfigDict(from_attributes=True, frozen=True)
