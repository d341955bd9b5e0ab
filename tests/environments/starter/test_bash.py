"""The held-out Bash family: solvable where the sandbox runs, distinct, and split by fingerprint."""

import pytest

from agentbank_jax.environments import sandbox
from agentbank_jax.environments.starter.bash import KINDS, SPECS, TEST_SHARE, THOUGHTS

(SPEC,) = SPECS


def test_instances_are_pure_distinct_and_split_by_fingerprint():
    train = [SPEC.instance("train", index).fingerprint for index in range(300)]
    test = [SPEC.instance("test", index).fingerprint for index in range(60)]
    assert SPEC.instance("test", 5) == SPEC.instance("test", 5)
    assert len(set(train)) == 300 and len(set(test)) == 60
    assert all(int(fingerprint, 16) % TEST_SHARE != 0 for fingerprint in train)
    assert all(int(fingerprint, 16) % TEST_SHARE == 0 for fingerprint in test)


def test_every_step_has_thoughts():
    steps = SPEC.instance("test", 0).payload.plan
    assert {step.intent for step in steps} == set(THOUGHTS)
    assert all(len(set(templates)) >= 6 for templates in THOUGHTS.values())


def test_it_says_why_it_cannot_run(monkeypatch):
    monkeypatch.setattr(sandbox, "available", lambda: "bubblewrap is not installed")
    assert SPEC.available() == "Bash tasks need a sandbox: bubblewrap is not installed"
    assert SPEC.held_out and SPEC.requires == ("bubblewrap",)


@pytest.mark.skipif(sandbox.available() is not None, reason=str(sandbox.available()))
def test_the_expert_solves_every_kind_and_submitting_at_once_solves_none():
    for index in range(len(KINDS)):
        instance = SPEC.instance("test", index)
        environment = SPEC.make()
        environment.reset(options={"instance": instance})
        rewards = [environment.step(step.action)[1] for step in environment.expert_steps()]
        assert rewards == [0.0, 0.0, 1.0], instance.payload.query
        environment.reset(options={"instance": instance})
        assert environment.step("submit")[1] < 1.0, instance.payload.query
