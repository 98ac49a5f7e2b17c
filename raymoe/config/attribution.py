"""The attribute section."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from raymoe.config.section import Section


class AttributeConfig(Section):
    """Expert-wise feature importance."""

    method: Literal["grad_attnroll", "attnroll", "ig", "random"] = "grad_attnroll"
    """attention rollout with or without gradients, integrated gradients, or the random baseline"""
    target: Literal["true", "predicted"] = "true"
    """the classes whose logits are explained"""
    split: str = "test"
    """the split whose samples are explained"""
    steps: int = Field(32, ge=1)
    """of `ig`: points of the integral"""
    seed: int = Field(0, ge=0)
    """of `random`"""
    batch_size: int = Field(16, ge=1)
    """samples at once"""

    def defining(self) -> dict[str, Any]:
        """The settings that what comes out depends on."""
        others = {"steps": "ig", "seed": "random"}
        useless = {name for name, method in others.items() if method != self.method}
        return self.model_dump(exclude={"batch_size", *useless})
