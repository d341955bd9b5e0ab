"""The best checkpoint by a measured value is kept, and found by `RUN@best`."""

import math
from pathlib import Path

import jax.numpy as jnp
import pytest

from agentbank_jax.errors import AgentBankError
from agentbank_jax.parallel.mesh import MeshConfig
from agentbank_jax.training.best_checkpoint import best_of, resolve_checkpoint
from agentbank_jax.training.checkpoints import Checkpoints
from agentbank_jax.training.evaluator import totals
from agentbank_jax.training.loop import train
from agentbank_jax.training.metrics import read_metrics
from agentbank_jax.training.optimizer import OptimizerConfig
from agentbank_jax.training.state import TrainState
from agentbank_jax.training.train_config import TrainConfig
from agentbank_jax.training.trained_models import load_for_inference
from tests.training.made_batches import MadeBatches
from tests.training.run_made import CONFIG


class Told:
    """An evaluator that says what a test has written down."""

    def __init__(self, name: str, every: int, values: dict[int, float]):
        self.every, self.names, self._name, self._values = every, (name,), name, values
        self.asked: list[int] = []

    def evaluate(self, step, params):
        assert params["embed_tokens"]["embedding"].shape == (CONFIG.vocab_size, CONFIG.hidden_size)
        self.asked.append(step)
        if step in self._values:
            yield self._name, self._values[step]


def _train(folder: Path, evaluators, *, steps: int, **changes):
    config = {"log_every": 2, "checkpoint_every": 3, "keep_checkpoints": 1, "compilation_cache": "", **changes}
    return train(
        CONFIG,
        TrainConfig(steps=steps, **config),
        OptimizerConfig(learning_rate=1e-2, schedule="constant", warmup_ratio=0.0),
        MeshConfig(data=-1, fsdp=1),
        MadeBatches(CONFIG.vocab_size),
        folder,
        facts={"template": "made"},
        evaluators=evaluators,
    )


def _kept(folder: Path) -> list[int]:
    return sorted(int(path.name) for path in (folder / "checkpoints").iterdir() if path.name.isdigit())


def test_the_best_is_kept_where_the_latest_would_have_replaced_it_and_is_found(tmp_path):
    scores = Told("arena/made/success", 2, {2: 0.75, 4: 0.25, 6: 0.5, 8: 0.5})
    # Beside it one that measures at other steps, and nothing that anyone is chosen by.
    other = Told("eval/loss", 3, {3: 9.0, 6: 9.0, 8: 9.0})
    _train(tmp_path, [scores, other], steps=8, best_metric="arena/made/success", best_mode="max")
    assert scores.asked == [2, 4, 6, 8] and other.asked == [3, 6, 8]
    assert _kept(tmp_path) == [2, 8]
    assert load_for_inference(f"{tmp_path}@best")[2]["step"] == 2
    assert load_for_inference(tmp_path)[2]["step"] == 8
    records = [record for record in read_metrics(tmp_path) if "arena/made/success" in record]
    assert [record["step"] for record in records] == [2, 4, 6, 8]


def _save(folder: Path, losses: dict[int, float], mode: str = "min") -> None:
    with Checkpoints(
        folder, keep=1, config=CONFIG, facts={"template": "made"}, best_metric="eval/loss", best_mode=mode
    ) as checkpoints:
        for step, loss in losses.items():
            checkpoints.save(TrainState(jnp.int32(step), {}, ()), step, "data", metrics={"eval/loss": loss})


@pytest.mark.parametrize(
    ("losses", "mode", "best"),
    [
        ({2: 0.75, 4: 0.25, 6: 0.5, 8: 0.5}, "min", 4),
        ({2: 0.75, 4: 0.25, 6: 0.5, 8: 0.5}, "max", 2),
        # What is no number is not the best.
        ({2: math.nan, 4: 2.0, 6: math.nan, 8: math.nan}, "min", 4),
        # Of equal ones the last is kept, and found.
        ({2: 1.0, 4: 1.0, 6: 2.0, 8: 2.0}, "min", 4),
    ],
)
def test_a_run_that_was_started_again_keeps_and_finds_the_best_of_all_its_starts(tmp_path, losses, mode, best):
    _save(tmp_path, {step: loss for step, loss in losses.items() if step <= 6}, mode)
    _save(tmp_path, {8: losses[8]}, mode)
    assert _kept(tmp_path) == [best, 8]
    assert resolve_checkpoint(f"{tmp_path}@best") == tmp_path / "checkpoints" / str(best)


def test_where_nothing_has_the_metric_there_is_no_best():
    assert best_of({1: {"a": math.nan}, 2: {"b": 1.0}}, "a", "min") is None


def test_what_nobody_measures_is_refused_before_anything_is_written(tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(AgentBankError, match=r"best_metric='eval/los' is not measured .* Did you mean 'eval/loss'"):
        _train(folder, [Told("eval/loss", 2, {})], steps=2, best_metric="eval/los")
    with pytest.raises(AgentBankError, match="the run measures nothing while it trains"):
        _train(folder, [], steps=2, best_metric="eval/loss")
    assert not folder.exists()


def test_of_many_values_a_line_tells_those_over_all_tasks():
    values = {
        "eval/a/loss": 1.0,
        "eval/b/loss": 3.0,
        "eval/loss": 2.0,
        "arena/s/a/success": 0.5,
        "arena/s/success": 0.5,
    }
    assert totals(values) == {"eval/loss": 2.0, "arena/s/success": 0.5}
    assert totals({"arena/s/a/success": 0.5}) == {"arena/s/a/success": 0.5} and totals({}) == {}
