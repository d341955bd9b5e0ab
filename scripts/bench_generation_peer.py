"""One measurement of `generate` of `transformers` on PyTorch, for `bench_generation.py`; prints JSON."""

import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch
import transformers

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.bench_generation_work import episodes, prompts
from scripts.bench_peer_model import peer_model


def main(settings: dict) -> None:
    torch.set_num_threads(settings["cores"])
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = peer_model(settings["model"], settings["dtype"], device).eval()

    @torch.inference_mode()
    def generate(rows: list[list[int]], count: int) -> tuple[list[list[int]], float]:
        longest = max(map(len, rows))
        ids = torch.tensor([[0] * (longest - len(row)) + row for row in rows], device=device)
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows], device=device)
        begin = time.perf_counter()
        output = model.generate(
            ids,
            attention_mask=mask,
            max_new_tokens=count,
            min_new_tokens=count,
            do_sample=False,
            pad_token_id=0,
            **({"cache_implementation": "static"} if settings["peer_cache"] == "static" else {}),
        )
        new = output[:, longest:].tolist()
        return new, time.perf_counter() - begin

    result = decode(settings, generate) if settings["work"] == "decode" else play(settings, generate)
    result["about"] = (
        f"transformers {transformers.__version__} on torch {torch.__version__}, {device}, {settings['dtype']}, "
        f"{settings['peer_cache']} cache"
    )
    print(json.dumps(result))


def decode(settings: dict, generate) -> dict:
    """All prompts read and answered; what one token takes is what reading takes."""
    ids, counts, rows = prompts(settings), (1, settings["new_tokens"]), settings["rows"]
    for count in counts:
        generate(ids, count)
    one, all_ = (statistics.median(generate(ids, count)[1] for _ in range(settings["repeats"])) for count in counts)
    return {
        "decoded tokens/s": rows * (counts[1] - 1) / (all_ - one),
        "prefilled tokens/s": rows * settings["prompt"] / one,
        "replies/s": rows / all_,
    }


def play(settings: dict, generate) -> dict:
    """Each turn reads all conversations again, in one padded batch."""
    generate([[5] * settings["prompt"]] * settings["episodes"], settings["new_tokens"])
    totals, latencies = [], []
    for _ in range(settings["repeats"]):
        plan, total = episodes(settings), 0.0
        conversations = [list(prompt) for prompt, _ in plan]
        for turn in range(settings["turns"]):
            replies, elapsed = generate(conversations, settings["new_tokens"])
            total += elapsed
            latencies += [elapsed] * len(conversations)
            for number, reply in enumerate(replies):
                conversations[number] += reply
                if turn + 1 < settings["turns"]:
                    conversations[number] += plan[number][1][turn]
        totals.append(total)
    return {
        "episodes/s": settings["episodes"] / statistics.median(totals),
        "p50 s a turn": float(np.percentile(latencies, 50)),
        "p95 s a turn": float(np.percentile(latencies, 95)),
    }


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
