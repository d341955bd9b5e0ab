"""One measurement of this project's engine, for `bench_generation.py`; prints JSON."""

import json
import sys
import time
from pathlib import Path

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from agentbank_jax.generation.engine import Engine
from agentbank_jax.generation.model_runner import RunnerSettings
from agentbank_jax.generation.requests import GenerationRequest, SamplingParams
from agentbank_jax.models import forward
from agentbank_jax.models.llama_config import LlamaConfig
from agentbank_jax.models.quantization import quantize
from scripts.bench_generation_work import decode_figures, distinct_tokens, episode_figures, episodes, prompts


def main(settings: dict) -> None:
    config = LlamaConfig(**settings["model"], dtype=settings["dtype"], param_dtype=settings["dtype"])
    params = forward.init(config, 0)
    if settings["weights"] == "int8":
        params = quantize(params, consume=True)

    def make(slots: int) -> Engine:
        return Engine(
            config, params, stop_ids=(), slots=slots, settings=RunnerSettings(chunk=settings["chunk"] or None)
        )

    result = decode(settings, make) if settings["work"] == "decode" else play(settings, make)
    weights = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
    if settings["bandwidth"] and settings["work"] == "decode":
        # The embedding is looked up, not read.
        read = weights - params["embed_tokens"]["embedding"].nbytes
        token_bytes = 2 * config.num_layers * config.num_kv_heads * config.head_dim * np.dtype(config.dtype).itemsize
        mean_length = settings["prompt"] + settings["new_tokens"] / 2
        step = (read + settings["rows"] * mean_length * token_bytes) / settings["bandwidth"]
        result["share of the bandwidth"] = result["decoded tokens/s"] / (settings["rows"] / step)
    device = jax.devices()[0]
    result["about"] = (
        f"agentbank_jax on jax {jax.__version__}, {device.device_kind}, {settings['dtype']}, "
        f"{settings['weights'] or settings['dtype']} weights of {weights:,} bytes"
    )
    print(json.dumps(result))


def decode(settings: dict, make) -> dict:
    """All prompts read and answered."""
    engine, ids = make(settings["rows"]), prompts(settings)

    def seconds(count: int) -> float:
        # Another first token each time, so that nothing was read before.
        for row in ids:
            row[0] = (row[0] + 1) % settings["model"]["vocab_size"]
        sampling = SamplingParams(max_new_tokens=count)
        requests = [GenerationRequest(id=str(n), ids=row, sampling=sampling) for n, row in enumerate(ids)]
        begin = time.perf_counter()
        deltas = engine.generate(requests)
        elapsed = time.perf_counter() - begin
        assert all(len(delta.generation.ids) == count for delta in deltas)
        return elapsed

    return decode_figures(settings, seconds)


def play(settings: dict, make) -> dict:
    """Episodes that go on as soon as they have their reply."""
    found = []
    for number in range(settings["repeats"] + 1):
        engine = make(settings["episodes"])
        latencies, conversations = [], {}
        begin = time.perf_counter()
        for name, (prompt, _) in enumerate(plan := episodes(settings)):
            conversations[str(name)] = list(prompt)
        began = dict.fromkeys(conversations, begin)
        turns = dict.fromkeys(conversations, 0)
        for name, ids in conversations.items():
            engine.submit(request(name, ids, settings))
        while engine.busy:
            for delta in engine.step():
                name, now = delta.request_id, time.perf_counter()
                latencies.append(now - began[name])
                conversations[name] += delta.generation.ids
                turns[name] += 1
                if turns[name] < settings["turns"]:
                    conversations[name] += plan[int(name)][1][turns[name] - 1]
                    began[name] = now
                    engine.submit(request(name, conversations[name], settings))
                else:
                    engine.release(name)
        elapsed = time.perf_counter() - begin
        if number:
            found.append((elapsed, latencies))
    twice = (
        engine.stats.prefilled + engine.stats.generated - distinct_tokens([ids[:-1] for ids in conversations.values()])
    )
    totals = [elapsed for elapsed, _ in found]
    every = [latency for _, latencies in found for latency in latencies]
    return episode_figures(settings, totals, every) | {"tokens read twice": twice}


def request(name: str, ids: list[int], settings: dict) -> GenerationRequest:
    sampling = SamplingParams(max_new_tokens=settings["new_tokens"])
    return GenerationRequest(id=name, ids=list(ids), sampling=sampling, conversation=name)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
