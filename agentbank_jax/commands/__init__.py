"""What the entry points do; the top of the package, where data, training and evaluation meet."""
