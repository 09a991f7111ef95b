"""What was said in a segment, and what the success of a decoder goes with."""
