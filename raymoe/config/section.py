"""What every section of the configuration is: immutable, exact about its fields, and able to explain them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Base of every configuration object: immutable, and an unknown field is an error.

    The string below a field is its description, which ``raymoe settings`` and docs/settings.md show.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
