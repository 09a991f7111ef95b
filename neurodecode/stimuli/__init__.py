"""What was heard, as arrays of numbers with exact times."""
