"""Compute on pixels: colour, interpolation, error measures, transparency."""
