"""Measures the way from trajectories to packed batches, on made trajectories.

  python scripts/bench_data.py                  packing (TRL's beside it, where it is installed), planning, reading
                                                and what a checkpoint holds of the position
  python scripts/bench_data.py --figures packers  packing beside that of Grain and SeqIO, on fewer trajectories
  python scripts/bench_data.py --figures caching  tokenising into the cache beside SeqIO and transformers, minutes long
  python scripts/bench_data.py --figures memory   what caching and inspecting four times AgentBank takes, minutes long

Lengths are log-normal (mean about 900 tokens), as those of real banks are skewed; a few exceed the row. The first
form needs neither TensorFlow nor SeqIO. On a machine that does other work too, read the seconds of CPU.
"""

import argparse
import itertools
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from agentbank_jax.data.declarations import TaskDeclaration
    from agentbank_jax.trajectories.schema import Trajectory

# The script also runs from a checkout that is not installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.process_memory import memory_of, peak_resident_bytes, process_tree

TASK = "bench_made"

# The published chat templates with what `transformers` needs for assistant masks: the trained part is marked.
LLAMA2_MASKED = (
    "{% set first = messages[0]['role'] == 'system' %}"
    "{% for message in (messages[1:] if first else messages) %}"
    "{% set content = message['content'] %}"
    "{% if first and loop.index0 == 0 %}"
    "{% set content = '<<SYS>>\\n' + messages[0]['content'] + '\\n<</SYS>>\\n\\n' + content %}{% endif %}"
    "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
    "{% else %}{% generation %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endgeneration %}{% endif %}{% endfor %}"
)
LLAMA3_MASKED = (
    "{% for message in messages %}{% if loop.first %}{{ bos_token }}{% endif %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] | trim + '<|eot_id|>' }}"
    "{% endgeneration %}{% else %}{{ message['content'] | trim + '<|eot_id|>' }}{% endif %}{% endfor %}"
)


def made_lengths(count: int, seed: int = 0) -> np.ndarray:
    """Tokens of `count` trajectories: log-normal with a mean of about 900."""
    rng = np.random.default_rng(seed)
    return np.maximum(20, np.exp(rng.normal(np.log(900) - 0.32, 0.8, count))).astype(np.int64)


def made_cache(lengths: np.ndarray, max_length: int, folder: str):
    """A token cache in files, memory-mapped as the real one: random ids, two of five tokens trained."""
    from agentbank_jax.data.token_cache import TaskTokens, TokenCache

    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    rng = np.random.default_rng(1)
    tokens, trained = Path(folder, "tokens.bin"), Path(folder, "trained.bin")
    rng.integers(3, 32000, offsets[-1], dtype=np.uint16).tofile(tokens)
    (rng.random(offsets[-1]) < 0.4).tofile(trained)
    task = TaskTokens(
        task=_declaration(),
        tokens=np.memmap(tokens, np.uint16, "r"),
        trained=np.memmap(trained, np.bool_, "r"),
        offsets=offsets,
        turns=np.ones(len(lengths), np.int32),
        ids=tuple(map(str, range(len(lengths)))),
        manifest={"key": "made"},
    )
    return TokenCache(
        mixture=TASK,
        tasks=(task,),
        rates=(1.0,),
        max_length=max_length,
        template_fingerprint="made",
        tokenizer_fingerprint="made",
    )


def _declaration():
    from agentbank_jax.data.declarations import TaskDeclaration

    return TaskDeclaration(
        name=TASK, skill="web", action_space="discrete", remedy="it is made", instruction="Act until the goal is met."
    )


def measure_delivery(flags: argparse.Namespace) -> None:
    """Fill, planning time, reading speed, and the size of the position that a checkpoint holds."""
    from agentbank_jax.data.delivery import PackedBatches
    from agentbank_jax.data.packing import plan_packing

    lengths = made_lengths(flags.trajectories)
    fitting = lengths[lengths - 1 <= flags.length]
    places = fitting - 1
    started, cpu = time.perf_counter(), time.process_time()
    plan = plan_packing(places, flags.length, seed=0, epoch=0)
    wall, cpu = time.perf_counter() - started, time.process_time() - cpu
    assert len(np.unique(plan.order)) == len(fitting), "every trajectory that fits is in exactly one row"
    print(
        f"{flags.trajectories:,} trajectories, mean {lengths.mean():.0f} tokens; {len(lengths) - len(fitting):,} are "
        f"longer than a row of {flags.length:,}"
    )
    print(f"packing fill: {places.sum() / (len(plan) * flags.length):.2%} of {len(plan):,} rows, nothing cut or lost")
    print(f"planning: {wall:.2f} s ({cpu:.2f} s of CPU)")
    print(_trl_packing(places, lengths - 1, flags.length))

    with tempfile.TemporaryDirectory() as folder:
        batches = PackedBatches(made_cache(fitting, flags.length, folder), batch_size=8, length=flags.length)
        reader = batches.iterator()
        next(reader)
        tokens, steps, started, cpu = 0, 0, time.perf_counter(), time.process_time()
        while time.perf_counter() - started < flags.seconds:
            tokens += int(np.count_nonzero(next(reader)["segment_ids"]))
            steps += 1
        wall, cpu = time.perf_counter() - started, time.process_time() - cpu
    cores = len(os.sched_getaffinity(0))
    print(
        f"reading: {tokens / wall / 1e6:.1f}M tokens/s in batches of 8 rows "
        f"({cores * tokens / cpu / 1e6:.1f}M per second of CPU on {cores} cores)"
    )
    print(f"position in a checkpoint: {_position_bytes(steps, batches.fingerprint):,} bytes in all files")


def _trl_packing(fitting: np.ndarray, all_places: np.ndarray, length: int) -> str:
    """What TRL's `pack_dataset` makes of the same places, and what it does with trajectories that do not fit."""
    try:
        import datasets
        import pyarrow as pa
        import trl
        from trl import pack_dataset
    except ImportError:
        return "TRL's packing beside it: not installed; install it with: pip install trl"
    datasets.disable_progress_bars()

    def pack(places: np.ndarray) -> tuple[int, int]:
        offsets = np.concatenate([[0], np.cumsum(places)])
        tokens = pa.LargeListArray.from_arrays(offsets, pa.array(np.zeros(offsets[-1], np.int8)))
        dataset = datasets.Dataset(pa.table({"input_ids": tokens}))
        packed = pack_dataset(dataset, length, strategy="bfd", map_kwargs={"keep_in_memory": True})
        return len(packed), int(sum(map(sum, packed["seq_lengths"])))

    started = time.perf_counter()
    rows, tokens = pack(fitting)
    seconds = time.perf_counter() - started
    lost = int(all_places.sum()) - pack(all_places)[1]
    return (
        f"TRL {trl.__version__} (bfd, windows of 1,000) on the same trajectories: {tokens / (rows * length):.2%} of "
        f"{rows:,} rows, {seconds:.2f} s with the tokens moved; of trajectories that do not fit it keeps the beginning "
        f"and cuts off the rest, {lost:,} tokens here"
    )


def _position_bytes(step: int, fingerprint: str) -> int:
    """Bytes that the position in the data takes in a checkpoint, all files of it together."""
    import jax

    from agentbank_jax.models.llama_config import LlamaConfig
    from agentbank_jax.training.checkpoint_files import FOLDER
    from agentbank_jax.training.checkpoints import Checkpoints
    from agentbank_jax.training.optimizer import OptimizerConfig, make_optimizer
    from agentbank_jax.training.state import make_init

    model = LlamaConfig(vocab_size=8, hidden_size=8, intermediate_size=8, num_layers=1, num_heads=1)
    state = jax.jit(make_init(model, make_optimizer(OptimizerConfig(), 1)))(np.int32(0))
    with tempfile.TemporaryDirectory() as folder:
        with Checkpoints(folder, keep=1, config=model, facts={}) as checkpoints:
            checkpoints.save(state, step, fingerprint)
        files = Path(folder, FOLDER, str(step), "data").rglob("*")
        return sum(file.stat().st_size for file in files if file.is_file())


def measure_packers(flags: argparse.Namespace) -> None:
    """Fill of the plan, of Grain's packing datasets and of SeqIO's `trim_and_pack`, on the same shuffled lengths."""
    from agentbank_jax.data.packing import plan_packing

    lengths = made_lengths(flags.packed)
    places = lengths[lengths - 1 <= flags.length] - 1
    plan = plan_packing(places, flags.length, seed=0, epoch=0)
    print(f"{len(places):,} trajectories that fit into {flags.length:,}; fill:")
    print(f"  the plan                       {places.sum() / (len(plan) * flags.length):.2%}")
    shuffled = np.random.default_rng(0).permutation(places)
    for name, rows in (
        ("Grain's first fit, 64 bins", _grain_rows(shuffled, flags.length, "FirstFitPackIterDataset")),
        ("Grain's best fit, 64 bins", _grain_rows(shuffled, flags.length, "BestFitPackIterDataset")),
        ("SeqIO's trim_and_pack", _seqio_rows(shuffled, flags.length)),
    ):
        print(f"  {name:<30} {places.sum() / (rows * flags.length):.2%}", flush=True)


def _grain_rows(places: np.ndarray, length: int, packer: str) -> int:
    import grain
    from grain import experimental

    source = grain.MapDataset.source(places.tolist()).map(lambda count: {"tokens": np.ones(count, np.int8)})
    packed = getattr(experimental, packer)(
        source.to_iter_dataset(), length_struct={"tokens": length}, num_packing_bins=64
    )
    return sum(1 for _ in packed)


def _seqio_rows(places: np.ndarray, length: int) -> int:
    import seqio
    import tensorflow as tf

    dataset = tf.data.Dataset.from_generator(
        lambda: ({"targets": np.ones(count, np.int32)} for count in places.tolist()),
        output_signature={"targets": tf.TensorSpec([None], tf.int32)},
    )
    packed = seqio.trim_and_pack_dataset(dataset, {"targets": length}, use_custom_ops=False)
    return sum(1 for _ in packed.as_numpy_iterator())


def made_trajectories(task: str, count: int) -> "Iterator[Trajectory]":
    """Yields trajectories of made words; all tasks have the same."""
    from agentbank_jax.trajectories.schema import Trajectory, Turn

    rng = random.Random(0)
    words = [
        "".join(rng.choices("etaoinshrdlu", k=rng.randint(2, 8))) + rng.choice(("", "", "", ",", "."))
        for _ in range(6000)
    ]
    for number, length in enumerate(made_lengths(count)):
        turns, left = [], int(length)
        while left > 0:
            observation, thought = rng.randint(10, 90), rng.randint(8, 40)
            turns.append(Turn.user("Observation: " + " ".join(rng.choices(words, k=observation))))
            turns.append(
                Turn.assistant(
                    f"Thought: {' '.join(rng.choices(words, k=thought))}\nAction: search[{rng.choice(words)}]"
                )
            )
            left -= 2 * (observation + thought)
        yield Trajectory(id=str(number), task=task, turns=tuple(turns), metadata={})


def made_bank(folder: Path, count: int) -> None:
    """Writes made trajectories in the released layout."""
    from agentbank_jax.trajectories.formats.agentbank import write_parquet

    folder.mkdir(parents=True)
    write_parquet(folder / "train-00000-of-00001.parquet", made_trajectories(folder.name, count))


def measure_caching(flags: argparse.Namespace) -> None:
    """Tokens per second into the cache, beside two other ways to tokens and masks, all interleaved.

    They are SeqIO's `get_dataset` with `trim_and_pack`, which calls this project's templates, and the
    batched `apply_chat_template` of `transformers` with its assistant masks.
    """
    from agentbank_jax.data.declarations import declare_task

    task = declare_task(_declaration())
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        made_bank(root / TASK, flags.cached)
        checkpoints = made_checkpoints(root, task)
        os.environ["AGENTBANK_DATA_DIR"] = name
        os.environ["AGENTBANK_TOKENIZER"] = str(checkpoints["llama2"] / "tokenizer.model")
        ours = {
            template: lambda template=template, path=path: _cached_tokens(root, template, path, flags.length)
            for template, path in (
                ("llama2", checkpoints["llama2"] / "tokenizer.model"),
                ("llama3", checkpoints["llama3"]),
            )
        }
        ways = {
            "cache, llama2": ours["llama2"],
            "SeqIO, llama2": lambda: _seqio_tokens(flags.length),
            "transformers, llama2": lambda: _transformers_tokens(root, task, checkpoints["llama2"], LLAMA2_MASKED),
            "cache, llama3": ours["llama3"],
            "transformers, llama3": lambda: _transformers_tokens(root, task, checkpoints["llama3"], LLAMA3_MASKED),
        }
        cores = len(os.sched_getaffinity(0))
        print(f"{flags.cached:,} trajectories, {cores} cores, tokens/s:")
        speeds: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(flags.repeats):
            for way, run in ways.items():
                started = time.perf_counter()
                tokens = run()
                speeds[way].append(tokens / (time.perf_counter() - started))
            print("  " + "   ".join(f"{way} {of[-1] / 1e6:.2f}M" for way, of in speeds.items()), flush=True)
    print("median: " + "   ".join(f"{way} {np.median(of) / 1e6:.2f}M" for way, of in speeds.items()))
    for way in list(ways)[1:]:
        template = way.rpartition(" ")[2]
        if not way.startswith("cache"):
            ratio = np.median(np.array(speeds[f"cache, {template}"]) / np.array(speeds[way]))
            print(f"the cache is {ratio:.1f} times as fast as {way}")


def made_checkpoints(root: Path, task: "TaskDeclaration") -> "dict[str, Path]":
    """Trains vocabularies in the layouts of Llama-2 and Llama-3 on the made bank; returns their folders."""
    from agentbank_jax.data.sources import read_task
    from agentbank_jax.trajectories.templates.registry import Llama2Template
    from agentbank_jax.trajectories.tokenizers.vocabulary import train_vocabulary
    from tests.trajectories.published import LLAMA3_SPECIALS, byte_level_json, llama2_json, write_checkpoint

    texts = [text for trajectory in itertools.islice(read_task(task, root), 400)
             for text in Llama2Template.render(trajectory)]  # fmt: skip
    model = train_vocabulary(texts, 8000, root / "llama2" / "tokenizer.model").model
    write_checkpoint(root / "llama2", llama2_json(model), None, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    specification = byte_level_json(texts, LLAMA3_SPECIALS, 8000)
    specials = {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}
    write_checkpoint(root / "llama3", specification, None, **specials)
    return {name: root / name for name in ("llama2", "llama3")}


def _cached_tokens(root: Path, template: str, path: Path, length: int) -> int:
    from agentbank_jax.data.token_cache import build_cache
    from agentbank_jax.trajectories.templates.registry import get_template
    from agentbank_jax.trajectories.tokenizers.tokenizer import Tokenizer

    with tempfile.TemporaryDirectory(dir=root) as folder:
        chosen = get_template(template, Tokenizer.load(path))
        cache = build_cache(TASK, chosen, max_length=length, data_dir=root, cache_dir=folder)
        return int(cache.lengths.sum())


def _seqio_tokens(length: int) -> int:
    import seqio

    from agentbank_jax.data.declarations import get_task
    from agentbank_jax.tasks import seqio_registry

    task = seqio_registry.register_task(get_task(TASK))
    lengths = {"targets": length + 1, "trained": length + 1}
    dataset = task.get_dataset(sequence_length=lengths, split="train", shuffle=False, use_cached=False)
    packed = seqio.trim_and_pack_dataset(
        dataset.map(lambda example: {key: example[key] for key in lengths}), lengths, use_custom_ops=False
    )
    return sum(int(np.count_nonzero(row["targets"])) for row in packed.as_numpy_iterator())


def _transformers_tokens(root: Path, task: "TaskDeclaration", checkpoint: Path, chat_template: str) -> int:
    import transformers

    from agentbank_jax.data.sources import read_task

    transformers.logging.set_verbosity_error()
    tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(checkpoint)
    tokens = 0
    trajectories = read_task(task, root)
    while batch := list(itertools.islice(trajectories, 256)):
        messages = [[{"role": turn.role, "content": turn.content} for turn in each.turns] for each in batch]
        encoded = tokenizer.apply_chat_template(
            messages, chat_template=chat_template, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
        )
        assert any(encoded["assistant_masks"][0])
        tokens += sum(map(len, encoded["input_ids"]))
    return tokens


def measure_memory(flags: argparse.Namespace) -> None:
    """Memory of all processes together while the `agentbank` mixture, made several times as large, is cached and shown.

    It is summed over a command and its processes: the resident sizes (RSS), which count a page as often as processes
    share it, and the proportional ones (PSS), which divide it among all processes of the machine.
    """
    from agentbank_jax.data.declarations import get_mixture
    from agentbank_jax.trajectories.formats.agentbank import write_parquet
    from agentbank_jax.trajectories.templates.registry import Llama2Template
    from agentbank_jax.trajectories.tokenizers.vocabulary import train_vocabulary

    tasks = list(get_mixture("agentbank").rates)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        texts = (text for each in made_trajectories(TASK, 400) for text in Llama2Template.render(each))
        train_vocabulary(texts, 8000, root / "vocabulary" / "agentbank.model")
        trajectories = list(made_trajectories(TASK, flags.large // len(tasks)))
        for task in tasks:
            write_parquet(root / task / "train-00000-of-00001.parquet", trajectories)
        print(f"{len(trajectories) * len(tasks):,} trajectories in {len(tasks)} tasks")
        del trajectories
        scripts = Path(__file__).resolve().parent
        for script in ("cache_tasks.py", "inspect_mixture.py"):
            command = [sys.executable, str(scripts / script), "--mixture=agentbank", f"--data_dir={root}",
                       f"--max_length={flags.length}"]  # fmt: skip
            started = time.perf_counter()
            with (root / "output").open("w") as output, subprocess.Popen(command, stdout=output) as process:
                most = {"Rss": 0, "Pss": 0}
                while process.poll() is None:
                    now = [memory_of(each) for each in process_tree(process.pid)]
                    most = {kind: max(most[kind], sum(each[kind] for each in now)) for kind in most}
                    time.sleep(0.1)
            assert process.returncode == 0, f"{script} failed"
            seconds = time.perf_counter() - started
            shown = ", ".join(f"{kind.upper()} {size / 2**30:.2f} GiB" for kind, size in most.items())
            print(f"{script}: at most {shown}, in {seconds:.0f} s", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    measures = {
        "delivery": measure_delivery,
        "packers": measure_packers,
        "caching": measure_caching,
        "memory": measure_memory,
    }
    parser.add_argument("--figures", nargs="+", default=["delivery"], choices=measures)
    parser.add_argument("--trajectories", type=int, default=50_000, help="of the plan")
    parser.add_argument("--length", type=int, default=4096, help="places of a row")
    parser.add_argument("--seconds", type=float, default=10.0, help="of reading")
    parser.add_argument("--packed", type=int, default=10_000, help="of the packers, some of which are slow")
    parser.add_argument("--cached", type=int, default=16_384, help="trajectories that are tokenised")
    parser.add_argument("--repeats", type=int, default=3, help="of caching, interleaved with the other ways")
    parser.add_argument("--large", type=int, default=200_000, help="trajectories for which memory is measured")
    flags = parser.parse_args()
    for figure in flags.figures:
        measures[figure](flags)
    print(f"peak resident memory: {peak_resident_bytes() / 2**30:.2f} GiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
