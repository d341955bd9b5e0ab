"""The agents by name."""

from collections.abc import Callable

from agentbank_jax.agents.act import Act
from agentbank_jax.agents.agent import Agent
from agentbank_jax.agents.react import ReAct
from agentbank_jax.agents.reflexion import Reflexion
from agentbank_jax.agents.rewoo import ReWOO
from agentbank_jax.errors import AgentBankError, did_you_mean

AGENTS: dict[str, Callable[[], Agent]] = {"react": ReAct, "act": Act, "reflexion": Reflexion, "rewoo": ReWOO}


def get_agent(name: str, *, trials: int = 3) -> Agent:
    """Makes an agent.

    Args:
      name: a key of `AGENTS`.
      trials: of `reflexion`.

    Raises:
      AgentBankError: an unknown name, with the nearest known one, or a number of trials below 1.
    """
    if name not in AGENTS:
        raise AgentBankError(f"no agent is called '{name}'.{did_you_mean(name, AGENTS)}")
    return Reflexion(trials=trials) if name == "reflexion" else AGENTS[name]()
