"""A SeqIO evaluator compares the reply that a model writes with the last one of each trajectory."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

seqio = pytest.importorskip("seqio")

from agentbank_jax.data.declarations import TaskDeclaration, get_task  # noqa: E402
from agentbank_jax.data.seqio_feature_converter import TrajectoryFeatureConverter, task_feature_lengths  # noqa: E402
from agentbank_jax.data.seqio_metrics import action_accuracy, prompt_of  # noqa: E402
from agentbank_jax.data.seqio_vocabulary import TokenizerVocabulary, make_vocabulary  # noqa: E402
from agentbank_jax.data.sources import read_task  # noqa: E402
from agentbank_jax.trajectories.templates.registry import ChatTemplate, Llama2Template, get_template  # noqa: E402
from agentbank_jax.trajectories.tokenizers.tokenizer import Tokenizer  # noqa: E402
from tests.trajectories.fake import make_trajectory  # noqa: E402
from tests.trajectories.published import LLAMA3_SPECIALS, byte_level_json, texts_of, write_checkpoint  # noqa: E402


@pytest.fixture(scope="module")
def llama3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llama3")
    specification = byte_level_json(texts_of(make_trajectory(number) for number in range(50)), LLAMA3_SPECIALS, 400)
    write_checkpoint(folder, specification, None)
    return folder


@pytest.fixture(params=["llama2", "llama3"])
def task(
    request: pytest.FixtureRequest,
    mixture: str,
    data_dir: Path,
    template: Llama2Template,
    llama3: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[tuple[TaskDeclaration, Tokenizer]]:
    """A task in SeqIO's registry, with a tokenizer of each kind, and its tokenizer."""
    monkeypatch.setenv("AGENTBANK_DATA_DIR", os.fspath(data_dir))
    from agentbank_jax.tasks import seqio_registry

    path = llama3
    if request.param == "llama2":
        path = tmp_path / "fake.model"
        path.write_bytes(template.tokenizer.model)
    # Under a name of its own, with the files of another.
    declared = replace(get_task("fake_house"), name=f"evaluated_{request.param}", config="fake_house")
    seqio_registry.register_task(declared, tokenizer=path, template=request.param)
    yield declared, Tokenizer.load(path)
    seqio.TaskRegistry.remove(declared.name)


def template_of(task: TaskDeclaration, tokenizer: Tokenizer) -> ChatTemplate:
    return get_template(task.name.removeprefix("evaluated_"), tokenizer)


def evaluate(name: str, replies: list[list[int]], length: int | None = 600) -> tuple[float, list[np.ndarray]]:
    """Lets an evaluator ask for the replies; returns what it reports, and the prompts that it gave."""
    evaluator = seqio.Evaluator(
        name,
        TrajectoryFeatureConverter(pack=False),
        eval_split="train",
        sequence_length=length and task_feature_lengths(length),
    )
    prompts = []

    def predict(dataset: object) -> list[tuple[int, list[int]]]:
        longest = max(map(len, replies))
        found = []
        for index, row in dataset.as_numpy_iterator():  # type: ignore[attr-defined]
            prompts.append(prompt_of(row))
            # SeqIO wants arrays of one shape, and reads up to the first stop token; in any order.
            found.append((int(index), [*replies[index], *[7] * (longest - len(replies[index]))]))
        return found[::-1]

    metrics, _ = evaluator.evaluate(compute_metrics=True, predict_fn=predict)
    value = metrics.result()[name]["action_accuracy"]
    evaluator.close()
    return float(value.value), prompts


def test_an_evaluator_scores_replies_by_their_actions(task: tuple[TaskDeclaration, Tokenizer], data_dir: Path) -> None:
    declared, tokenizer = task
    trajectories = list(read_task(declared, data_dir))
    stop = template_of(declared, tokenizer).stop_ids[0]
    right = [[*tokenizer.encode(trajectory.turns[-1].content), stop] for trajectory in trajectories]
    assert evaluate(declared.name, right)[0] == 1.0
    # Other thoughts, the same final answer.
    thoughts = ["Thought: lake.\n" + t.turns[-1].content.split("\n", 1)[1] for t in trajectories]
    assert evaluate(declared.name, [[*tokenizer.encode(text), stop] for text in thoughts])[0] == 1.0
    # The replies to what came before are not those to the last observation.
    first = [[*tokenizer.encode(trajectory.turns[2].content), stop] for trajectory in trajectories]
    assert evaluate(declared.name, first)[0] == 0.0
    some = [right[index] if index < 10 else first[index] for index in range(25)]
    assert evaluate(declared.name, some)[0] == 10 / 25


def test_the_prompt_is_what_acting_would_read(task: tuple[TaskDeclaration, Tokenizer], data_dir: Path) -> None:
    declared, tokenizer = task
    template = template_of(declared, tokenizer)
    _, prompts = evaluate(declared.name, [[7]] * 25, length=None)
    for prompt, trajectory in zip(prompts, read_task(declared, data_dir), strict=True):
        assert prompt.tolist() == template.prompt_ids(trajectory.turns[:-1])


def test_only_the_action_counts() -> None:
    targets = ["Thought: a\nAction: look", "Thought: a\nFinal Answer: 3", "Thought: a\nAction: take cup", ""]
    predictions = ["Thought: b\nAction:  look ", "Thought: b\nFinal Answer: 4", "nothing", ""]
    assert action_accuracy(targets, predictions)["action_accuracy"].value == pytest.approx(1 / 3)
    assert action_accuracy([], [])["action_accuracy"].value == 0


def test_a_fast_tokenizer_is_a_seqio_vocabulary(llama3: Path) -> None:
    tokenizer = Tokenizer.load(llama3)
    vocabulary = make_vocabulary(llama3, lambda: tokenizer.special_id("<|eot_id|>", owner="llama3"))
    text = "Thought: look.\nAction: take <|eot_id|>"
    ids = tokenizer.encode(text)
    eos = vocabulary.eos_id
    assert make_vocabulary(llama3).eos_id == tokenizer.eos_id != eos
    assert isinstance(vocabulary, TokenizerVocabulary) and vocabulary.vocab_size == tokenizer.vocab_size
    assert vocabulary.encode(text) == ids and vocabulary.encode_tf(text).numpy().tolist() == ids
    assert vocabulary.decode([*ids, eos, *ids]) == text
    assert vocabulary.decode_tf(np.array([*ids, eos, *ids], np.int32)).numpy().decode() == tokenizer.spell(
        [*ids, eos, *ids]
    )
    assert vocabulary == make_vocabulary(llama3 / "tokenizer.json") != make_vocabulary("other.json")
