"""The linter of trajectory banks: what is wrong with a bank, what it repeats, and of whom it speaks."""
