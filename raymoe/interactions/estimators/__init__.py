"""The estimators: each says what a budget buys and gives running sums that merge."""
