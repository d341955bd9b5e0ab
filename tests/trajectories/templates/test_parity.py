"""Ids are those of the published tokenizers and of `transformers`, and masks those that character offsets give.

Needs `transformers` (in the extra `test`), which the references below are made with; it downloads nothing.
"""

import os
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
import tokenizers
import transformers

from agentbank_jax.trajectories.schema import Trajectory
from agentbank_jax.trajectories.templates.registry import ChatTemplate, get_template
from agentbank_jax.trajectories.tokenizers.tokenizer import Tokenizer
from tests.trajectories.published import CHATML_JINJA, LLAMA2_JINJA, LLAMA3_JINJA, conversations, messages_of

CONVERSATIONS = 320
PLAIN = conversations(CONVERSATIONS, literals=False)
LITERAL = conversations(CONVERSATIONS, literals=True)

IdsAndMask = tuple[list[int], list[bool]]


def llama2_reference(backend: tokenizers.Tokenizer, trajectory: Trajectory) -> IdsAndMask:
    """Each pair between BOS and EOS; trained is what begins behind the prompt's last character."""
    turns = list(trajectory.turns)
    system = f"<<SYS>>\n{turns.pop(0).content}\n<</SYS>>\n\n" if turns[0].role == "system" else ""
    ids: list[int] = []
    mask: list[bool] = []
    for user, reply in zip(turns[::2], turns[1::2], strict=True):
        prompt = f"[INST] {(system + user.content).strip()} [/INST]"
        # The file's own post-processor puts BOS before the text.
        encoding = backend.encode(f"{prompt} {reply.content.strip()} ")
        ids += [*encoding.ids, 2]
        mask += [reply.trained and begin >= len(prompt) for begin, _ in encoding.offsets] + [reply.trained]
        system = ""
    return ids, mask


def llama3_spans(trajectory: Trajectory) -> tuple[str, list[tuple[int, int]]]:
    """The rendering, and from where to where in it something is trained."""
    text, spans = "<|begin_of_text|>", []
    for turn in trajectory.turns:
        text += f"<|start_header_id|>{turn.role}<|end_header_id|>\n\n"
        begin = len(text)
        text += turn.content.strip() + "<|eot_id|>"
        spans += [(begin, len(text))] if turn.trained else []
    return text, spans


def llama3_reference(backend: tokenizers.Tokenizer, trajectory: Trajectory) -> IdsAndMask:
    """Contents with special parsing off, between the template's own ids."""
    ids = [backend.token_to_id("<|begin_of_text|>")]
    mask = [False]
    for turn in trajectory.turns:
        header = [backend.token_to_id("<|start_header_id|>"), *backend.encode(turn.role, add_special_tokens=False).ids]
        header.append(backend.token_to_id("<|end_header_id|>"))
        encoding = backend.encode("\n\n" + turn.content.strip(), add_special_tokens=False)
        ids += [*header, *encoding.ids, backend.token_to_id("<|eot_id|>")]
        mask += [False] * len(header) + [turn.trained and begin >= 2 for begin, _ in encoding.offsets] + [turn.trained]
    return ids, mask


def backend_of(folder: Path, *, special_parsing: bool = False) -> tokenizers.Tokenizer:
    backend = tokenizers.Tokenizer.from_file(os.fspath(folder / "tokenizer.json"))
    backend.encode_special_tokens = not special_parsing
    return backend


def ids_and_mask(template: ChatTemplate, trajectory: Trajectory) -> IdsAndMask:
    encoded = template.encode(trajectory)
    return encoded.tokens.tolist(), encoded.trained.tolist()


@pytest.mark.parametrize("source", ["llama2", "llama2_model"])
@pytest.mark.parametrize("name", ["llama2", "codellama"])
def test_llama2_gives_the_ids_of_the_published_tokenizer(
    published: dict[str, Path], checkpoints: dict[str, Tokenizer], name: str, source: str
) -> None:
    template = get_template(name, checkpoints[source])
    for chosen, special_parsing in ((PLAIN, True), (LITERAL, False)):
        backend = backend_of(published["llama2"], special_parsing=special_parsing)
        for trajectory in chosen:
            assert ids_and_mask(template, trajectory) == llama2_reference(backend, trajectory), trajectory


def test_llama3_gives_the_ids_of_transformers_and_the_mask_of_its_offsets(
    published: dict[str, Path], checkpoints: dict[str, Tokenizer]
) -> None:
    template = get_template("llama3", checkpoints["llama3"])
    reference = transformers.PreTrainedTokenizerFast(
        tokenizer_file=os.fspath(published["llama3"] / "tokenizer.json"), bos_token="<|begin_of_text|>"
    )
    for trajectory in PLAIN:
        text, spans = llama3_spans(trajectory)
        expected = reference.apply_chat_template(
            messages_of(trajectory.turns), chat_template=LLAMA3_JINJA, return_dict=False
        )
        encoding = reference(text, add_special_tokens=False, return_offsets_mapping=True)
        assert encoding["input_ids"] == expected
        mask = [any(a <= begin and end <= b for a, b in spans) for begin, end in encoding["offset_mapping"]]
        assert ids_and_mask(template, trajectory) == (expected, mask), trajectory


def test_llama3_keeps_literal_special_strings_plain(
    published: dict[str, Path], checkpoints: dict[str, Tokenizer]
) -> None:
    template = get_template("llama3", checkpoints["llama3"])
    # Offsets as they are: the file's post-processor would move them past spaces.
    backend = backend_of(published["llama3"])
    backend.post_processor = None
    for trajectory in [*PLAIN, *LITERAL]:
        assert ids_and_mask(template, trajectory) == llama3_reference(backend, trajectory), trajectory


@pytest.mark.parametrize("checkpoint", ["llama2", "llama3", "chatml"])
def test_hf_gives_the_ids_of_transformers(
    published: dict[str, Path], checkpoints: dict[str, Tokenizer], checkpoint: str
) -> None:
    template = get_template("hf", checkpoints[checkpoint])
    jinja = {"llama2": LLAMA2_JINJA, "llama3": LLAMA3_JINJA, "chatml": CHATML_JINJA}[checkpoint]
    reference = transformers.PreTrainedTokenizerFast(
        tokenizer_file=os.fspath(published[checkpoint] / "tokenizer.json"), **checkpoints[checkpoint].settings.tokens
    )
    compared = 0
    for trajectory in PLAIN:
        messages = messages_of(trajectory.turns)
        # What `hf` refuses, for it cannot be told apart: a reply that joins the line feed before it,
        # and a blank task under a system turn, with which Llama-2's template strips its own marker.
        joined = checkpoint == "chatml" and any(
            t.content.lstrip(" \t\u00a0").startswith(("\n", "\r")) for t in trajectory.turns
        )
        blank = (
            checkpoint == "llama2" and trajectory.turns[0].role == "system" and not trajectory.turns[1].content.strip()
        )
        if joined or blank:
            continue
        expected = reference.apply_chat_template(messages, chat_template=jinja, return_dict=False)
        assert ids_and_mask(template, trajectory)[0] == expected, trajectory
        assert template.prompt_ids(trajectory.turns[:-1]) == reference.apply_chat_template(
            messages[:-1], chat_template=jinja, add_generation_prompt=True, return_dict=False
        )
        compared += 1
    assert compared > 150


def test_the_number_of_stop_tokens_is_the_number_of_turns(checkpoints: dict[str, Tokenizer]) -> None:
    llama2, llama3 = get_template("llama2", checkpoints["llama2"]), get_template("llama3", checkpoints["llama3"])
    for trajectory in LITERAL:
        tokens = llama2.encode(trajectory).tokens.tolist()
        assert tokens.count(1) == tokens.count(2) == trajectory.assistant_turns
        tokens = llama3.encode(trajectory).tokens.tolist()
        eot, end = llama3.stop_ids
        assert tokens.count(eot) == len(trajectory.turns) and tokens.count(end) == 0
        assert tokens.count(llama3.tokenizer.bos_id) == 1


def test_transformers_itself_makes_eos_of_a_literal(published: dict[str, Path]) -> None:
    reference = transformers.PreTrainedTokenizerFast(
        tokenizer_file=os.fspath(published["llama2"] / "tokenizer.json"), bos_token="<s>", eos_token="</s>"
    )
    messages = [{"role": "user", "content": "see </s>"}, {"role": "assistant", "content": "ok"}]
    ids = reference.apply_chat_template(messages, chat_template=LLAMA2_JINJA, return_dict=False)
    assert ids.count(2) == 2
