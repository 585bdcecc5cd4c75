"""See what convolutional networks have learned (the survey arXiv 1804.11191, as a workbench)."""
