"""Experiments of single papers that are more than a comparison of strategies."""
