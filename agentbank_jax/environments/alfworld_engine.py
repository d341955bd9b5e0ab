"""TextWorld's engine of games in PDDL, with what it does over and over done once.

The engine translates a game four times to begin it, reads its grammar anew for each, and asks that grammar how to word
each possible action at each step. Here a game is translated twice (once for play, once for the planner), however often
it is begun in a row, a grammar is read once, and an action is worded by its template; what is said and done is the
same. Imports `textworld`, so it is imported only when a game begins.
"""

import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import fast_downward
from alfworld.agents.utils.misc import Demangler
from textworld.core import EnvInfos
from textworld.envs.pddl import PddlEnv
from textworld.envs.pddl import logic as pddl_logic
from textworld.envs.pddl.textgen import ContextSensitiveGrammar, ProductionRule, TerminalSymbol

# As many as one game needs: for play, and for the planner.
_translation = functools.lru_cache(maxsize=2)(fast_downward.pddl2sas)

# `[{r.name | receptacleatlocation(r:receptacle, lend:location)}]`
_PLACED = re.compile(r"\[\{(\w+)\.name \| [^{}]*\}\]")


class AlfredGames(PddlEnv):
    """Games in one wording, begun one after the other; a game that is begun again is not made again.

    Args:
      domain: in PDDL.
      grammar: how actions and observations read.
    """

    def __init__(self, domain: str, grammar: str) -> None:
        super().__init__(EnvInfos(won=True, admissible_commands=True, extras=["walkthrough"]))
        self._logic = pddl_logic.GameLogic(domain=domain, grammar=grammar)
        self._logic.grammar = _Grammar(
            self._logic.grammar, [action.template for action in self._logic.actions.values()]
        )
        self._task = ""
        self._problem = ""

    def load(self, game: Mapping[str, str]) -> None:
        """Loads a game.

        Args:
          game: `task`, the sentence that tells its goal, and `pddl_problem`.
        """
        if (game["task"], game["pddl_problem"]) == (self._task, self._problem):
            return
        # Until all is done no game is there that could be begun again.
        self._task = self._problem = ""
        self._game_data = game
        self.walkthrough = None
        self._logic.grammar.tell(game["task"])
        with _translated_once():
            self._pddl_state = pddl_logic.PddlState(self.downward_lib, game["pddl_problem"], self._logic)
        self._entity_infos = self._get_entity_infos()
        names = Demangler(game_infos=self._entity_infos)
        for entity in self._entity_infos.values():
            entity.name = names.demangle_alfred_name(entity.id).strip()
        self._task, self._problem = game["task"], game["pddl_problem"]

    def reset(self) -> Any:
        with _translated_once():
            state = super().reset()
        self.walkthrough = state["extra.walkthrough"]
        return state


class _Grammar(ContextSensitiveGrammar):
    """A grammar that words an action by its template alone.

    The engine asks the grammar for each possible action at each step. All that a template asks for is the names of
    what the action is done to; the one that asks for a receptacle by its place (`go to`) is only possible there.
    """

    def __init__(self, read: ContextSensitiveGrammar, templates: Iterable[str]) -> None:
        super().__init__()
        self.update(read)
        self._templates = {template: _PLACED.sub(r"{\1.name}", template) for template in templates}

    def tell(self, task: str) -> None:
        """Sets the sentence that tells the goal; braces in it are none of the grammar's."""
        self._rules["task"] = [ProductionRule(lhs="task", rhs=[TerminalSymbol(task)])]

    def derive(self, start: str, context: Mapping[str, Any]) -> str:
        if start in self._templates:
            return self._templates[start].format(**context["variables"])
        return super().derive(start, context)


@contextmanager
def _translated_once() -> Iterator[None]:
    """The engine has no other place to say that a translation is there already."""
    translate, fast_downward.pddl2sas = fast_downward.pddl2sas, _translation
    try:
        yield
    finally:
        fast_downward.pddl2sas = translate
