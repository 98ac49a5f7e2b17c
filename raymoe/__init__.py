"""raymoe: which words and which image patches does a multimodal model use together?

The folders are the stages, in the order of the data flow: ``data`` -> ``features`` -> ``models`` and
``training`` -> ``attribution`` -> ``interactions`` and ``probe`` -> ``experiments`` -> ``report``. What
they stand on, and how they hang together: ARCHITECTURE.md.
"""

__version__ = "0.1.0"
