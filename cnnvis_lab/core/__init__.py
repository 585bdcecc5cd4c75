"""What every method stands on: errors, hooks, statistics, image spaces, the ascent loop."""
