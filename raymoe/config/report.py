"""The report section."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from raymoe.config.section import Section


class ReportConfig(Section):
    """What the page shows."""

    samples: Annotated[int, Field(ge=1)] | Literal["all"] = 24
    """samples that can be looked at"""
    pairs: int = Field(8, ge=1)
    """top pairs drawn as links per sample, expert and score"""
    listed: int = Field(40, ge=1)
    """top pairs in the list, which tell a word or patch its partners"""
    seed: int = Field(0, ge=0)
    """of the samples that are drawn at random beside the strongest"""
