"""Figures of notebook 00: a taste of every method."""
