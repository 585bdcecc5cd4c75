"""Figures of deep generators: survey figure F3, and comparisons of codes, priors and bounds."""
