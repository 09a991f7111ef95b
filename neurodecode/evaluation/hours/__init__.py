"""What more hours of training data would give."""
