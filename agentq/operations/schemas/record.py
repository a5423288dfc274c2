"""The base of all models."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """A model that is read from a row, and never changed."""

    # Validators are built at their first use: most processes use few of the models, and many none.
    model_config = ConfigDict(from_attributes=True, frozen=True, defer_build=True)
