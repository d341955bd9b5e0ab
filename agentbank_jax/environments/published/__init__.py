"""The published benchmarks as environments: one module per skill, each with its `SPECS`.

A module is read whenever a name is looked up, so what an engine needs is imported when it is made.
"""

MODULES = ("reasoning", "math", "programming", "web", "embodied")
