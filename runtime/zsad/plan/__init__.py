"""What a model costs, counted, and what it may take on a board, predicted."""
