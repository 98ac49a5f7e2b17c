"""Training FL-I2MoE on a feature store. Only the sweep uses Ray."""

from raymoe.training.train import train

__all__ = ["train"]
