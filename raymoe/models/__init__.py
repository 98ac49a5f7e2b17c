"""The models over cached feature sequences, and their losses and checkpoints. Pure torch; no Ray."""
