"""Benchmarks of the skill `web`."""

from agentbank_jax.environments import miniwob
from agentbank_jax.environments.instructions import FORM
from agentbank_jax.environments.registry import EnvironmentSpec

BROWSER = "a Chromium and its driver (Debian: chromium, chromium-driver)"

SPECS = (
    EnvironmentSpec(
        name="miniwob",
        skill="web",
        action_space="discrete",
        max_steps=miniwob.MAX_STEPS,
        protocol=miniwob.protocol(),
        instruction=(
            "Do what the web page asks. Actions: click[number], type[number, text], focus[number], hover[number], "
            f"press[key], drag[number, number], scroll[down]. {FORM}"
        ),
        licence="MIT",
        requires=("the packages miniwob and selenium (the extra environments)", BROWSER),
        held_out=True,
        make=miniwob.MiniWob,
        instance=miniwob.make_instance,
        size=miniwob.size,
        # About 1 GB each.
        at_once=2,
        available=miniwob.available,
    ),
)
