"""One measurement of the same model trained by `transformers` on PyTorch, for `bench_training.py`; prints JSON."""

import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch
import transformers

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from agentbank_jax.models.llama_config import LlamaConfig
from agentbank_jax.training.flops import data_sheet_peak, flops_per_token, peak_flops
from scripts.bench_peer_model import peer_model
from scripts.bench_training_data import padded_batches, trajectories
from scripts.process_memory import peak_resident_bytes

IGNORED = -100


def main(settings: dict) -> None:
    torch.set_num_threads(settings["cores"])
    torch.manual_seed(0)
    before = peak_resident_bytes()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    shape = LlamaConfig(**settings["model"])
    param_dtype, dtype = (getattr(torch, settings[name]) for name in ("param_dtype", "dtype"))
    model = peer_model(
        settings["model"],
        settings["param_dtype"],
        device,
        use_cache=False,
        attn_implementation=settings["peer_attention"],
    )
    model.train()
    if settings["peer_checkpointing"]:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.0, fused=True)
    if settings["compile"] == "layers":
        for layer in model.model.layers:
            layer.compile(dynamic=settings["data"] == "packed" or None)
    forward = torch.compile(model) if settings["compile"] == "model" else model
    autocast = torch.autocast(device.type, dtype=dtype, enabled=dtype != param_dtype)
    batches = [_on_device(batch, device) for batch in _batches(settings)]

    def step(batch) -> torch.Tensor:
        total = torch.zeros((), device=device)
        for inputs in batch["parts"]:
            with autocast:
                # Its own loss, divided by the trained tokens of the whole batch.
                loss = forward(**inputs, num_items_in_batch=batch["trained"]).loss
            loss.backward()
            total += loss.detach()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return total

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    began = time.perf_counter()
    first_loss = float(step(batches[0]))
    wait()
    compiling = time.perf_counter() - began
    # Every shape compiles once, or is found to be dynamic, before time is taken.
    for batch in batches[1:] if settings["compile"] and settings["data"] == "packed" else batches[1:2]:
        step(batch)
    wait()
    seconds, useful, places, number, began = [], 0, 0, 0, time.perf_counter()
    while time.perf_counter() - began < settings["seconds"] or number < 3:
        started = time.perf_counter()
        batch = batches[number % len(batches)]
        loss = step(batch)
        if device.type == "cpu" or number % 2:
            wait()
        useful += batch["useful"]
        places += batch["places"]
        seconds.append(time.perf_counter() - started)
        number += 1
    wait()
    wall = time.perf_counter() - began
    peak, source = _peak(device)
    compiled = f"torch.compile of the {settings['compile']}" if settings["compile"] else "eager"
    used = peak_resident_bytes() - before
    print(
        json.dumps(
            {
                "about": f"transformers {transformers.__version__}, torch {torch.__version__}, "
                f"{sum(p.numel() for p in model.parameters()) / 1e6:,.0f}M parameters, {settings['dtype']}, parameters "
                f"and moments {settings['param_dtype']}, attention {settings['peer_attention']}, "
                f"{compiled}, peak {peak / 1e12:,.2f} TFLOP/s ({source})",
                "tokens_per_second": useful / wall,
                "seconds_per_step": statistics.median(seconds),
                "mfu": places / wall * flops_per_token(shape, settings["length"]) / peak,
                "fill": useful / places,
                "peak_bytes": torch.cuda.max_memory_allocated() if device.type == "cuda" else used,
                "compile_seconds": compiling,
                "first_loss": first_loss,
                "last_loss": float(loss),
            }
        )
    )


def _batches(settings: dict) -> list[dict]:
    """Padded batches of like lengths, or whole rows; in micro-batches where so many rows are too many."""
    if settings["data"] == "packed":
        groups = padded_batches(settings)
    else:
        made, rows = trajectories(settings), settings["rows"]
        groups = [made[first : first + rows] for first in range(0, len(made), rows)]
    return [_batch(group, (settings["peer_micro_rows"] or settings["rows"]) * settings["length"]) for group in groups]


def _batch(group: list[tuple[np.ndarray, np.ndarray]], micro_places: int) -> dict:
    longest = max(len(tokens) for tokens, _ in group)
    micro_rows = max(1, micro_places // longest)
    parts = []
    for first in range(0, len(group), micro_rows):
        part = group[first : first + micro_rows]
        inputs = {name: np.zeros((len(part), longest), np.int64) for name in ("input_ids", "attention_mask")}
        inputs["labels"] = np.full((len(part), longest), IGNORED, np.int64)
        for row, (tokens, weights) in enumerate(part):
            inputs["input_ids"][row, : len(tokens)] = tokens
            inputs["attention_mask"][row, : len(tokens)] = 1
            # Labels are shifted by the model: the label of a place is its own token.
            trained = weights > 0
            inputs["labels"][row, : len(tokens)][trained] = tokens[trained]
        if inputs["attention_mask"].all():
            del inputs["attention_mask"]  # without a mask, its fused causal attention is used
        parts.append(inputs)
    labels = [part["labels"][:, 1:] for part in parts]
    return {
        "parts": parts,
        "trained": int(sum((label != IGNORED).sum() for label in labels)),
        "useful": sum(len(tokens) for tokens, _ in group),
        "places": sum(part["input_ids"].size for part in parts),
    }


def _on_device(batch: dict, device: torch.device) -> dict:
    parts = [{name: torch.from_numpy(value).to(device) for name, value in part.items()} for part in batch["parts"]]
    return {**batch, "parts": parts}


def _peak(device: torch.device) -> tuple[float, str]:
    """The same peak as ours. JAX is asked on the CPU alone: on a GPU it would take the memory."""
    if device.type == "cpu":
        return peak_flops()
    return data_sheet_peak(torch.cuda.get_device_name())


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
