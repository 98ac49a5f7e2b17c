"""Seeds that follow from what is computed, never from who computes it or when."""

from __future__ import annotations

import hashlib


def seed_of(*parts: object) -> int:
    """A 64-bit seed from whatever identifies the computation (seed, sample, expert)."""
    text = "\x1f".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")
