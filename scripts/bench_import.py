"""Measures the memory of an import: `python scripts/bench_import.py`.

A checkpoint of bfloat16 tensors in the shape of Llama-2 7B is made at random, imported by
`scripts/import_hf.py` in a process of its own, and removed again with what was written. Printed
are its size, the seconds, and the most memory that the import had; the exit status is 1 where
that is more than the size of the checkpoint and 3 GB.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from agentbank_jax.configuration.report_errors import report_errors
from agentbank_jax.errors import AgentBankError
from scripts.process_memory import peak_resident_bytes

ROOT = Path(__file__).resolve().parents[1]
_ALLOWED_BYTES = 3e9
_SHAPES = {
    "7b": {"vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008, "num_layers": 32, "num_heads": 32},
    "1b": {"vocab_size": 32000, "hidden_size": 2048, "intermediate_size": 5632, "num_layers": 22, "num_heads": 32},
    "tiny": {"vocab_size": 512, "hidden_size": 64, "intermediate_size": 160, "num_layers": 2, "num_heads": 4},
}


def make_checkpoint(folder: Path, shape: str, seed: int, shard_bytes: int) -> int:
    """Writes config.json, shards and a small tokenizer; returns the bytes of the tensors."""
    import json

    import numpy as np

    from agentbank_jax.models.forward import count_parameters
    from agentbank_jax.models.hf_config import CONFIG_FILE, config_json
    from agentbank_jax.models.hf_export import write_shards
    from agentbank_jax.models.hf_names import HfTensor
    from agentbank_jax.models.llama_config import LlamaConfig
    from agentbank_jax.trajectories.tokenizers.vocabulary import train_vocabulary

    config = LlamaConfig(**_SHAPES[shape], dtype="bfloat16", param_dtype="bfloat16")
    generator = np.random.default_rng(seed)

    def make(tensor: HfTensor) -> np.ndarray:
        bits = np.frombuffer(generator.bytes(2 * int(np.prod(tensor.shape))), np.uint16)
        # Sign and fraction are random; the exponent is that of 1/128, so that no value is infinite.
        return ((bits & 0x807F) | 0x3C00).view(config.param_dtype).reshape(tensor.shape)

    (folder / CONFIG_FILE).write_text(json.dumps(config_json(config, bos_id=1, stop_ids=[2])))
    write_shards(folder, config, make, shard_bytes)
    train_vocabulary(["Thought: none. Action: look, then wait."] * 9, 330, folder / "tokenizer.model")
    return 2 * count_parameters(config)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=_SHAPES, default="7b", help="of the model (default: 7b)")
    parser.add_argument("--folder", metavar="FOLDER", help="where to make it (default: the temporary folder)")
    parser.add_argument("--shard_gb", type=float, default=4.0, metavar="GB", help="most GB in a file (default: 4)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="makes the tensors (default: 0)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        _check_room(folder, options.shape)
        (folder / "weights").mkdir()
        size = make_checkpoint(folder / "weights", options.shape, options.seed, int(options.shard_gb * 1e9))
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "scripts/import_hf.py"), f"--weights={folder}/weights",
             f"--model_dir={folder}/run", "--template=llama2"],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        peak = 0
        while process.poll() is None:
            peak = max(peak, peak_resident_bytes(process.pid))
            time.sleep(0.02)
        seconds = time.perf_counter() - started
        if process.returncode:
            return 1
    print(
        f"{options.shape}: {size / 1e9:.2f} GB of bfloat16 imported in {seconds:.0f} s; at most {peak / 1e9:.2f} GB of "
        f"host memory, {(peak - size) / 1e9:.2f} GB beside the parameters (allowed: {_ALLOWED_BYTES / 1e9:.0f})"
    )
    return int(peak > size + _ALLOWED_BYTES)


def _check_room(folder: Path, shape: str) -> None:
    sizes = _SHAPES[shape]
    # A little more than the layers' kernels, embedding and head take, twice: the checkpoint and what is written.
    layer = 4 * sizes["hidden_size"] ** 2 + 3 * sizes["hidden_size"] * sizes["intermediate_size"]
    needed = 2 * 2.2 * (sizes["num_layers"] * layer + 2 * sizes["vocab_size"] * sizes["hidden_size"])
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise AgentBankError(
            f"{folder.parent} has {free / 1e9:.0f} GB free; expected {needed / 1e9:.0f}: choose another with --folder."
        )


if __name__ == "__main__":
    sys.exit(report_errors(main))
