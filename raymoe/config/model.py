"""The model section."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from raymoe.config.section import Section


class ModelConfig(Section):
    """Which model, and its shape; the defaults are those of the paper's MM-IMDb recipe."""

    kind: Literal["fl-i2moe", "dense", "i2moe"] = "fl-i2moe"
    """`dense`: one fusion Transformer over the same sequences; `i2moe`: the original, experts over pooled
    vectors"""
    hidden_dim: int = Field(256, ge=4)
    """width of the fusion Transformers: even, and a multiple of `num_heads`"""
    num_layers: int = Field(2, ge=1)
    """layers of a fusion Transformer"""
    num_heads: int = Field(4, ge=1)
    """attention heads of a layer"""
    ffn_ratio: int = Field(2, ge=1)
    """width of the feed-forward part, as a multiple of `hidden_dim`"""
    residual: Literal["input", "attention"] = "input"
    """what attention's output is added to: see docs/models.md"""
    num_patches: int = Field(16, ge=1)
    """of `i2moe`: slices that a pooled vector is cut into"""
    dropout: float = Field(0.5, ge=0, lt=1)
    """of the fusion Transformers and the heads"""
    dropout_attention: float | None = Field(None, ge=0, lt=1)
    """of attention weights; not set: as `dropout`"""
    temperature_rw: float = Field(2.0, gt=0)
    """of the gate, which weights the experts: the higher, the more even the weights"""
    hidden_dim_rw: int = Field(256, ge=1)
    """width of the gate's hidden layers"""
    num_layers_rw: int = Field(2, ge=1)
    """layers of the gate"""
    dropout_rw: float = Field(0.5, ge=0, lt=1)
    """dropout in the gate"""

    @model_validator(mode="after")
    def _heads_divide(self) -> ModelConfig:
        if self.hidden_dim % self.num_heads:
            raise ValueError(f"hidden_dim {self.hidden_dim} is not a multiple of num_heads {self.num_heads}")
        if self.hidden_dim % 2:
            raise ValueError("hidden_dim must be even (sinusoidal position code)")
        return self
