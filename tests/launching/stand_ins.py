"""Programs that stand for gcloud, kubectl, srun, sbatch and scontrol: they record their arguments and play a part."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.parallel.processes import ROOT, process_environment

_PROGRAMS = ("gcloud", "kubectl", "srun", "sbatch", "scontrol")


@dataclass(frozen=True)
class StandIns:
    """Stand-ins in a folder of their own, first on the PATH of what they are tried with."""

    folder: Path

    @classmethod
    def make(cls, folder: Path, **plan: object) -> "StandIns":
        """Makes all of them; `plan` is what they play (see `play`)."""
        (folder / "bin").mkdir(parents=True)
        (folder / "plan.json").write_text(json.dumps(plan))
        for name in _PROGRAMS:
            program = folder / "bin" / name
            program.write_text(
                f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n"
                f"from tests.launching.play import play\nsys.exit(play({name!r}, {str(folder)!r}, sys.argv[1:]))\n"
            )
            program.chmod(0o755)
        return cls(folder)

    def run(
        self, arguments: Sequence[str], variables: Mapping[str, str] | None = None, timeout: float = 60
    ) -> "subprocess.CompletedProcess[str]":
        """Runs a launcher, by its path in the repository."""
        path = f"{self.folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        return subprocess.run(
            [str(ROOT / arguments[0]), *arguments[1:]],
            cwd=ROOT,
            env=process_environment({"PATH": path, **(variables or {})}),
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def calls(self, *words: str) -> list[list[str]]:
        """Arguments of each call so far, the program's name first, of those that begin with these words."""
        log = self.folder / "calls.jsonl"
        calls = [json.loads(line) for line in log.read_text().split("\n") if line] if log.exists() else []
        return [call for call in calls if call[: len(words)] == list(words)]

    def trained(self, worker: str) -> list[dict]:
        """The starts of train.py on a worker, as it saw them."""
        log = self.folder / f"trained-{worker}.jsonl"
        return [json.loads(line) for line in log.read_text().split("\n") if line] if log.exists() else []
