"""Annotators for data that already hold the steps: no language model writes an action or a Thought."""
