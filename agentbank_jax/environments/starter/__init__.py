"""The starter families: generators of instances that need no download."""

# In the order of the skills; a module declares `SPECS`, the trained family first.
MODULES = ("reasoning", "math", "programming", "web", "embodied", "bash")
