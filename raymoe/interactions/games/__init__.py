"""What is explained, as a game: from coalitions of features to a value."""
