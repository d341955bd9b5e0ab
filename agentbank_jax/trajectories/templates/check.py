"""Whether a chat template fits its tokenizer: what it trains, and that acting reads what training read."""

import numpy as np

from agentbank_jax.trajectories.schema import Trajectory, TrajectoryError, Turn
from agentbank_jax.trajectories.templates.chat_template import ChatTemplate, EncodedTrajectory, TemplateError

_TURNS = (
    Turn.system("Act."),
    Turn.user("Find the cup."),
    Turn.assistant("Thought: I look.\nAction: look"),
    Turn.user("Observation: a shelf"),
    Turn.assistant("Thought: It is there.\nAction: go to shelf"),
    Turn.user("Observation: a cup"),
    Turn.assistant("Thought: Done.\nFinal Answer: shelf"),
)


def check_template(template: ChatTemplate) -> None:
    """Encodes a short conversation and looks at every token of it.

    Held are: each trained assistant turn ends with a trained stop token, nothing else is trained,
    acting turn by turn gives the ids of training, and a later part of a trajectory that re-opens
    with its instruction and task has the ids of that conversation.

    Raises:
      TemplateError: where one of them does not hold, or the conversation cannot be encoded.
    """
    # Some templates know no system turn.
    turns = _TURNS if _renders(template, _TURNS) else _TURNS[1:]
    trajectory = Trajectory(id="probe", task="probe", turns=turns)
    try:
        encoded = template.encode(trajectory)
        _check_trained(template, trajectory, encoded)
        _check_acting(template, trajectory, encoded)
        _check_reopening(template, trajectory, encoded)
    except TrajectoryError as error:
        raise _refused(template, str(error)) from None


def _renders(template: ChatTemplate, turns: tuple[Turn, ...]) -> bool:
    try:
        template.parts(turns, [False] * len(turns))
    except TemplateError:
        return False
    return True


def _check_trained(template: ChatTemplate, trajectory: Trajectory, encoded: EncodedTrajectory) -> None:
    for index, turn in enumerate(trajectory.turns):
        of_turn = encoded.turn == index
        learnt = encoded.tokens[of_turn & encoded.trained]
        if turn.role != "assistant" or (template.options.train_on == "last" and index < len(trajectory.turns) - 1):
            if len(learnt):
                raise _refused(template, f"tokens of turn {index}, which is not trained, would be trained.")
            continue
        if not len(learnt) or learnt[-1] != template.stop_ids[0]:
            stop = template.tokenizer.spell(template.stop_ids[:1])
            raise _refused(
                template,
                f"the stop token {stop!r} of turn {index} would not be trained, so that the model would not learn to "
                "end its turn.",
            )
        text = template.decode(learnt.tolist())
        expected = turn.content if template.options.train_thoughts else turn.content.split("\n")[-1]
        # Some tokenizers normalise, line feeds to spaces too.
        if text != template.decode(template.tokenizer.encode(expected)):
            raise _refused(template, f"of turn {index} {text!r} would be trained, where {expected!r} is expected.")


def _check_acting(template: ChatTemplate, trajectory: Trajectory, encoded: EncodedTrajectory) -> None:
    turns = trajectory.turns
    first = 2 if turns[0].role == "system" else 1
    ids = template.prompt_ids(turns[:first])
    for index in range(first, len(turns), 2):
        # A reply goes up to its stop token.
        (stops,) = np.nonzero((encoded.turn == index) & (encoded.tokens == template.stop_ids[0]))
        prompt = template.prompt_ids(turns[:index])
        if not len(stops) or encoded.tokens[: len(ids)].tolist() != ids or prompt != ids:
            raise _refused(template, f"acting would read other ids before turn {index} than training.")
        ids += encoded.tokens[len(ids) : stops[-1] + 1].tolist()
        if index + 1 < len(turns):
            ids += template.continuation_ids(turns[index + 1].content)


def _check_reopening(template: ChatTemplate, trajectory: Trajectory, encoded: EncodedTrajectory) -> None:
    turns = trajectory.turns
    first = 2 if turns[0].role == "system" else 1
    later = template.encode(Trajectory(id="probe", task="probe", turns=turns[:first] + turns[first + 2 :]))
    taken = (encoded.turn < first) | (encoded.turn >= first + 2)
    if later.tokens.tolist() != encoded.tokens[taken].tolist():
        raise _refused(template, "a part of a trajectory would have other ids than the same turns by themselves.")


def _refused(template: ChatTemplate, reason: str) -> TemplateError:
    return TemplateError(
        f"chat template '{template.name}' with the tokenizer {template.tokenizer.name} is refused: {reason}"
    )
