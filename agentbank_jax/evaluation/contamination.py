"""What a checkpoint was trained on, so that held-out can be told from contaminated."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agentbank_jax.environments.registry import EnvironmentSpec
from agentbank_jax.errors import AgentBankError

MANIFEST_FILE = "manifest.json"


@dataclass(frozen=True, kw_only=True)
class TrainingManifest:
    """Training tasks and the ids of their trajectories (which are the instances' ids).

    Fields:
      ids: task → ids.
    """

    ids: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, tasks: Mapping[str, Iterable[str]]) -> "TrainingManifest":
        return cls(ids={task: frozenset(ids) for task, ids in tasks.items()})

    @classmethod
    def load(cls, path: Path) -> "TrainingManifest":
        """Reads `{"tasks": {task: [id, …]}}`.

        Raises:
          AgentBankError: missing, or of another form: without it nothing can be called held out.
        """
        try:
            tasks = json.loads(path.read_text(encoding="utf-8"))["tasks"]
            return cls.of({str(task): [str(identifier) for identifier in ids] for task, ids in tasks.items()})
        except FileNotFoundError:
            raise AgentBankError(
                f"{path} is missing; expected the list of training tasks and instances that training writes "
                "beside its checkpoints. Without it trained and held-out instances cannot be told apart."
            ) from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise AgentBankError(f'{path}: expected {{"tasks": {{task: [trajectory id, …]}}}}.') from None

    def describe(self) -> str:
        """The tasks, and how many instances of each, in one line."""
        tasks = ", ".join(f"{task} ({len(ids):,})" for task, ids in self.ids.items())
        return tasks or "nothing that is listed"

    def trained_on_task(self, task: str) -> bool:
        return task in self.ids

    def contaminates(self, spec: EnvironmentSpec) -> bool:
        """Whether a model that was trained on this cannot be judged by a task.

        Held-out tasks must not be trained on at all; of one with problems for tests alone it must be known which.
        """
        if not self.trained_on_task(spec.name):
            return False
        known = all(identifier.startswith(f"{spec.name}/") for identifier in self.ids[spec.name])
        return spec.held_out or (spec.test_only and not known)

    def trained_on_instance(self, task: str, instance_id: str | None) -> bool:
        return instance_id in self.ids.get(task, ())
