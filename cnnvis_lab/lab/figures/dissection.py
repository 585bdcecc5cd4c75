"""Figures of Network Dissection: survey figures F11 to F14, and comparisons of networks."""
