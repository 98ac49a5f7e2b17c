"""What the model is compared with. No Ray."""

from raymoe.evaluation.linear_probes import linear_probes

__all__ = ["linear_probes"]
