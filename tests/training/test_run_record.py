"""The record of a run's starts, and the goodput over them."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from agentbank_jax.errors import AgentBankError
from agentbank_jax.parallel.mesh import MeshConfig
from agentbank_jax.training.goodput import KINDS, Goodput
from agentbank_jax.training.loop import train
from agentbank_jax.training.metrics import MetricsWriter, read_metrics
from agentbank_jax.training.optimizer import OptimizerConfig
from agentbank_jax.training.run_record import RunRecord, _git
from agentbank_jax.training.train_config import TrainConfig
from tests.training.made_batches import MadeBatches
from tests.training.run_made import CONFIG
from tests.training.stand_in_wandb import StandIn


def write(folder: Path, *records: tuple[int, float, float]) -> None:
    """Metrics of (step, seconds of steps, seconds in all); 100 tokens a step."""
    with MetricsWriter(folder, start_step=records[0][0] - 1) as writer:
        for step, steps, total in records:
            values = {"seconds/steps": steps, "seconds/start_up": total - steps, "seconds/total": total}
            writer.write(step, {"tokens": 100.0 * step, **values})


def begin(folder: Path, step: int = 0, config: str | None = None) -> RunRecord:
    """A start that is killed as soon as it has begun."""
    record = RunRecord(folder, step)
    with record.start(Goodput(), {"mesh": {"data": 1}}, config):
        begun = (folder / "run.json").read_bytes()
    (folder / "run.json").write_bytes(begun)
    return record


def test_the_first_start_of_a_run_has_no_earlier_ones(tmp_path: Path) -> None:
    record = RunRecord(tmp_path, 0)
    assert record.earlier.starts == 0 and record.earlier.seconds == {} and record.lines() == []


def test_a_start_tells_what_it_was(tmp_path: Path) -> None:
    begin(tmp_path, config="A.b = 1\n")
    kept = json.loads((tmp_path / "run.json").read_text())
    (start,) = kept["starts"]
    assert start["step"] == 0 and start["mesh"] == {"data": 1} and "end" not in start
    assert start["devices"] == {"cpu": jax.device_count()} and start["processes"] == 1 and start["host"]
    assert start["versions"]["jax"] == jax.__version__ and start["versions"]["optax"]
    assert start["configuration"]["file"] == "operative_config.gin"
    assert kept["configurations"] == {start["configuration"]["sha256"]: "A.b = 1\n"}


def test_starts_with_the_same_configuration_keep_it_once(tmp_path: Path) -> None:
    for config in ("a", "a", "b"):
        begin(tmp_path, config=config)
    kept = json.loads((tmp_path / "run.json").read_text())
    hashes = [start["configuration"]["sha256"] for start in kept["starts"]]
    assert hashes[0] == hashes[1] != hashes[2] and sorted(kept["configurations"].values()) == ["a", "b"]


def test_steps_beyond_the_checkpoint_of_a_killed_start_are_repeated_and_the_rest_counts(tmp_path: Path) -> None:
    begin(tmp_path)
    write(tmp_path, (10, 20.0, 25.0), (20, 40.0, 45.0), (30, 60.0, 65.0))
    earlier = RunRecord(tmp_path, 25).earlier
    assert earlier.starts == 1 and earlier.tokens == 2500
    assert earlier.seconds["steps"] == 50 and earlier.seconds["repeated"] == 10
    assert earlier.seconds["start_up"] == 5 and earlier.seconds["total"] == 65


def test_nothing_is_repeated_where_the_checkpoint_is_younger_than_the_last_record(tmp_path: Path) -> None:
    begin(tmp_path)
    write(tmp_path, (10, 20.0, 25.0))
    earlier = RunRecord(tmp_path, 14).earlier
    assert earlier.seconds["steps"] == 20 and earlier.seconds["repeated"] == 0 and earlier.tokens == 1400


def test_a_start_that_was_killed_before_its_first_record_loses_nothing_of_those_before(tmp_path: Path) -> None:
    begin(tmp_path)
    write(tmp_path, (10, 20.0, 25.0), (20, 40.0, 45.0))
    begin(tmp_path, 10)
    with MetricsWriter(tmp_path, start_step=10):
        pass
    earlier = RunRecord(tmp_path, 10).earlier
    assert earlier.starts == 2 and earlier.seconds["total"] == 45
    assert earlier.seconds["steps"] == 20 and earlier.seconds["repeated"] == 20


def test_steps_after_the_last_record_of_a_start_that_broke_are_repeated(tmp_path: Path) -> None:
    goodput = Goodput()
    with pytest.raises(AgentBankError), RunRecord(tmp_path, 0).start(goodput, {}):
        goodput.steps_begin()
        write(tmp_path, (10, 20.0, 25.0))
        goodput.go_on({"steps": 26.0, "start_up": 5.0, "total": 31.0})
        raise AgentBankError("broken")
    seconds = RunRecord(tmp_path, 10).earlier.seconds
    assert seconds["steps"] == 20 and seconds["repeated"] == pytest.approx(6, abs=0.5) and seconds["total"] > 31
    (tmp_path / "metrics.jsonl").unlink()
    seconds = RunRecord(tmp_path, 0).earlier.seconds
    assert seconds["steps"] == 0 and seconds["repeated"] == pytest.approx(26, abs=0.5)


def test_how_a_start_ended_is_told_with_its_seconds(tmp_path: Path) -> None:
    goodput = Goodput()
    with pytest.raises(AgentBankError), RunRecord(tmp_path, 0).start(goodput, {}):
        goodput.add("data", 7.0)
        raise AgentBankError("no room")
    with RunRecord(tmp_path, 0).start(Goodput(), {}):
        pass
    ends = [start["end"] for start in json.loads((tmp_path / "run.json").read_text())["starts"]]
    assert [end["how"] for end in ends] == ["AgentBankError: no room", "finished"]
    assert ends[0]["seconds"]["data"] == ends[1]["seconds"]["data"] == 7.0


@pytest.mark.parametrize("content", ["", "{", "[]", '{"starts": [1], "configurations": {}}', '{"starts": 3}'])
def test_a_damaged_record_is_put_aside_and_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    record = begin(tmp_path)
    (line,) = record.lines()
    assert "run.json.damaged" in line and (tmp_path / "run.json.damaged").read_text() == content
    assert len(json.loads((tmp_path / "run.json").read_text())["starts"]) == 1


def test_the_revision_is_that_of_the_checkout_which_holds_the_file(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        name = ["-c", "user.name=a", "-c", "user.email=a@b"]
        command = ["git", "-C", str(tmp_path), *name, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    file = tmp_path / "module.py"
    file.write_text("1\n")
    assert _git(file) is None
    git("init", "--quiet")
    # A file that the checkout around it does not know is none of it, as in an environment inside of a checkout.
    assert _git(file) is None
    git("add", "module.py")
    git("commit", "--quiet", "--message=one")
    assert _git(file) == {"revision": git("rev-parse", "HEAD"), "dirty": False}
    file.write_text("2\n")
    assert _git(file) == {"revision": git("rev-parse", "HEAD"), "dirty": True}


class BreakingBatches(MadeBatches):
    """Ends in an error at one batch, as data does that cannot be read."""

    breaks_at = -1

    def iterator(self, start_step: int = 0):
        for number, batch in enumerate(super().iterator(start_step), start_step):
            if number == self.breaks_at:
                raise OSError("no such shard")
            yield batch


def run(folder: Path, breaks_at: int = -1, **changes) -> None:
    batches = BreakingBatches(CONFIG.vocab_size)
    batches.breaks_at = breaks_at
    settings = {"steps": 8, "log_every": 1, "checkpoint_every": 4, "compilation_cache": "", "peak_flops": 1e9}
    train(
        CONFIG,
        TrainConfig(**{**settings, **changes}),
        OptimizerConfig(learning_rate=1e-2),
        MeshConfig(data=-1, fsdp=1),
        batches,
        folder,
        facts={"template": "made"},
        operative_config="TrainConfig.steps = 8\n",
    )


@pytest.fixture(scope="module")
def broken_and_finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict], StandIn]:
    """A run that broke in step 7, inside of its profile, and went on from step 4; what it had written by then, and what
    it told Weights & Biases afterwards."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.raises(OSError, match="no such shard"):
        run(folder, breaks_at=6, profile_start=3, profile_steps=100)
    first = read_metrics(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "wandb", wandb := StandIn())
        run(folder, wandb_project="agents")
    return folder, first, wandb


def test_goodput_goes_on_over_all_starts_of_a_run(broken_and_finished) -> None:
    folder, first, _ = broken_and_finished
    records = read_metrics(folder)
    assert [record["step"] for record in records] == list(range(1, 9))
    totals = [record["seconds/total"] for record in records]
    assert totals == sorted(totals) and totals[4] > first[-1]["seconds/total"]
    # Steps 5 and 6 were done again.
    repeated = first[-1]["seconds/steps"] - first[3]["seconds/steps"]
    assert records[3]["seconds/repeated"] == 0 and records[-1]["seconds/repeated"] >= 0.99 * repeated > 0
    for record in records:
        spent = sum(record[f"seconds/{kind}"] for kind in ("start_up", *KINDS, "steps"))
        assert spent == pytest.approx(record["seconds/total"], rel=1e-6)
        assert record["goodput"] == pytest.approx(record["seconds/steps"] / record["seconds/total"], rel=0.01)


def test_tokens_are_those_of_a_run_that_never_stopped(broken_and_finished) -> None:
    batches = MadeBatches(CONFIG.vocab_size)
    expected = sum(int((batches.batch_at(step)["segment_ids"] > 0).sum()) for step in range(8))
    assert read_metrics(broken_and_finished[0])[-1]["tokens"] == expected


def test_a_run_tells_weights_and_biases_its_settings_and_every_record(broken_and_finished) -> None:
    folder, _, wandb = broken_and_finished
    ((options,),) = wandb.of("init")
    assert options["project"] == "agents" and options["config"]["TrainConfig"]["steps"] == 8
    assert options["config"]["LlamaConfig"]["vocab_size"] == CONFIG.vocab_size
    told = {values["step"]: values["train/loss"] for (values,) in wandb.of("log")}
    assert told == {record["step"]: record["loss"] for record in read_metrics(folder)[4:]}
    assert wandb.of("finish") == [[0]]


def test_each_start_of_a_run_is_recorded(broken_and_finished) -> None:
    starts = json.loads((broken_and_finished[0] / "run.json").read_text())["starts"]
    assert [start["step"] for start in starts] == [0, 4]
    assert [start["end"]["how"] for start in starts] == ["OSError: no such shard", "finished"]
    assert starts[0]["data_fingerprint"] == MadeBatches(CONFIG.vocab_size).fingerprint
    assert set(starts[0]["mesh"]) >= {"data", "fsdp"}


def test_a_start_with_nothing_left_to_do_is_none(broken_and_finished) -> None:
    before = (broken_and_finished[0] / "run.json").read_bytes()
    run(broken_and_finished[0])
    assert (broken_and_finished[0] / "run.json").read_bytes() == before


def test_a_profile_is_whole_and_over_when_the_run_breaks_inside_of_it(broken_and_finished, tmp_path: Path) -> None:
    assert list((broken_and_finished[0] / "profile").rglob("*.xplane.pb"))
    # It would be refused beside another.
    jax.profiler.start_trace(tmp_path)
    jax.profiler.stop_trace()
