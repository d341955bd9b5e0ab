"""Sweeps whose episodes are made up, so that every figure is known."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agentbank_jax.evaluation.episode import EpisodeRecord
from agentbank_jax.evaluation.sweep_file import result_path, write_sweep
from agentbank_jax.evaluation.sweep_result import Column, SweepResult, TaskFacts, TaskResult


def make_record(task: str, index: int, success: bool, **changes: Any) -> EpisodeRecord:
    """An episode that reached the goal, or ran into the limit of its steps."""
    seed, split = changes.get("seed", 0), changes.get("split", "test")
    values: dict[str, Any] = {
        "id": f"{task}/{split}/{index}/{seed}",
        "conversations": (
            {"from": "human", "value": f"Problem {index}."},
            {"from": "gpt", "value": "Thought: go\nAction: add 1"},
        ),
        "task": task,
        "skill": "math",
        "protocol": f"{task}/1",
        "split": split,
        "index": index,
        "seed": seed,
        "answers": "exact",
        "instance_id": f"{task}/{split}/{index}",
        "data": "",
        "fingerprint": f"{task}{split}{index}",
        "model": "model",
        "agent": "react",
        "reward": float(success),
        "success": success,
        "steps": 4,
        "invalid_actions": 1,
        "first_invalid": None,
        "terminate_reason": "success" if success else "max_steps",
        "tokens": 20,
        "prompt_tokens": 100,
        "seconds": 0.5,
        "figures": {},
        "earlier": (),
        "final_observation": "The end.",
        "error": None,
        "trained_on": False,
        "key": f"{changes.get('model', 'model')} {task}",
    }
    return EpisodeRecord(**(values | changes))


def make_result(
    outcomes: Mapping[str, Mapping[str, Sequence[Any]]],
    *,
    name: str = "s",
    base: str | None = "untrained",
    seeds: tuple[int, ...] = (0,),
    held_out: Sequence[str] = (),
    skills: Mapping[str, str] | None = None,
    not_run: Mapping[str, str] | None = None,
    contaminated: Mapping[str, Sequence[str]] | None = None,
    episodes: int | None = None,
    record: Mapping[str, Any] | None = None,
    **facts: Any,
) -> SweepResult:
    """A sweep from its outcomes.

    Args:
      outcomes: model → task → for each seed in turn, whether each instance succeeded; None is not yet played.
      record: changes of every record.
      facts: changes of the facts of every task.
      episodes: of each task; as many as there are outcomes if None.
      name, base, seeds, held_out, skills, not_run, contaminated: as they are called elsewhere; the two last by task.
    """
    columns = tuple(Column(model=model, agent="react", name=model) for model in outcomes)
    tasks = []
    for task in dict.fromkeys([*(task for each in outcomes.values() for task in each), *(not_run or {})]):
        played = [len(each[task]) // len(seeds) for each in outcomes.values() if task in each]
        result = TaskResult(
            facts=TaskFacts(
                **{
                    "name": task,
                    "skill": (skills or {}).get(task, "math"),
                    "held_out": task in held_out,
                    "protocol": f"{task}/1",
                    "licence": "Apache-2.0",
                    "max_steps": 8,
                    "success_threshold": 1.0,
                    "episodes": episodes if episodes is not None else max(played, default=0),
                    **facts,
                }
            ),
            not_run=(not_run or {}).get(task),
            contaminated=frozenset((contaminated or {}).get(task, ())),
        )
        for column in columns:
            if result.not_run is None:
                flat = outcomes[column.model].get(task, ())
                count = len(flat) // len(seeds)
                result.add(
                    column,
                    [
                        make_record(
                            task,
                            place % count,
                            bool(success),
                            **{"seed": seeds[place // count], "model": column.model, **(record or {})},
                        )
                        for place, success in enumerate(flat)
                        if success is not None
                    ],
                )
        tasks.append(result)
    return SweepResult(
        name=name,
        split="test",
        answers="exact",
        seeds=seeds,
        first_index=0,
        columns=columns,
        base=base if base in outcomes else None,
        tasks=tuple(tasks),
    )


def write_result(result: SweepResult, folder: Path) -> Path:
    """Writes a sweep as `run_sweep` does; returns its folder."""
    write_sweep(result, folder)
    for task in result.tasks:
        for column in result.columns:
            path = result_path(folder, result.name, column, task.facts.name)
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = [json.dumps(record.to_json()) + "\n" for record in task.records.get(column.name, ())]
            path.write_text("".join(lines), encoding="utf-8")
    return folder / result.name
