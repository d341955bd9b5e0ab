"""Measures what the arena itself costs: `python scripts/bench_arena.py`.

Printed are, as medians of interleaved rounds: steps a second of each starter environment in this process, with actions
drawn at random; and the time that the harness (rollout, agent, and a process for each environment) adds to a step, by
an environment that does nothing and a policy that answers at once.
"""

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from agentbank_jax.agents.episode import Episode
from agentbank_jax.agents.policy import ImmediatePolicy, Reply, Request
from agentbank_jax.agents.rollout import roll_out
from agentbank_jax.configuration.report_errors import report_errors
from agentbank_jax.environments import registry
from agentbank_jax.environments.base import ExpertStep, Instance, TextEnvironment
from agentbank_jax.environments.pool import EnvironmentPool, LocalPool, ProcessPool
from agentbank_jax.environments.registry import EnvironmentSpec

STEPS = 20
_REPLY = Reply(text="Thought: I wait.\nAction: wait", tokens=8)
_INSTANCE = Instance(id="idle/test/0", fingerprint="0", payload=None)


class Idle(TextEnvironment):
    """Does nothing, with an observation of common length."""

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        self._steps = 0
        return "You are in a room.", {"invalid_action": False}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        self._steps += 1
        return "Nothing happens. " * 20, 0.0, self._steps >= STEPS, False, {"invalid_action": False}

    def expert_steps(self) -> list[ExpertStep]:
        return [ExpertStep(action="wait", intent="wait")] * STEPS

    def sample_action(self, rng: random.Random) -> str:
        return "wait"


class Waiter(ImmediatePolicy):
    """Answers at once."""

    def reply(self, request: Request) -> Reply:
        return _REPLY


IDLE = EnvironmentSpec(
    name="idle",
    skill="embodied",
    action_space="discrete",
    max_steps=STEPS,
    protocol="idle/1",
    instruction="Wait.",
    make=Idle,
    instance=lambda split, index: _INSTANCE,
)


def overhead_ms(pool: EnvironmentPool, episodes: int, at_once: int) -> float:
    """Milliseconds of wall time that a step takes."""
    played = [Episode(id=str(number), spec=IDLE, instance=lambda: _INSTANCE) for number in range(episodes)]
    policy = Waiter(name="waiter", capacity=at_once)
    started = time.perf_counter()
    steps = sum(outcome.steps for outcome in roll_out(played, policy, pool=pool))
    return 1000 * (time.perf_counter() - started) / steps


def steps_a_second(spec: EnvironmentSpec, seconds: float) -> float:
    """Steps of random play, resets not counted."""
    environment, rng = spec.make(), random.Random(0)
    steps, spent, index = 0, 0.0, 0
    while spent < seconds:
        environment.reset(seed=0, options={"instance": spec.instance("test", index)})
        index += 1
        for _ in range(spec.max_steps):
            action = environment.sample_action(rng)
            started = time.perf_counter()
            _, _, terminated, truncated, _ = environment.step(action)
            spent += time.perf_counter() - started
            steps += 1
            if terminated or truncated:
                break
    environment.close()
    return steps / spent


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench_arena.py", description=__doc__.split("\n\n")[1])
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="of each figure (default: 3)")
    parser.add_argument("--seconds", type=float, default=1.0, metavar="S", help="of each environment (default: 1)")
    parser.add_argument("--episodes", type=int, default=400, metavar="N", help="of the harness (default: 400)")
    parser.add_argument("--at_once", type=int, default=16, metavar="N", help="episodes at once (default: 16)")
    options = parser.parse_args()
    specs = [spec for spec in map(registry.get, registry.names()) if spec.name.startswith("starter_")]
    figures: dict[str, Callable[[], float]] = {
        spec.name: lambda spec=spec: steps_a_second(spec, options.seconds) for spec in specs if not spec.available()
    }
    found: dict[str, list[float]] = {}
    with ProcessPool(options.at_once) as processes:
        overhead_ms(processes, options.at_once, options.at_once)  # starts them
        for name, pool in (("a process each", processes), ("this process", LocalPool())):
            figures[name] = lambda pool=pool: overhead_ms(pool, options.episodes, options.at_once)
        for _ in range(options.rounds):
            for name, figure in figures.items():
                found.setdefault(name, []).append(figure())
    print("steps a second, in this process:")
    for name in list(figures)[:-2]:
        print(f"  {name:32} {statistics.median(found[name]):10,.0f}")
    print(f"harness, ms a step, {options.at_once} episodes at once:")
    for name in list(figures)[-2:]:
        print(f"  environments in {name:16} {statistics.median(found[name]):10.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(report_errors(main))
