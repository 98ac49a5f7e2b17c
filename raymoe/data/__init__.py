"""Raw tables in, the samples table out."""

from raymoe.data.prepare import prepare

__all__ = ["prepare"]
