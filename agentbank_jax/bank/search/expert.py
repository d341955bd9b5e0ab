"""The environment's own expert, as one searcher among the others."""

from dataclasses import dataclass

from agentbank_jax.bank.search.keeper import StateKeeper
from agentbank_jax.bank.search.searcher import Nothing, given_up
from agentbank_jax.environments.base import ExpertStep
from agentbank_jax.errors import AgentBankError


@dataclass(frozen=True, kw_only=True)
class Expert:
    """Plays what the environment's `expert_steps` says: a gold path, a walkthrough, or an expert's plan.

    Its steps keep their intents and slots. They are the same each time where the engine's are. What the environment
    refuses is left out: some of TextWorldExpress's gold paths open what is open.
    """

    @property
    def name(self) -> str:
        return "expert"

    def find(self, keeper: StateKeeper) -> tuple[ExpertStep, ...] | Nothing:
        try:
            steps = keeper.environment.expert_steps()
        except AgentBankError as error:
            return Nothing(reason="no_plan", detail=str(error))
        taken: list[ExpertStep] = []
        for step in steps:
            if keeper.spent():
                return given_up(keeper)
            state = keeper.pass_on(step.action)
            if not state.invalid:
                taken.append(step)
            if state.reached:
                return tuple(taken)
            if state.ended:
                break
        return Nothing(reason="no_plan", detail=f"the expert's {len(steps)} steps do not reach the reward")
