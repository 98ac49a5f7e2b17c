"""Which coalitions are drawn, and how one serves every pair."""
