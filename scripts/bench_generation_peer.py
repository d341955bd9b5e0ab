"""One measurement of `generate` of `transformers` on PyTorch, for `bench_generation.py`; prints JSON."""

import json
import sys
import time
from pathlib import Path

import torch
import transformers

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.bench_generation_work import decode_figures, episode_figures, episodes, prompts
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

    if settings["work"] == "decode":
        ids = prompts(settings)
        result = decode_figures(settings, lambda count: generate(ids, count)[1])
    else:
        result = play(settings, generate)
    result["about"] = (
        f"transformers {transformers.__version__} on torch {torch.__version__}, {device}, {settings['dtype']}, "
        f"{settings['peer_cache']} cache"
    )
    print(json.dumps(result))


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
    return episode_figures(settings, totals, latencies)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
