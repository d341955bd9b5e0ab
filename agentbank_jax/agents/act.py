"""Act: acts without a Thought; what ReAct is compared with in Yao et al. 2022 (arXiv 2210.03629)."""

from dataclasses import dataclass

from agentbank_jax.agents.react import ReAct
from agentbank_jax.environments.base import FINAL_ANSWER_PREFIX
from agentbank_jax.trajectories.schema import Turn

_NO_THOUGHT = "Write no Thought, but the Action or the Final Answer alone."


@dataclass(frozen=True, kw_only=True)
class Act(ReAct):
    """ReAct's format without its Thoughts; one that is written nevertheless is passed over."""

    name: str = "act"
    format_reminder: str = "Invalid format. Reply with 'Action: ...' or 'Final Answer: ...'."

    @property
    def facts(self) -> tuple[str, ...]:
        return *super().facts, _NO_THOUGHT

    def opening(self, instruction: str, observation: str) -> tuple[Turn, ...]:
        return super().opening(f"{instruction} {_NO_THOUGHT}".strip(), observation)

    def render(self, thought: str, action: str) -> str:
        return action if action.startswith(FINAL_ANSWER_PREFIX) else f"Action: {action}"
