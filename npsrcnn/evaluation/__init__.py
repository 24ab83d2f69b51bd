"""Measure how good a network is: the paper's protocol and its figures."""
