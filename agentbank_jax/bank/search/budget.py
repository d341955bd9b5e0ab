"""What a search may cost before it is given up."""

from dataclasses import dataclass

from agentbank_jax.errors import AgentBankError, did_you_mean


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Limits of one search.

    Fields:
      steps: calls of the environment's `step`, those that bring a state back by replay included.
      seconds: of wall time; None for no limit. The result then depends on the machine: prefer `steps`.

    Raises:
      AgentBankError: on a limit below 1 step or not above 0 seconds.
    """

    steps: int
    seconds: float | None = None

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise AgentBankError(f"search budget: {self.steps} steps; expected at least 1.")
        if self.seconds is not None and not self.seconds > 0:
            raise AgentBankError(f"search budget: {self.seconds} seconds; expected more than 0, or None for no limit.")


# `weak` solves what is easy and little else: the success-only baseline of a difficulty-bias report.
BUDGETS: dict[str, Budget] = {
    "weak": Budget(steps=2_000),
    "standard": Budget(steps=100_000),
    "thorough": Budget(steps=1_000_000),
}


def budget_called(name: str) -> Budget:
    """Returns a preset of `BUDGETS`.

    Raises:
      AgentBankError: where there is none of that name.
    """
    if name not in BUDGETS:
        raise AgentBankError(f"no search budget is called '{name}'.{did_you_mean(name, BUDGETS)}")
    return BUDGETS[name]
