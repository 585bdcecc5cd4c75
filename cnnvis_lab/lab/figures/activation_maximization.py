"""Figures of activation maximization: survey figures F1 to F3, priors, starts and facets."""
