"""Which features each expert relies on. No Ray."""

from raymoe.attribution.attribute import attribute

__all__ = ["attribute"]
