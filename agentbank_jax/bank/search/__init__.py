"""Heuristic action search: actions that solve a problem, found by trying them in the environment."""
