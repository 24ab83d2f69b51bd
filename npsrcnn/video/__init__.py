"""Enlarge clips, by the extra ``video``, and animated pictures."""
