"""Layouts of trajectories: reading, writing and conversion."""
