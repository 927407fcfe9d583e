"""Lowering: from a graph to a `Program`, the strings that templates lay out."""
