import io
import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
import sentencepiece
from rich.console import Console

from agentbank_jax.errors import AgentBankError
from agentbank_jax.evaluation.checkpoint import evaluate_checkpoint
from agentbank_jax.evaluation.sweep import SweepConfig
from agentbank_jax.models import forward
from agentbank_jax.models.llama import LlamaConfig
from agentbank_jax.training.checkpoints import Checkpoints
from agentbank_jax.training.state import TrainState
from agentbank_jax.trajectories.tokenizers.tokenizer import Tokenizer

SWEEP = SweepConfig(
    name="held_in", tasks=("counting", "counting_far"), episodes_per_task=3, max_new_tokens=6, slots=4, max_length=256
)


def vocabulary(text: str) -> bytes:
    buffer = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([text] * 9),
        model_writer=buffer,
        model_type="bpe",
        vocab_size=320,
        byte_fallback=True,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return buffer.getvalue()


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder with an untrained checkpoint."""
    folder = tmp_path_factory.mktemp("runs") / "parrot"
    folder.mkdir()
    (folder / "tokenizer.model").write_bytes(vocabulary("add 1 Action: add 2 Observation: The sum is 3. Final Answer:"))
    tokenizer = Tokenizer.load(folder / "tokenizer.model")
    config = LlamaConfig(
        vocab_size=tokenizer.vocab_size, hidden_size=16, intermediate_size=32, num_layers=1, num_heads=2,
        max_position_embeddings=256,
    )  # fmt: skip
    facts = {"template": "llama2/1", "tokenizer_sha256": tokenizer.fingerprint, "stop_ids": [tokenizer.eos_id]}
    with Checkpoints(folder, keep=1, config=config, facts=facts) as checkpoints:
        checkpoints.save(TrainState(jnp.int32(5), forward.init(config, 3), ()), 5, "data")
    (folder / "manifest.json").write_text(json.dumps({"tasks": {"counting": ["counting/train/0"]}}))
    (folder / "metrics.jsonl").write_text('{"step": 1, "loss": 5.0}\n{"step": 5, "loss": 4.0}\n')
    return folder


@pytest.mark.usefixtures("specs")
def test_one_call_gives_tables_results_and_report_and_a_second_one_plays_nothing(
    model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = io.StringIO()
    first = evaluate_checkpoint([SWEEP], model_dir, tmp_path, console=Console(file=printed, width=120))
    (result,) = first.results
    assert result.models == ("parrot", "untrained", "random", "oracle")
    assert result.mean("oracle", held_out=True).success_rate == 1.0
    summary = result.tasks[0].summaries["parrot"]
    assert summary.episodes == 3 and summary.tokens > 0
    assert "held-out mean" in printed.getvalue() and "parrot: 6 episodes" in printed.getvalue()
    page = first.page.read_text()
    assert "parrot, step 5" in page and "Training loss" in page
    assert {path.name for path in (tmp_path / "held_in").iterdir()} == set(result.models)

    monkeypatch.setattr("agentbank_jax.evaluation.acting_model.Engine", None)
    second = evaluate_checkpoint([SWEEP], model_dir, tmp_path, console=Console(file=io.StringIO()))
    assert second.results == first.results


@pytest.mark.usefixtures("specs")
def test_trained_and_untrained_models_share_their_compiled_programs(model_dir: Path, tmp_path: Path) -> None:
    from agentbank_jax.generation import engine

    jax.clear_caches()
    evaluate_checkpoint([SWEEP], model_dir, tmp_path, console=Console(file=io.StringIO()))
    assert engine._decode._cache_size() == 1
    assert engine._prefill._cache_size() == 1


@pytest.mark.usefixtures("specs")
@pytest.mark.parametrize(
    ("sweeps", "message"),
    [
        ((), "No sweep"),
        ((SWEEP, SWEEP), "two have one name"),
        ((SweepConfig(tasks=("countng",)),), "Did you mean 'counting'"),
    ],
)
def test_wrong_sweeps_are_named_before_the_checkpoint_is_read(sweeps, message: str, tmp_path: Path) -> None:
    with pytest.raises(AgentBankError, match=message):
        evaluate_checkpoint(sweeps, tmp_path / "absent", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("specs")
def test_another_tokenizer_or_a_missing_manifest_is_refused(model_dir: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(model_dir, copy)
    (copy / "manifest.json").unlink()
    with pytest.raises(AgentBankError, match=r"manifest\.json is missing"):
        evaluate_checkpoint([SWEEP], copy, tmp_path / "out")
    shutil.copyfile(model_dir / "manifest.json", copy / "manifest.json")
    (copy / "tokenizer.model").write_bytes(vocabulary("Quite other words than those of the training."))
    with pytest.raises(AgentBankError, match="Put that tokenizer back"):
        evaluate_checkpoint([SWEEP], copy, tmp_path / "out")
    assert not (tmp_path / "out").exists()
