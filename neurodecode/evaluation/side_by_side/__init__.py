"""Two or more evaluated runs side by side."""
