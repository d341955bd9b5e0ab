"""Environments in processes of their own: what an engine does to its process is never the sweep's trouble."""

import functools
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentbank_jax.agents.episode import Episode, Outcome
from agentbank_jax.agents.policy import OraclePolicy, RandomPolicy
from agentbank_jax.agents.rollout import roll_out
from agentbank_jax.environments import pool as pools
from agentbank_jax.environments.held import Act, Begin, Failed, Seen, Wants
from agentbank_jax.environments.pool import LocalPool, Place, ProcessPool
from agentbank_jax.environments.registry import EnvironmentSpec
from agentbank_jax.errors import AgentBankError
from tests.agents.counting import CountingEnvironment, counting_instance, counting_spec
from tests.environments.faulty import CountingMakes, FaultyEnvironment

FAULTS = ("kill", "exit", "hang", "hang_in_c", "raise", "info", "no_number", "too_much", "no_text")


@pytest.fixture
def pool() -> Iterator[ProcessPool]:
    with ProcessPool(3) as pool:
        yield pool


def faulty(fault: str, **options: str) -> EnvironmentSpec:
    return counting_spec(functools.partial(FaultyEnvironment, fault, **options), name="faulty", step_seconds=1.0)


def episode(index: int, spec: EnvironmentSpec) -> Episode:
    return Episode(id=f"{spec.name}/{index}", spec=spec, instance=lambda: counting_instance(index))


def play(pool: ProcessPool | LocalPool, *specs: EnvironmentSpec, policy=None, **options) -> list[Outcome]:
    episodes = [episode(index, spec) for index, spec in enumerate(specs)]
    return list(roll_out(episodes, policy or OraclePolicy(capacity=8), pool=pool, **options))


def begin(place: Place, pool: ProcessPool, **wants: bool) -> Seen:
    place.send(
        Begin(kind=place.spec.name, make=place.spec.make, instance=counting_instance(0), wants=Wants(**wants), draw="a")
    )
    answered, seen = answer(pool)
    assert answered is place and isinstance(seen, Seen)
    return seen


def answer(pool: ProcessPool) -> tuple[Place, Seen | Failed]:
    """The next answer; one that a process listens is none."""
    while not (found := pool.answers(None)):
        pass
    (one,) = found
    return one


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(pid: int, seconds: float = 10.0) -> bool:
    until = time.monotonic() + seconds
    while is_alive(pid) and time.monotonic() < until:
        time.sleep(0.05)
    return not is_alive(pid)


@pytest.mark.parametrize("policy", [OraclePolicy, RandomPolicy])
def test_episodes_in_processes_equal_those_in_this_one(pool: ProcessPool, policy: type) -> None:
    def told(outcomes: list[Outcome]) -> list[tuple]:
        return sorted((o.episode.id, o.turns, o.reward, o.steps, o.info["invalid_action"]) for o in outcomes)

    specs = [counting_spec()] * 12
    assert told(play(pool, *specs, policy=policy(capacity=5))) == told(play(LocalPool(), *specs, policy=policy()))


@pytest.mark.parametrize("fault", FAULTS)
def test_an_engine_that_fails_twice_is_an_environment_error_and_the_others_go_on(pool: ProcessPool, fault: str) -> None:
    broken, *others = sorted(play(pool, faulty(fault), *[counting_spec()] * 4), key=lambda o: o.success)
    assert (broken.terminate_reason, broken.success, broken.reward) == ("environment_error", False, 0.0)
    assert all(outcome.success for outcome in others)
    expected = {
        "kill": "its process ended (exit code -9)",
        "exit": "its process ended (exit code 3): the engine is out of memory",
        "hang": "no answer in time",
        "hang_in_c": "no answer in time",
        "raise": "RuntimeError: the engine broke",
        "info": "cannot be sent",
        "no_number": "ValueError: the reward is nan; expected -1 to 1",
        "too_much": "ValueError: the reward is 7.0; expected -1 to 1",
        "no_text": "TypeError: the observation is NoneType; expected str",
    }[fault]
    assert expected in (broken.error or "")


@pytest.mark.parametrize("fault", FAULTS)
def test_an_engine_that_fails_once_is_played_again_with_the_outcome_of_one_that_did_not(
    pool: ProcessPool, fault: str, tmp_path: Path
) -> None:
    (mended,) = play(pool, faulty(fault, cure=str(tmp_path / "cure")))
    (whole,) = play(pool, counting_spec())
    assert (mended.turns, mended.reward, mended.steps, mended.success) == (whole.turns, whole.reward, whole.steps, True)


def test_what_a_hanging_engine_has_started_ends_with_it(pool: ProcessPool, tmp_path: Path) -> None:
    children = tmp_path / "children"
    play(pool, faulty("hang", children=str(children)), retries=0)
    (child,) = map(int, children.read_text().split())
    assert gone(child)


def test_an_engine_that_prints_without_end_fills_no_disk(pool: ProcessPool) -> None:
    spec = faulty("print")
    place = pool.take(spec)
    begin(place, pool)
    (log,) = pool._logs.iterdir()
    for _ in range(4):
        place.send(Act(action="add 1"))
        answer(pool)
        assert log.stat().st_size <= 1 << 21


def test_an_engine_is_kept_for_its_kind_and_its_process_for_another(pool: ProcessPool) -> None:
    one, other = counting_spec(CountingMakes, name="one"), counting_spec(CountingMakes, name="other")
    seen = []
    for spec in (one, one, other):
        place = pool.take(spec)
        seen.append(begin(place, pool).observation.split())
        pool.give_back(place)
    (first, first_number), (again, again_number), _ = seen
    assert (first, first_number) == (again, again_number)
    # With no process free to start, another kind takes over one that idles.
    places = [pool.take(counting_spec(CountingMakes, name=f"kind {number}")) for number in range(3)]
    assert not pool.has_room(one)
    assert first in {begin(place, pool).observation.split()[0] for place in places}


def test_no_more_engines_of_a_kind_run_at_once_than_it_allows_and_others_use_the_room(pool: ProcessPool) -> None:
    heavy = counting_spec(name="heavy", at_once=1)
    outcomes = play(pool, *[heavy] * 3, *[counting_spec()] * 3)
    assert len(outcomes) == 6 and all(outcome.success for outcome in outcomes)
    place = pool.take(heavy)
    assert not pool.has_room(heavy) and pool.has_room(counting_spec())
    pool.give_back(place)
    assert pool.has_room(heavy)


def test_a_process_that_is_worn_is_replaced(pool: ProcessPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "_EPISODES_PER_PROCESS", 2)
    spec = counting_spec(CountingMakes)
    pids = []
    for _ in range(4):
        place = pool.take(spec)
        pids.append(begin(place, pool).observation.split()[0])
        pool.give_back(place)
    assert pids[0] == pids[1] != pids[2] == pids[3]
    assert gone(int(pids[0]))


def test_a_process_that_has_grown_is_replaced(pool: ProcessPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "_MAX_RESIDENT_BYTES", 1)
    place = pool.take(counting_spec(CountingMakes))
    pid = int(begin(place, pool).observation.split()[0])
    pool.give_back(place)
    assert gone(pid)


def test_a_policy_is_told_what_it_wants_and_nothing_else(pool: ProcessPool) -> None:
    place = pool.take(counting_spec())
    everything = begin(place, pool, expert_steps=True, valid_actions=True, random_action=True)
    assert everything.expert_steps and everything.expert_steps[0].action == "add 2"
    assert everything.valid_actions == ("add 1", "add 2", "Final Answer: 0")
    assert everything.random_action in everything.valid_actions
    nothing = begin(place, pool)
    assert (nothing.expert_steps, nothing.valid_actions, nothing.random_action) == (None, None, None)


def test_an_environment_that_cannot_be_sent_is_refused_with_the_remedy(pool: ProcessPool) -> None:
    with pytest.raises(AgentBankError, match=r"'counting' cannot be sent .* SweepConfig\.processes = False"):
        play(pool, counting_spec(lambda: CountingEnvironment()))


def test_a_script_without_a_guard_is_told_so(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from agentbank_jax.agents.episode import Episode\nfrom agentbank_jax.agents.policy import OraclePolicy\n"
        "from agentbank_jax.agents.rollout import roll_out\nfrom agentbank_jax.environments import registry\n"
        "from agentbank_jax.environments.pool import ProcessPool\n"
        "spec = registry.get('starter_math')\n"
        "episode = Episode(id='a', spec=spec, instance=lambda: spec.instance('test', 0))\n"
        "with ProcessPool(1) as pool:\n    print(len(list(roll_out([episode], OraclePolicy(), pool=pool))))\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1 and "needs `if __name__ == '__main__':`" in done.stderr


def test_a_sweep_that_is_left_in_the_middle_gives_its_places_back(pool: ProcessPool) -> None:
    outcomes = roll_out([episode(index, counting_spec()) for index in range(9)], OraclePolicy(capacity=3), pool=pool)
    next(outcomes)
    outcomes.close()
    assert pool.has_room(counting_spec()) and not pool._taken


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's signal at a parent's end is Linux's")
def test_kill_9_of_the_sweep_leaves_no_worker_even_where_an_engine_hangs() -> None:
    code = (
        "import functools, os, signal, sys; sys.path.insert(0, '.')\n"
        "from tests.agents.counting import counting_spec, counting_instance\n"
        "from tests.environments.faulty import FaultyEnvironment\n"
        "from agentbank_jax.environments.held import Begin\n"
        "from agentbank_jax.environments.pool import ProcessPool\n"
        "spec = counting_spec(functools.partial(FaultyEnvironment, 'hang_in_c'))\n"
        "pool = ProcessPool(1)\n"
        "place = pool.take(spec)\n"
        "place.send(Begin(kind='a', make=spec.make, instance=counting_instance(0)))\n"
        "while not pool.answers(None): pass\n"
        "from agentbank_jax.environments.held import Act\n"
        "place.send(Act(action='add 1'))\n"
        "print(place.process.pid, flush=True)\n"
        "import time; time.sleep(1); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == -9, done.stderr
    assert gone(int(done.stdout))


def test_a_local_pool_answers_each_message_once() -> None:
    pool = LocalPool()
    place = pool.take(counting_spec())
    place.send(Begin(kind="c", make=CountingEnvironment, instance=counting_instance(0)))
    ((_, seen),) = pool.answers(None)
    assert isinstance(seen, Seen) and seen.observation == "Reach 2."
    assert pool.answers(None) == []
    place.send(Act(action="Final Answer: 9"))
    ((_, seen),) = pool.answers(0)
    assert not isinstance(seen, Failed) and seen.terminated


def test_workers_read_neither_jax_nor_tensorflow(pool: ProcessPool) -> None:
    place = pool.take(counting_spec())
    begin(place, pool)
    maps = Path(f"/proc/{place.process.pid}/maps").read_text()  # type: ignore[attr-defined]
    assert not [name for name in ("jaxlib", "tensorflow") if name in maps]
    assert os.getpid() != place.process.pid  # type: ignore[attr-defined]
