"""Layers that networks are made of, one idea a file."""
