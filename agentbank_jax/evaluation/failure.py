"""Why an episode failed, in words, as far as its record tells."""

from agentbank_jax.evaluation.episode import EpisodeRecord

_REASONS = {
    "success": "The goal was reached.",
    "finished": "The episode ended without success: the answer or the result was not what was asked for.",
    "max_steps": "The limit of steps was reached before the goal.",
    "unparseable": "Too many replies in a row held no action.",
    "context_exhausted": "The conversation no longer fitted into the model's context.",
    "no_reply": "The recording that was played had no reply here.",
    "environment_error": "The environment failed, not the agent.",
}


def explain(record: EpisodeRecord) -> list[str]:
    """Sentences that say how an episode ended and what went wrong; of a success, only what was refused on the way."""
    said = [_REASONS.get(record.terminate_reason, record.terminate_reason.replace("_", " "))]
    if not record.success and record.terminate_reason != "environment_error" and record.reward:
        said.append(f"Its last step was worth a reward of {record.reward:.3g}, below what counts as success.")
    if record.invalid_actions:
        said.append(
            f"{record.invalid_actions} of {record.steps} replies held no action, or one that the environment refused"
            + (f"; reply {record.first_invalid} is the first." if record.first_invalid is not None else ".")
        )
    if record.trained_on:
        said.append("The instance was trained on, and is in no figure.")
    return said


def first_invalid(record: EpisodeRecord) -> int | None:
    """Which message of the last trial is the first reply that held no action, or a refused one; None where none was."""
    replies = [place for place, message in enumerate(record.conversations) if message["from"] == "gpt"]
    number = record.first_invalid
    return replies[number - 1] if number is not None and 0 < number <= len(replies) else None
