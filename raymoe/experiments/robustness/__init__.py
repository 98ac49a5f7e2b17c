"""What noise on a modality, or its absence, does to predictions, expert weights and interaction rankings."""
