"""The survey's eight families of methods, one module a notebook."""
