"""What a sweep is: tasks, models, agents and seeds, and the limits of its episodes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from agentbank_jax.agents.agent import Agent
from agentbank_jax.agents.registry import get_agent
from agentbank_jax.environments import registry
from agentbank_jax.environments.base import check_answers
from agentbank_jax.environments.registry import EnvironmentSpec
from agentbank_jax.errors import AgentBankError, did_you_mean
from agentbank_jax.generation.requests import SamplingParams

BASELINES = ("untrained", "random", "oracle")


@dataclass(frozen=True, kw_only=True)
class SweepConfig:
    """Which episodes to play, and within which limits.

    In gin each sweep is a scope of its own: `starter_held_in/SweepConfig.tasks = ("starter_math",)`.

    Fields:
      name: of the sweep, and of its folder of results.
      tasks: names of environments.
      episodes_per_task: instances `first_index` … of the split.
      split: `test` or `train`.
      first_index: the first instance.
      models: who plays beside the checkpoint of the command line: a checkpoint's folder, `http://HOST:PORT/v1#NAME`
        for a model behind an OpenAI-compatible server, or `recording:FOLDER` for the replies of recorded episodes.
      manifests: name of a model behind a server, or of a recording → the `manifest.json` of its training; of one that
        is not named here the report says that its training data are unknown.
      baselines: what to run beside the models: `untrained` (the same shape, fresh weights),
        `random`, `oracle`.
      base: with whom the report compares each model; None takes `untrained` where it plays.
      agents: how models are driven: `react`, `act`, `reflexion`, `rewoo`.
      trials: of the agent `reflexion`.
      answers: how a stated answer is compared with the published one: `exact` or `mint`.
      max_new_tokens: longest reply of a model, in tokens.
      max_steps: actions in a trial; None takes the limits of each environment and of its problems.
      max_unparseable: an episode ends after so many replies in a row without an action.
      slots: replies that a model writes at once.
      at_once: episodes under way at once, and processes of environments; None takes `slots`. More than these keep a
        model busy while slow environments act.
      max_length: tokens in a conversation; None takes the model's limit.
      temperature, top_p: how a model's tokens are drawn (see `generation.requests.SamplingParams`); a temperature of 0
        takes the most likely ones.
      choose_actions: in environments that list their actions, a model's Thought is free and its Action is the most
        likely of the list.
      seeds: each decides what the random policy does, and what a model draws; with several, every episode is
        played once with each.
      processes: whether each environment has a process of its own, which may crash or hang without hurting the sweep.
    """

    name: str = "sweep"
    tasks: Sequence[str] = ()
    episodes_per_task: int = 40
    split: str = "test"
    first_index: int = 0
    models: Sequence[str] = ()
    manifests: Mapping[str, str] = field(default_factory=dict)
    baselines: Sequence[str] = BASELINES
    base: str | None = None
    agents: Sequence[str] = ("react",)
    trials: int = 3
    answers: str = "exact"
    max_new_tokens: int = 80
    max_steps: int | None = None
    max_unparseable: int = 3
    slots: int = 32
    at_once: int | None = None
    max_length: int | None = None
    temperature: float = 0.0
    top_p: float = 1.0
    choose_actions: bool = False
    seeds: Sequence[int] = (0,)
    processes: bool = True

    def __post_init__(self) -> None:
        for name in ("tasks", "models", "baselines", "agents", "seeds"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        where = f"SweepConfig '{self.name}'"
        if not self.name or "/" in self.name or self.name.startswith("."):
            raise AgentBankError(f"{where}: the name becomes a folder; expected one without '/' or a leading dot.")
        if not self.tasks:
            raise AgentBankError(f"{where}: tasks is empty; expected names of environments.")
        for name in ("tasks", "models", "baselines", "agents", "seeds"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise AgentBankError(f"{where}: {name}={values} names one twice.")
        for name in ("agents", "seeds"):
            if not getattr(self, name):
                raise AgentBankError(f"{where}: {name} is empty; expected at least one.")
        for name in ("episodes_per_task", "max_new_tokens", "max_unparseable", "slots"):
            if getattr(self, name) < 1:
                raise AgentBankError(f"{where}: {name}={getattr(self, name)}; expected at least 1.")
        if self.at_once is not None and self.at_once < 1:
            raise AgentBankError(f"{where}: at_once={self.at_once}; expected at least 1, or None.")
        self.sampling()
        if self.max_steps is not None and self.max_steps < 1:
            raise AgentBankError(f"{where}: max_steps={self.max_steps}; expected at least 1, or None.")
        if self.first_index < 0:
            raise AgentBankError(f"{where}: first_index={self.first_index}; expected 0 or more.")
        for baseline in self.baselines:
            if baseline not in BASELINES:
                raise AgentBankError(f"{where}: unknown baseline '{baseline}'.{did_you_mean(baseline, BASELINES)}")
        if self.choose_actions and "act" in self.agents:
            raise AgentBankError(f"{where}: choose_actions chooses after a Thought, and the agent 'act' has none.")
        registry.check_split(self.split)
        check_answers(self.answers)
        self.make_agents()

    @property
    def episodes_at_once(self) -> int:
        return self.at_once or self.slots

    def make_agents(self) -> tuple[Agent, ...]:
        """How models are driven.

        Raises:
          AgentBankError: an unknown name, with the nearest known one.
        """
        return tuple(get_agent(name, trials=self.trials) for name in self.agents)

    def sampling(self) -> SamplingParams:
        """How a model's tokens are drawn.

        Raises:
          AgentBankError: a temperature or a top_p outside its range.
        """
        return SamplingParams(temperature=self.temperature, top_p=self.top_p)

    def decoding(self) -> str:
        """How a model acts, for a report; the same words mean the same replies."""
        drawn = "greedy decoding" if not self.temperature else f"temperature {self.temperature}"
        parts = [drawn, f"top_p {self.top_p}" if self.temperature and self.top_p < 1 else ""]
        return ", ".join(part for part in (*parts, "actions of the list" if self.choose_actions else "") if part)

    def specs(self) -> tuple[EnvironmentSpec, ...]:
        """The environments of the tasks.

        Raises:
          AgentBankError: an unknown name, with the nearest known one.
        """
        return tuple(registry.get(task) for task in self.tasks)

    def not_run(self, spec: EnvironmentSpec) -> str | None:
        """Why a task cannot be played here: what `available` says, or what is wrong with its instances."""
        reason = spec.available()
        if reason is None:
            try:
                spec.size(self.split)
            except AgentBankError as error:
                return str(error)
        return reason
