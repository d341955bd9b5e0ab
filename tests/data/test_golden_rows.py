"""Small rows, written out: token, mask, segment and position side by side, as the model reads them.

Where one of these changes, so does what every model learns: raise the template's `version`, which
checkpoints carry, and write the new rows down.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from agentbank_jax.data.declarations import get_task
from agentbank_jax.data.delivery import PackedBatches
from agentbank_jax.data.token_cache import build_cache
from agentbank_jax.trajectories.formats.agentbank import write_parquet
from agentbank_jax.trajectories.schema import Trajectory, Turn
from agentbank_jax.trajectories.templates.registry import ChatTemplate, Llama2Template, TemplateOptions, get_template
from agentbank_jax.trajectories.tokenizers.tokenizer import Tokenizer
from tests.trajectories.fake import make_trajectory
from tests.trajectories.published import LLAMA3_SPECIALS, byte_level_json, texts_of, write_checkpoint

TRAJECTORIES = [
    Trajectory(
        id="one",
        task="fake_house",
        turns=(
            Turn.user("cup"),
            Turn.assistant("Thought: look.\nAction: take"),
            Turn.user("lake"),
            Turn.assistant("put"),
        ),
    ),
    Trajectory(id="two", task="fake_house", turns=(Turn.user("bread"), Turn.assistant("Action: bowl"))),
]


@pytest.fixture(scope="module")
def llama3(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    texts = ["system\n\n", "user\n\n", "assistant\n\n"] * 20 + texts_of(make_trajectory(number) for number in range(50))
    folder = tmp_path_factory.mktemp("llama3")
    return Tokenizer.load(write_checkpoint(folder, byte_level_json(texts, LLAMA3_SPECIALS, 400), None))


def write_bank(folder: Path) -> Path:
    write_parquet(folder / "fake_house/train-00000-of-00001.parquet", TRAJECTORIES)
    return folder


def runs_of(row: Mapping[str, np.ndarray], tokenizer: Tokenizer) -> list[tuple[str, int, int, int]]:
    """The targets of a row, in runs that are alike: pieces, mask, segment, position of the first."""
    runs: list[tuple[list[str], int, int, int]] = []
    columns = (row[name].tolist() for name in ("tokens", "targets", "loss_weights", "segment_ids", "positions"))
    for token, target, weight, segment, position in zip(*columns, strict=True):
        if not segment:
            assert (token, target, weight, position) == (0, 0, 0, 0)
            continue
        if position == 0:
            runs.append(([tokenizer.piece(token)], 0, segment, 0))
        if (int(weight), segment) != runs[-1][1:3]:
            runs.append(([], int(weight), segment, position + 1))
        runs[-1][0].append(tokenizer.piece(target))
    return [("·".join(pieces), *rest) for pieces, *rest in runs]


def row_of(template: ChatTemplate, folder: Path) -> list[tuple[str, int, int, int]]:
    """The only row that is delivered."""
    data_dir = write_bank(folder / "data")
    cache = build_cache("fake_house", template, max_length=150, data_dir=data_dir, cache_dir=folder / "cache")
    batch = PackedBatches(cache, batch_size=1, length=150).batch_at(0)
    return runs_of({name: values[0] for name, values in batch.items()}, template.tokenizer)  # type: ignore[attr-defined]


def test_rows_of_llama2(mixture: str, template: Llama2Template, tmp_path: Path) -> None:
    assert row_of(template, tmp_path) == LLAMA2


def test_rows_of_llama3(mixture: str, llama3: Tokenizer, tmp_path: Path) -> None:
    assert row_of(get_template("llama3", llama3), tmp_path) == LLAMA3


def test_rows_without_thoughts(mixture: str, template: Llama2Template, tmp_path: Path) -> None:
    options = TemplateOptions(train_thoughts=False)
    assert row_of(get_template("llama2", template.tokenizer, options), tmp_path) == WITHOUT_THOUGHTS


@pytest.mark.parametrize("name", ["llama2", "llama3"])
def test_seqio_packs_the_same_rows(
    mixture: str, template: Llama2Template, llama3: Tokenizer, name: str, tmp_path: Path
) -> None:
    pytest.importorskip("seqio")
    from agentbank_jax.data.seqio_feature_converter import TrajectoryFeatureConverter, task_feature_lengths
    from agentbank_jax.data.seqio_preprocessors import encode_turns
    from agentbank_jax.data.seqio_source import trajectory_source

    chosen = get_template(name, llama3 if name == "llama3" else template.tokenizer)
    source = trajectory_source(get_task("fake_house"), lambda: write_bank(tmp_path))
    encoded = encode_turns(source.get_dataset("train", shuffle=False), template=lambda: chosen)
    dataset = encoded.map(lambda row: {feature: row[feature] for feature in ("targets", "trained")})
    (row,) = TrajectoryFeatureConverter(pack=True)(dataset, task_feature_lengths(150)).as_numpy_iterator()
    assert runs_of(row, chosen.tokenizer) == {"llama2": LLAMA2, "llama3": LLAMA3}[name]


_LLAMA2_OPENING = "<s>· [·INST·]· <<·SYS·>>·\n·Use· search·[·query·]· or· answer·.·\n·<</·SYS·>>·\n·\n·"
LLAMA2 = [
    (_LLAMA2_OPENING + "cup· [/·INST·]", 0, 1, 0),
    (" Thought·:· look·.·\n·Action·:· take· ·</s>", 1, 1, 26),
    ("<s>· [·INST·]· lake· [/·INST·]", 0, 1, 36),
    (" put· ·</s>", 1, 1, 44),
    (_LLAMA2_OPENING + "b·read· [/·INST·]", 0, 2, 0),
    (" ·Action·:· bowl· ·</s>", 1, 2, 27),
]
WITHOUT_THOUGHTS = [
    (LLAMA2[0][0] + "· Thought·:· look·.·\n", 0, 1, 0),
    ("Action·:· take· ·</s>", 1, 1, 31),
    *LLAMA2[2:],
]
_USER, _ASSISTANT = (f"<|start_header_id|>·{role}·<|end_header_id|>·\n\n·" for role in ("user", "assistant"))
_LLAMA3_OPENING = (
    "<|begin_of_text|>·<|start_header_id|>·system·<|end_header_id|>·\n\n·"
    f"Use· search·[query·]· or· answer·.·<|eot_id|>·{_USER}"
)
LLAMA3 = [
    (f"{_LLAMA3_OPENING}cup·<|eot_id|>·{_ASSISTANT}"[:-1], 0, 1, 0),
    ("Thought·:· look·.\n·Action·:· take·<|eot_id|>", 1, 1, 23),
    (f"{_USER}lake·<|eot_id|>·{_ASSISTANT}"[:-1], 0, 1, 31),
    ("put·<|eot_id|>", 1, 1, 41),
    (f"{_LLAMA3_OPENING}bread·<|eot_id|>·{_ASSISTANT}"[:-1], 0, 2, 0),
    ("Action·:· bowl·<|eot_id|>", 1, 2, 23),
]
