"""Figures of Net2Vec: survey figure F15, and charts of concepts and filters."""
