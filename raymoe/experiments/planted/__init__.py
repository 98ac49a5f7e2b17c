"""Do the scores find the interactions that are there? On data where they are known (data/planted.py)."""
