"""Training FL-I2MoE on a feature store. No Ray."""

from raymoe.training.train import train

__all__ = ["train"]
