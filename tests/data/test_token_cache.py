"""The cache holds what the template gives, belongs to its sources, and is never read when it is stale or damaged."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from agentbank_jax.data import token_shards
from agentbank_jax.data.declarations import DeclarationError, get_task
from agentbank_jax.data.over_long import fit_to_length
from agentbank_jax.data.sources import read_mixture, task_files
from agentbank_jax.data.token_cache import TokenCache, TokenCacheError, build_cache
from agentbank_jax.errors import AgentBankError
from agentbank_jax.trajectories.formats.agentbank import write_parquet
from agentbank_jax.trajectories.templates.registry import Llama2Template, TemplateOptions
from agentbank_jax.trajectories.tokenizers.vocabulary import train_vocabulary
from tests.trajectories.fake import make_texts, make_trajectory


@pytest.fixture
def own_data(data_dir: Path, tmp_path: Path) -> Path:
    shutil.copytree(data_dir, tmp_path / "data")
    return tmp_path / "data"


def build(template: Llama2Template, folder: Path, name: str = "fake_house", **options: object) -> TokenCache:
    options = {"max_length": 400, **options}
    return build_cache(name, template, data_dir=folder, cache_dir=folder / "cache", **options)  # type: ignore[arg-type]


def test_the_cache_holds_what_the_template_gives(cache: TokenCache, template: Llama2Template, data_dir: Path) -> None:
    trajectories = list(read_mixture("fake", data_dir))
    assert len(cache) == len(trajectories) == 85
    for index, trajectory in enumerate(trajectories):
        expected = template.encode(trajectory)
        tokens, trained = cache.example(index)
        np.testing.assert_array_equal(tokens, expected.tokens)
        np.testing.assert_array_equal(trained, expected.trained)
        assert cache.lengths[index] == len(tokens)
    for task in cache.tasks:
        assert task.turns.tolist() == [t.assistant_turns for t in trajectories if t.task == task.task.name]
        assert task.trained_counts.sum() == task.trained.sum()
    assert cache.seen() == {name: [t.id for t in trajectories if t.task == name] for name in ("fake_qa", "fake_house")}


def test_a_cache_is_made_once(mixture: str, own_data: Path, template: Llama2Template) -> None:
    first = build(template, own_data)
    (folder,) = (own_data / "cache").iterdir()
    written = folder.stat().st_mtime_ns
    assert build(template, own_data).fingerprint == first.fingerprint
    assert folder.stat().st_mtime_ns == written


def test_other_sources_templates_and_lengths_have_other_caches(
    mixture: str, own_data: Path, template: Llama2Template, tmp_path: Path
) -> None:
    caches = [build(template, own_data), build(template, own_data, max_length=300)]
    caches.append(build(template, own_data, over_long="truncate_at_turn"))
    other = Llama2Template(train_vocabulary(make_texts(), 400, tmp_path / "other.model"))
    caches.append(build(other, own_data))
    for options in (TemplateOptions(train_on="last"), TemplateOptions(train_thoughts=False)):
        caches.append(build(Llama2Template(template.tokenizer, options), own_data))
    assert caches[-1].tasks[0].trained_counts.sum() < caches[0].tasks[0].trained_counts.sum()
    write_parquet(own_data / "fake_house" / "train-00000-of-00001.parquet", [make_trajectory(7, system=False)])
    caches.append(build(template, own_data))
    assert len({cache.fingerprint for cache in caches}) == len(caches)
    assert len(caches[-1]) == 1


@pytest.mark.parametrize("name", ["tokens.bin", "trained.bin", "offsets.bin", "ids.json", "manifest.json"])
def test_damage_is_found_named_and_mended(
    mixture: str, own_data: Path, template: Llama2Template, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    fingerprint = build(template, own_data).fingerprint
    (folder,) = (own_data / "cache").iterdir()
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    assert build(template, own_data).fingerprint == fingerprint
    assert "is damaged" in caplog.text and f"{folder.name}.damaged" in caplog.text
    (folder / name).unlink()
    assert build(template, own_data).fingerprint == fingerprint
    caplog.clear()
    assert build(template, own_data).fingerprint == fingerprint and not caplog.text


@pytest.mark.parametrize("name", ["tokens.bin", "trained.bin"])
def test_a_damaged_shard_is_named_set_aside_and_made_again(
    mixture: str,
    own_data: Path,
    template: Llama2Template,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(token_shards, "SHARD_ROWS", 10)
    shards = build(template, own_data).tasks[0].manifest["shards"]
    assert [shard["rows"] for shard in shards] == [10, 10, 5]
    (folder,) = (own_data / "cache").iterdir()
    whole = (folder / name).read_bytes()
    width = len(whole) // sum(shard["tokens"] for shard in shards)
    ends = [width * sum(shard["tokens"] for shard in shards[: number + 1]) for number in range(3)]
    rows = ["rows 0 to 9", "rows 10 to 19", "rows 20 to 24"]

    def check(content: bytes, expected: str) -> None:
        (folder / name).write_bytes(content)
        caplog.clear()
        again = build(template, own_data)
        assert again.tasks[0].manifest["shards"] == shards and (folder / name).read_bytes() == whole
        assert f"task 'fake_house' is damaged ({expected})" in caplog.text
        assert (folder.with_name(folder.name + ".damaged") / name).read_bytes() == content

    for number, place in ((0, 0), (0, ends[0] - 1), (1, ends[0]), (1, ends[1] - 1), (2, ends[1]), (2, ends[2] - 1)):
        content = bytearray(whole)
        content[place] ^= 1
        check(bytes(content), f"shard {number + 1} of 3 in {name}, {rows[number]}, has changed")
    for content in (whole[:-1], whole + b"\0"):
        check(content, f"the size of {name} has changed")


def test_a_failed_build_leaves_nothing(mixture: str, own_data: Path, template: Llama2Template) -> None:
    (own_data / "fake_house" / "train-00000-of-00001.parquet").unlink()
    row = {"id": "a", "conversations": [{"from": "gpt", "value": "x"}]}
    (own_data / "fake_house" / "train.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(AgentBankError, match=r"train.jsonl, row 0"):
        build(template, own_data)
    assert not list((own_data / "cache").iterdir())


def test_a_folder_that_cannot_be_written_is_named(mixture: str, own_data: Path, template: Llama2Template) -> None:
    (own_data / "cache").write_text("a file")
    with pytest.raises(AgentBankError, match=r"cache/.*cannot be written.*--cache_dir"):
        build(template, own_data)


def test_missing_files_say_how_to_get_them(mixture: str, tmp_path: Path, template: Llama2Template) -> None:
    with pytest.raises(DeclarationError, match=r"'fake_house': no trajectories in .*; make it with: fake"):
        build(template, tmp_path)
    with pytest.raises(DeclarationError, match=r"python scripts/build_bank.py"):
        build(template, tmp_path, "starter")
    with pytest.raises(DeclarationError, match=r"Did you mean 'fake'"):
        build(template, tmp_path, "fakee")


def test_mixed_up_shards_are_refused(mixture: str, own_data: Path) -> None:
    qa = own_data / "fake_qa"
    shutil.copy(qa / "train-00000-of-00002.parquet", qa / "train-00000-of-00001.parquet")
    with pytest.raises(DeclarationError, match=r"not one set of"):
        task_files(get_task("fake_qa"), own_data)
    (qa / "train-00000-of-00001.parquet").unlink()
    (qa / "train-00000-of-00002.parquet").unlink()
    with pytest.raises(DeclarationError, match=r"not one set of 2 shards"):
        task_files(get_task("fake_qa"), own_data)


def test_files_of_a_second_kind_are_refused_and_not_passed_over(mixture: str, own_data: Path) -> None:
    (own_data / "fake_house" / "train-00000-of-00001.jsonl").write_text("")
    with pytest.raises(DeclarationError, match=r"2 kinds \(train-00000-of-00001.parquet, train-00000-of-00001.jsonl\)"):
        task_files(get_task("fake_house"), own_data)


def test_over_long_trajectories_are_dropped_and_counted(
    mixture: str, own_data: Path, template: Llama2Template, cache: TokenCache
) -> None:
    lengths = cache.tasks[1].lengths
    limit = int(np.sort(lengths)[10]) - 1
    kept = build(template, own_data, max_length=limit)
    assert len(kept) == (lengths <= limit + 1).sum()
    assert kept.too_long() == f"longer than {limit + 1} tokens: {25 - len(kept)} dropped of 25 trajectories"
    assert cache.too_long() == ""
    counts = kept.tasks[0].manifest["counts"]
    assert (counts.pop("read"), counts.pop("kept"), counts.pop("dropped")) == (25, len(kept), 25 - len(kept))
    assert counts == {"truncated": 0, "split": 0, "lost_turns": 0}
    with pytest.raises(TokenCacheError, match=r"none of 25 trajectories fits into 8 tokens"):
        build(template, own_data, max_length=8)


def test_truncation_ends_with_a_reply(template: Llama2Template) -> None:
    for system in (False, True):
        trajectory = make_trajectory(3, exchanges=4, system=system)
        whole = template.encode(trajectory)
        ends = np.flatnonzero(whole.tokens == template.stop_ids[0]) + 1
        assert fit_to_length(whole, len(whole.tokens), "truncate_at_turn").parts == (whole,)
        for limit in range(len(whole.tokens)):
            (cut,) = fit_to_length(whole, limit, "truncate_at_turn").parts or (None,)
            expected = ends[ends <= limit].max(initial=0)
            assert (len(cut.tokens) if cut else 0) == expected
            if cut:
                assert cut.tokens[-1] == template.stop_ids[0] and cut.trained[-1]
        assert fit_to_length(whole, len(whole.tokens) - 1, "drop").parts == ()
    with pytest.raises(AgentBankError, match=r"'drp' is unknown. Did you mean 'drop'"):
        fit_to_length(whole, 10, "drp")  # type: ignore[arg-type]
