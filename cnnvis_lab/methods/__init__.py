"""The survey's families of methods, one module a notebook."""
