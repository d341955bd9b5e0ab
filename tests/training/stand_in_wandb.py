"""A module that stands in for `wandb` and notes what it is told."""

import types


class StandIn(types.ModuleType):
    """`wandb`, as far as it is used; `fails` names a call that raises."""

    def __init__(self, fails: str = ""):
        super().__init__("wandb")
        # `find_spec` looks for one in a module that is imported.
        self.__spec__ = types.SimpleNamespace(name="wandb")
        self.calls: list[tuple] = []
        self._fails = fails

    def init(self, **options):
        self._note("init", options)
        return self

    def define_metric(self, name: str, **options) -> None:
        self._note("define_metric", name, options)

    def log(self, values: dict) -> None:
        self._note("log", values)

    def mark_preempting(self) -> None:
        self._note("mark_preempting")

    def finish(self, exit_code: int) -> None:
        self._note("finish", exit_code)

    def _note(self, name: str, *what) -> None:
        self.calls.append((name, *what))
        if name == self._fails:
            raise RuntimeError(f"{name} failed\nand more")

    def of(self, name: str) -> list[tuple]:
        return [what for called, *what in self.calls if called == name]
