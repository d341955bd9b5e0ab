"""The two wordings of ALFWorld, as grammars of the same game.

The package's grammar has the newer wording: `move apple 1 to desk 1`. The released trajectories have that of its older
versions, which is made here from the package's own grammar by replacing the sentences that differ; the verb patterns
are those of the household (`household.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from agentbank_jax.environments.alfworld_games import AlfworldError
from agentbank_jax.environments.household import ALFWORLD_RELEASED
from agentbank_jax.errors import did_you_mean


@dataclass(frozen=True, kw_only=True)
class AlfworldWording:
    """How ALFWorld's actions and observations read.

    Fields:
      name: recorded in the protocol.
      replaced: sentence of the package's grammar → the sentence that stands in its place.
      aliases: first word of an action → the word that the game knows it by.
    """

    name: str
    replaced: Mapping[str, str]
    aliases: Mapping[str, str]

    def grammar(self, packaged: str) -> str:
        """The grammar of games in this wording.

        Raises:
          AlfworldError: where the package's grammar has not the sentence to be replaced.
        """
        for sentence, other in self.replaced.items():
            if sentence not in packaged:
                raise AlfworldError(
                    f"alfworld's grammar has no '{sentence}'; the wording '{self.name}' is known for alfworld 0.4."
                )
            packaged = packaged.replace(sentence, other)
        return packaged

    def command(self, action: str) -> str:
        """What the game is told where an agent writes `action`."""
        verb, space, rest = action.lower().partition(" ")
        return f"{self.aliases.get(verb, verb)}{space}{rest}"


def _placeholders(pattern: str) -> str:
    return pattern.replace("{object}", "{o}").replace("{receptacle}", "{r}")


RELEASED = AlfworldWording(
    name=ALFWORLD_RELEASED.name,
    replaced={
        '"move {o} to {r}"': f'"{_placeholders(ALFWORLD_RELEASED.actions["put"])}"',
        '"use {o}"': '"toggle {o}"',
        "You move the {o.name} to the {r.name}.": "You put the {o.name} in/on the {r.name}.",
        "You arrive at {r.name}.": "You arrive at {lend.name}.",
        "move (object) to (receptacle):  place": "put (object) in/on (receptacle):  place",
        "use (object):    ": "toggle (object): ",
    },
    aliases={"use": "toggle"},
)

PACKAGED = AlfworldWording(name="alfworld_packaged", replaced={}, aliases={})

WORDINGS: dict[str, AlfworldWording] = {wording.name: wording for wording in (RELEASED, PACKAGED)}


def wording_called(name: str) -> AlfworldWording:
    """The wording of that name.

    Raises:
      AlfworldError: where there is none; the message suggests the nearest name.
    """
    if name not in WORDINGS:
        raise AlfworldError(f"no wording of ALFWorld is called '{name}'.{did_you_mean(name, WORDINGS)}")
    return WORDINGS[name]
