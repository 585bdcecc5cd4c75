"""Figures of training evolution: survey figure F7, and measures by training step."""
