"""SeqIO gives exactly the ids, masks and rows that the token cache and the delivery give."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

seqio = pytest.importorskip("seqio")
import tensorflow as tf  # noqa: E402

from agentbank_jax.data.declarations import get_mixture, get_task  # noqa: E402
from agentbank_jax.data.seqio_feature_converter import TrajectoryFeatureConverter, task_feature_lengths  # noqa: E402
from agentbank_jax.data.seqio_preprocessors import TRAINED, encode_turns  # noqa: E402
from agentbank_jax.data.seqio_source import trajectory_source  # noqa: E402
from agentbank_jax.data.sources import read_task  # noqa: E402
from agentbank_jax.data.token_cache import TokenCache, build_cache  # noqa: E402
from agentbank_jax.errors import AgentBankError  # noqa: E402
from agentbank_jax.trajectories.formats.agentbank import write_parquet  # noqa: E402
from agentbank_jax.trajectories.schema import Turn  # noqa: E402
from agentbank_jax.trajectories.templates.registry import Llama2Template, get_template  # noqa: E402
from agentbank_jax.trajectories.tokenizers.tokenizer import Tokenizer  # noqa: E402
from tests.trajectories.fake import make_trajectory  # noqa: E402
from tests.trajectories.published import LLAMA3_SPECIALS, byte_level_json, texts_of, write_checkpoint  # noqa: E402

LENGTH = 400


@pytest.fixture(scope="module")
def registered(mixture: str, data_dir: Path, template: Llama2Template, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The fake mixture in SeqIO's registry."""
    model = tmp_path_factory.mktemp("vocabulary") / "fake.model"
    model.write_bytes(template.tokenizer.model)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AGENTBANK_DATA_DIR", os.fspath(data_dir))
        from agentbank_jax.tasks import seqio_registry

        # The import has registered all that is declared, these with the default vocabulary.
        for name in ("fake", "fake_uneven"):
            seqio.MixtureRegistry.remove(name)
        for name in get_mixture(mixture).rates:
            seqio.TaskRegistry.remove(name)
            seqio_registry.register_task(get_task(name), tokenizer=model)
        seqio_registry.register_mixture(get_mixture(mixture))
        yield mixture


def examples_of(name: str, length: int = LENGTH) -> list[dict[str, np.ndarray]]:
    dataset = seqio.get_mixture_or_task(name).get_dataset(
        task_feature_lengths(length), split="train", shuffle=False, num_epochs=1
    )
    return list(dataset.as_numpy_iterator())


def test_a_task_gives_the_ids_and_masks_of_the_cache(registered: str, cache: TokenCache) -> None:
    index = 0
    for task in cache.tasks:
        for example in examples_of(task.task.name):
            tokens, trained = cache.example(index)
            np.testing.assert_array_equal(example["targets"], tokens)
            np.testing.assert_array_equal(example["trained"] == TRAINED, trained)
            assert set(example["trained"].tolist()) == {1, 2}
            index += 1
    assert index == len(cache)


def test_over_long_trajectories_are_dropped_as_in_the_cache(
    registered: str, data_dir: Path, template: Llama2Template, tmp_path: Path
) -> None:
    short = build_cache("fake_qa", template, max_length=150, data_dir=data_dir, cache_dir=tmp_path)
    assert 0 < len(short) < 60
    found = [example["id"].decode() for example in examples_of("fake_qa", 150)]
    assert found == list(short.tasks[0].ids)


def test_packed_rows_take_apart_into_the_examples(registered: str, cache: TokenCache) -> None:
    lengths = task_feature_lengths(LENGTH)
    dataset = seqio.get_mixture_or_task("fake_qa").get_dataset(lengths, split="train", shuffle=False, num_epochs=1)
    rows = list(TrajectoryFeatureConverter(pack=True)(dataset, lengths).as_numpy_iterator())
    found = []
    for row in rows:
        assert {name: values.dtype.name for name, values in row.items()} == {
            "tokens": "int32",
            "targets": "int32",
            "loss_weights": "float32",
            "positions": "int32",
            "segment_ids": "int32",
        }
        assert not row["loss_weights"][row["segment_ids"] == 0].any()
        for segment in range(1, row["segment_ids"].max() + 1):
            chosen = row["segment_ids"] == segment
            assert row["positions"][chosen].tolist() == list(range(chosen.sum()))
            found.append(
                (
                    [*row["tokens"][chosen].tolist(), int(row["targets"][chosen][-1])],
                    [False, *(row["loss_weights"][chosen] == 1).tolist()],
                )
            )
    assert max(row["segment_ids"].max() for row in rows) > 1
    expected = [(tokens.tolist(), trained.tolist()) for tokens, trained in map(cache.example, range(60))]
    assert sorted(found) == sorted(expected)


def test_padded_rows_hold_one_example_each(registered: str, cache: TokenCache) -> None:
    lengths = task_feature_lengths(LENGTH)
    dataset = seqio.get_mixture_or_task("fake_qa").get_dataset(lengths, split="train", shuffle=False, num_epochs=1)
    for index, row in enumerate(TrajectoryFeatureConverter(pack=False)(dataset, lengths).as_numpy_iterator()):
        tokens, trained = cache.example(index)
        used = len(tokens) - 1
        assert row["tokens"].tolist() == [*tokens[:-1].tolist(), *[0] * (LENGTH - used)]
        assert row["targets"].tolist() == [*tokens[1:].tolist(), *[0] * (LENGTH - used)]
        assert row["loss_weights"].tolist() == [*trained[1:].astype(float).tolist(), *[0.0] * (LENGTH - used)]
        assert row["positions"].tolist() == [*range(used), *[0] * (LENGTH - used)]
        assert row["segment_ids"].tolist() == [1] * used + [0] * (LENGTH - used)


def test_a_token_with_id_0_is_refused() -> None:
    dataset = tf.data.Dataset.from_tensors({"targets": [1, 5, 0, 2], "trained": [1, 1, 2, 2]})
    converted = TrajectoryFeatureConverter(pack=True)(dataset, task_feature_lengths(8))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"token id 0"):
        list(converted.as_numpy_iterator())


def test_a_trajectory_with_id_0_is_named_and_refused_whatever_converts_it(data_dir: Path, tmp_path: Path) -> None:
    specification = byte_level_json(texts_of(make_trajectory(number) for number in range(50)), LLAMA3_SPECIALS, 400)
    # As Llama-3's: byte-level vocabularies begin with the exclamation mark.
    tokenizer = Tokenizer.load(write_checkpoint(tmp_path / "llama3", specification, None))
    assert tokenizer.piece(0) == "!"
    shouting = replace(make_trajectory(1), id="loud", turns=(Turn.user("Look!"), Turn.assistant("Action: look")))
    write_parquet(tmp_path / "data/starter_web/train-00000-of-00001.parquet", [make_trajectory(0), shouting])
    source = trajectory_source(get_task("starter_web"), lambda: tmp_path / "data")
    dataset = encode_turns(source.get_dataset("train"), template=lambda: get_template("llama3", tokenizer))
    rows = dataset.as_numpy_iterator()
    assert next(rows)["id"] == b"t0"
    with pytest.raises(tf.errors.OpError, match=r"trajectory 'loud' holds '!', the token with id 0.*token cache"):
        next(rows)


def test_the_template_is_that_of_the_environment_or_the_call_and_never_passed_over(
    registered: str, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agentbank_jax.tasks import seqio_registry

    specification = byte_level_json(texts_of(make_trajectory(number) for number in range(50)), LLAMA3_SPECIALS, 400)
    checkpoint = write_checkpoint(tmp_path / "llama3", specification, None)
    expected = get_template("llama3", Tokenizer.load(checkpoint))
    first = next(iter(read_task(get_task("fake_qa"), data_dir)))
    monkeypatch.setenv("AGENTBANK_TEMPLATE", "llama3")
    task = seqio_registry.register_task(replace(get_task("fake_qa"), name="fake_llama3"), tokenizer=checkpoint)
    try:
        example = next(task.get_dataset(None, split="train", shuffle=False).as_numpy_iterator())
        np.testing.assert_array_equal(example["targets"], expected.encode(first).tokens)
        assert seqio_registry.register_task(replace(get_task("fake_qa"), name="fake_llama3")) is task
        for other in ({"template": "llama2"}, {"over_long": "split_at_turn"}, {"tokenizer": checkpoint}):
            with pytest.raises(AgentBankError, match=r"'fake_llama3' is registered .*TaskRegistry.remove"):
                seqio_registry.register_task(replace(get_task("fake_qa"), name="fake_llama3"), **other)
    finally:
        seqio.TaskRegistry.remove("fake_llama3")


def test_the_mixture_draws_in_proportion_to_its_tasks(registered: str) -> None:
    mixture = seqio.get_mixture_or_task(registered)
    rates = {task.name: mixture.get_rate(task) for task in mixture.tasks}
    assert rates == {"fake_qa": 60, "fake_house": 25}


def test_all_declared_names_are_registered(registered: str) -> None:
    for name in ("starter", "starter_reasoning", "starter_embodied", "gsm8k", "agentbank_all", "samoyed"):
        provider = seqio.get_mixture_or_task(name)
        assert all(task.metric_fns for task in getattr(provider, "tasks", [provider]))


def test_split_trajectories_are_the_parts_of_the_cache(
    registered: str, data_dir: Path, template: Llama2Template, tmp_path: Path
) -> None:
    from agentbank_jax.data.seqio_preprocessors import fit_lengths

    cut = build_cache(
        "fake_qa", template, max_length=119, data_dir=data_dir, cache_dir=tmp_path, over_long="split_at_turn"
    )
    assert any("#part" in identifier for identifier in cut.tasks[0].ids)
    # All of them, before the policy.
    whole = seqio.get_mixture_or_task("fake_qa").get_dataset({"targets": 10_000}, split="train", shuffle=False)
    parts = list(fit_lengths(whole, {"targets": 120}, {}, over_long="split_at_turn").as_numpy_iterator())
    assert [part["id"].decode() for part in parts] == list(cut.tasks[0].ids)
    for index, part in enumerate(parts):
        tokens, trained = cut.example(index)
        np.testing.assert_array_equal(part["targets"], tokens)
        np.testing.assert_array_equal(part["trained"] == TRAINED, trained)
