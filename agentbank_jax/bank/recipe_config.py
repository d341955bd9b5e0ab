"""What a recipe's settings are called, and what they make: the names of `gin/bank/*.gin`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from agentbank_jax.agents.endpoint import Endpoint
from agentbank_jax.agents.endpoint_client import Patience
from agentbank_jax.bank.annotation import Annotator, Method, RationaleWriter
from agentbank_jax.bank.environment_recipe import EnvironmentRecipe
from agentbank_jax.bank.filter_config import FilterConfig
from agentbank_jax.bank.forcing.teacher import OnFailure, Teacher
from agentbank_jax.environments.benchmark_data import BenchmarkConfig
from agentbank_jax.environments.sandbox_limits import SandboxConfig
from agentbank_jax.errors import AgentBankError, did_you_mean

# Folders of a bank that hold something else, and more trajectories than a task can have.
_RESERVED, _MOST = ("recipes", "tfds"), 100_000_000

SearcherName = Literal["expert", "a_star", "breadth_first", "iterative_deepening", "monte_carlo"]
Rationales = Literal["templates", "model"]

CALLS = ".teacher_calls.sqlite"


@dataclass(frozen=True, kw_only=True)
class TeacherConfig:
    """The language model that annotates, or words Thoughts, in recipes that ask for one.

    Fields:
      endpoint: `http://HOST:PORT/v1#MODEL`; its key is in the environment variable OPENAI_API_KEY.
      cache: the file that keeps each reply, on a local disk; None takes `.teacher_calls.sqlite` in the bank's folder.
      at_once: requests of one process under way at a time; a build has as many processes as it has workers.
      timeout, retries, backoff: as of `Patience`.
      temperature, top_p, max_new_tokens, max_tokens, on_failure: as of `Teacher`.

    Raises:
      AgentBankError: a value out of range.
    """

    endpoint: str | None = None
    cache: str | None = None
    at_once: int = 8
    timeout: float = 300.0
    retries: int = 6
    backoff: float = 0.5
    temperature: float = 0.7
    top_p: float = 1.0
    max_new_tokens: int = 512
    max_tokens: int = 100_000
    on_failure: OnFailure = "stop"

    def __post_init__(self) -> None:
        if self.at_once < 1:
            raise AgentBankError(f"TeacherConfig.at_once={self.at_once}; expected at least 1.")

    def make(self, task: str, output: Path) -> Teacher:
        """The teacher of a task.

        Raises:
          AgentBankError: where none is named, or a value is out of range.
        """
        if self.endpoint is None:
            raise AgentBankError(
                f"recipe '{task}' asks a language model, and none is named; expected "
                "--gin.TeacherConfig.endpoint=http://HOST:PORT/v1#MODEL."
            )
        return Teacher(
            endpoint=Endpoint.parse(self.endpoint),
            cache=Path(self.cache).expanduser() if self.cache else output / CALLS,
            account=task,
            temperature=self.temperature,
            top_p=self.top_p,
            max_new_tokens=self.max_new_tokens,
            max_tokens=self.max_tokens,
            patience=Patience(timeout=self.timeout, retries=self.retries, backoff=self.backoff),
            on_failure=self.on_failure,
        )


@dataclass(frozen=True, kw_only=True)
class RecipeConfig:
    """How one task of a bank is made.

    In gin each task is a scope of its own: `starter_math/RecipeConfig.annotator = 'derived'`.

    Fields:
      task: its name, and its folder in the bank.
      environment: whose train split it is made of; the environment of the task's name if None.
      trajectories: how many; None, for splits that end, takes all that can be made.
      seed: of instances, searches and wording.
      annotator: how actions are found, in AgentBank's terms: `heuristic_search`, `answer_forcing`, `reformatting`, or
        `derived`, from the answer that a generated problem was made with.
      searcher: of `heuristic_search`: `expert` (the engine's own solution), `a_star`, `breadth_first`,
        `iterative_deepening` or `monte_carlo`.
      heuristic: that guides `a_star` and `monte_carlo`, one of `bank.search.heuristics.HEURISTICS`.
      path_weight: of `a_star`: of the steps so far; 0 is greedy best-first search.
      budget_steps, budget_seconds: of each search. With a limit in seconds the bank depends on the machine.
      max_steps: actions allowed in place of the environment's own limits.
      attempts, redraws, max_turns: as of `AnswerForcing`.
      rationales: who words Thoughts: `templates`, or the `model` of `TeacherConfig`.
      keep_given: whether Thoughts that the source or the annotator gives are kept.
      filters: names of filters, which `FilterConfig` sets up; they are applied in this order, those that compare
        trajectories last.
      source: what the trajectories' metadata name as their source; the environment if None.
      fresh_engine: whether each chunk begins with a new engine, for engines whose state outlives a `reset`.
      held_out: allows an environment that is kept out of training.
      shard_rows: trajectories per file.
      chunk: instances that are made at once by one process, and lost at most where a build is killed.

    Raises:
      AgentBankError: a value out of range, or an unknown name.
    """

    task: str
    environment: str | None = None
    trajectories: int | None = None
    seed: int = 0
    annotator: str = "heuristic_search"
    searcher: str = "expert"
    heuristic: str = "zero"
    path_weight: float = 1.0
    budget_steps: int = 100_000
    budget_seconds: float | None = None
    max_steps: int | None = None
    attempts: int = 3
    redraws: int = 2
    max_turns: int | None = None
    rationales: str = "templates"
    keep_given: bool = True
    filters: Sequence[str] = ()
    source: str | None = None
    fresh_engine: bool = False
    held_out: bool = False
    shard_rows: int = 2000
    chunk: int = 200

    def __post_init__(self) -> None:
        object.__setattr__(self, "filters", tuple(self.filters))
        where = f"RecipeConfig '{self.task}'"
        if not self.task or "/" in self.task or self.task.startswith("."):
            raise AgentBankError(f"{where}: the task becomes a folder; expected a name without '/' or a leading dot.")
        if self.task in _RESERVED:
            raise AgentBankError(
                f"{where}: the bank keeps other files in a folder of that name; expected another task."
            )
        if not abs(self.seed) < 1 << 63:
            raise AgentBankError(f"{where}: seed={self.seed}; expected a whole number of 64 bits.")
        if (self.trajectories or 0) > _MOST:
            raise AgentBankError(f"{where}: trajectories={self.trajectories}; expected at most {_MOST:,}.")
        for name in ("trajectories", "max_steps", "max_turns"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise AgentBankError(f"{where}: {name}={value}; expected at least 1, or None.")
        for name in ("shard_rows", "chunk"):
            if getattr(self, name) < 1:
                raise AgentBankError(f"{where}: {name}={getattr(self, name)}; expected at least 1.")
        for name, choices in (("annotator", Method), ("searcher", SearcherName), ("rationales", Rationales)):
            if (value := getattr(self, name)) not in get_args(choices):
                raise AgentBankError(f"{where}: unknown {name} '{value}'.{did_you_mean(value, get_args(choices))}")

    @property
    def asks_a_model(self) -> bool:
        """Whether a language model takes part."""
        return self.annotator == "answer_forcing" or self.rationales == "model"

    def make(
        self,
        filters: FilterConfig,
        teacher: TeacherConfig,
        *,
        output: Path,
        benchmarks: BenchmarkConfig,
        sandbox: SandboxConfig,
        imports: Sequence[str] = (),
    ) -> EnvironmentRecipe:
        """The recipe; arguments as of `EnvironmentRecipe`.

        Raises:
          AgentBankError: where the environment does not exist, cannot run here, or is held out, where there is nobody
            to ask, or a value is out of range.
        """
        each, compared = filters.make(self.filters)
        recipe = EnvironmentRecipe(
            task=self.task,
            environment=self.environment or self.task,
            method=self.annotator,
            annotator=self._annotator(teacher, output),
            rationales=self._rationales(teacher, output),
            filters=each,
            bank_filters=compared,
            wanted=self.trajectories,
            seed=self.seed,
            max_steps=self.max_steps,
            source=self.source or "",
            shard_rows=self.shard_rows,
            chunk=self.chunk,
            fresh_engine=self.fresh_engine,
            threads=teacher.at_once if self.asks_a_model else 1,
            benchmarks=benchmarks,
            sandbox=sandbox,
            imports=tuple(imports),
        )
        self._check(recipe)
        return recipe

    def _check(self, recipe: EnvironmentRecipe) -> None:
        spec = recipe.spec
        if spec.held_out and not self.held_out:
            raise AgentBankError(
                f"recipe '{self.task}': {spec.name} is held out of training; bind "
                f"{self.task}/RecipeConfig.held_out=True to make a bank of it all the same."
            )
        if (missing := spec.missing_engine()) is not None:
            raise AgentBankError(f"recipe '{self.task}': {spec.name} cannot run here: {missing}.")
        if self.annotator == "heuristic_search" and spec.action_space != "discrete":
            raise AgentBankError(
                f"recipe '{self.task}': the actions of {spec.name} cannot be listed, and so not searched; expected "
                f"{self.task}/RecipeConfig.annotator='derived', 'reformatting' or 'answer_forcing'."
            )
        if recipe.candidates is None and self.trajectories is None:
            raise AgentBankError(
                f"recipe '{self.task}': {spec.name} makes problems without end; expected "
                f"{self.task}/RecipeConfig.trajectories=NUMBER."
            )

    def _annotator(self, teacher: TeacherConfig, output: Path) -> Annotator:
        # Imported where they are asked for: each brings its own packages.
        match self.annotator:
            case "derived":
                from agentbank_jax.bank.derived import DerivedAnnotator

                return DerivedAnnotator()
            case "reformatting":
                from agentbank_jax.bank.reformatting.registry import reformatter

                return reformatter(self.environment or self.task, seed=self.seed)
            case "answer_forcing":
                from agentbank_jax.bank.forcing.answer_forcing import AnswerForcing

                return AnswerForcing(
                    teacher=teacher.make(self.task, output),
                    seed=self.seed,
                    attempts=self.attempts,
                    redraws=self.redraws,
                    max_turns=self.max_turns,
                )
            case _:
                from agentbank_jax.bank.search.annotator import SearchAnnotator
                from agentbank_jax.bank.search.budget import Budget
                from agentbank_jax.bank.search.registry import searcher

                return SearchAnnotator(
                    searcher=searcher(
                        self.searcher, heuristic=self.heuristic, path_weight=self.path_weight, seed=self.seed
                    ),
                    budget=Budget(steps=self.budget_steps, seconds=self.budget_seconds),
                    max_steps=self.max_steps,
                )

    def _rationales(self, teacher: TeacherConfig, output: Path) -> RationaleWriter:
        if self.rationales == "model":
            from agentbank_jax.bank.rationales.model_rationales import ModelRationales

            return ModelRationales(teacher=teacher.make(self.task, output), seed=self.seed, keep_given=self.keep_given)
        from agentbank_jax.bank.rationales.registry import template_rationales

        return template_rationales(self.environment or self.task, seed=self.seed, keep_given=self.keep_given)
