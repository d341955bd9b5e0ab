"""Harnesses that people measure models with, as clients of the server: `make test-clients`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentbank_jax.generation.engine import Engine
from agentbank_jax.serving.served_model import ServedModel
from tests.serving.running import Running, serving
from tests.trajectories.published import llama2_json, write_checkpoint

pytest.importorskip("lm_eval")
pytest.importorskip("inspect_ai")

ROWS = [
    {"question": f"Where is the {thing}?", "choices": ["on the shelf", "in the drawer", "there"], "answer": number % 3}
    for number, thing in enumerate(("cup", "lamp", "key", "book"))
]


@pytest.fixture(scope="module")
def real(model: ServedModel) -> Iterator[Running]:
    stops, tokenizer = model.template.stop_ids, model.tokenizer
    engine = Engine(model.config, model.params, stop_ids=stops, tokenizer=tokenizer, slots=8, max_length=512)
    with serving(model, engine) as running:
        yield running


@pytest.fixture
def tokenizer(model: ServedModel, tmp_path: Path) -> Path:
    """The tokenizer as `transformers` reads it."""
    tokens = {"bos_token": "<s>", "eos_token": "</s>", "tokenizer_class": "PreTrainedTokenizerFast"}
    return write_checkpoint(tmp_path / "tokenizer", llama2_json(model.tokenizer.model), None, **tokens)


def write_task(folder: Path, text: str) -> Path:
    """Writes a task as a YAML file over `ROWS`; returns its folder."""
    tasks = folder / "tasks"
    tasks.mkdir()
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    data = f"dataset_path: json\ndataset_kwargs:\n  data_files:\n    test: {folder / 'rows.jsonl'}\ntest_split: test\n"
    (tasks / "made.yaml").write_text("task: made\n" + data + text)
    return tasks


CHOICES = """\
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: "{{choices}}"
doc_to_target: answer
metric_list:
  - metric: acc
"""
REPLIES = """\
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{choices[0]}}"
generation_kwargs:
  until: ["\\n\\n"]
  max_gen_toks: 12
metric_list:
  - metric: exact_match
"""


def measure(tasks: Path, model: str, url: str, **others: Any) -> list[dict[str, Any]]:
    """The samples of a task after lm-eval has run it."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    arguments = {"model": "made-tiny", "base_url": url, "max_retries": 1, "num_concurrent": 4, **others}
    chat = model == "local-chat-completions"
    found = simple_evaluate(
        model=model,
        model_args=arguments,
        tasks=["made"],
        task_manager=TaskManager(include_path=str(tasks), include_defaults=False),
        bootstrap_iters=0,
        log_samples=True,
        apply_chat_template=chat,
    )
    assert found is not None
    return found["samples"]["made"]


def test_lm_eval_reads_the_log_likelihoods_of_the_model(
    real: Running, model: ServedModel, tokenizer: Path, tmp_path: Path
) -> None:
    samples = measure(
        write_task(tmp_path, CHOICES),
        "local-completions",
        f"{real.url}/v1/completions",
        tokenizer=str(tokenizer),
        tokenizer_backend="huggingface",
        add_bos_token=True,
    )
    assert len(samples) == len(ROWS)
    for sample in samples:
        row = sample["doc"]
        for choice, (logprob, _) in zip(row["choices"], sample["filtered_resps"], strict=True):
            context = model.tokenizer.encode(row["question"])
            whole = model.tokenizer.encode(f"{row['question']} {choice}")
            assert whole[: len(context)] == context
            body = {"prompt": [model.tokenizer.bos_id, *whole], "echo": True, "logprobs": 0, "max_tokens": 0}
            told = real.post("/v1/completions", body).json()["choices"][0]["logprobs"]["token_logprobs"]
            assert float(logprob) == pytest.approx(sum(told[len(context) + 1 :]), abs=1e-3)


def test_lm_eval_reads_chat_replies(real: Running, tmp_path: Path) -> None:
    url = f"{real.url}/v1/chat/completions"
    samples = measure(write_task(tmp_path, REPLIES), "local-chat-completions", url)
    assert len(samples) == len(ROWS)
    for sample in samples:
        body = real.chat(sample["doc"]["question"], temperature=0, max_tokens=12, stop=["\n\n"]).json()
        assert sample["resps"][0][0] == body["choices"][0]["message"]["content"]


def test_an_inspect_agent_acts_with_a_tool_and_submits(model: ServedModel, tmp_path: Path) -> None:
    from inspect_ai import Task
    from inspect_ai import eval as inspect_eval
    from inspect_ai.agent import react
    from inspect_ai.dataset import Sample
    from inspect_ai.model import get_model
    from inspect_ai.scorer import match
    from inspect_ai.tool import Tool, tool

    @tool
    def search() -> Tool:
        async def execute(query: str) -> str:
            """Searches the house.

            Args:
              query: What is sought.
            """
            return f"The {query} is in the hall"

        return execute

    def say(text: str) -> str:
        last = text.rsplit("[INST]", 1)[-1]
        if "Observation: The lamp is in the hall" in last:
            return "Thought: I know.\nAction: submit[hall]"
        return "Thought: I search.\nAction: search[lamp]"

    with serving(model, say=say, max_length=4096) as server:
        (log,) = inspect_eval(
            Task(dataset=[Sample(input="Where is the lamp?", target="hall")], scorer=match()),
            solver=react(tools=[search()]),
            model=get_model("openai-api/made/made-tiny", base_url=f"{server.url}/v1", api_key="none"),
            display="none",
            log_dir=str(tmp_path),
            message_limit=10,
        )
        assert log.status == "success", log.error
        assert log.samples and log.samples[0].output.completion.endswith("hall")
        assert log.results and log.results.scores[0].metrics["accuracy"].value == 1
        first, second = [list(request.ids) for request in server.engine.read]
        # The second request goes on from the ids of the first.
        assert second[: len(first)] == first
