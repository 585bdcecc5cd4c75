"""Running, drawing and showing: what notebooks and the command line use."""
