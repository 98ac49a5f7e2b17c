"""Models fitted to what a game answered, whose interactions are known."""
