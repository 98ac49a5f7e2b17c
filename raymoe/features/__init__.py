"""Frozen encoders, and the store of what they say."""
