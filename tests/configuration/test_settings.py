"""An operative configuration is read as texts, and does nothing."""

import sys

import gin
import pytest

from agentbank_jax.configuration.settings import read_settings
from agentbank_jax.errors import AgentBankError


def test_every_binding_is_a_text_by_its_name() -> None:
    settings = read_settings(
        "# Parameters for A:\nA.b = 1\nA.c = \\\n    ['x',\n     'y']\nheld_in/A.b = 'text'\nrate = 0.5\n"
        "A.d = @made.Function()\nA.e = @scope/other\nA.f = (%rate, 2)\n"
    )
    assert settings == {
        "A.b": "1",
        "A.c": "['x', 'y']",
        "held_in/A.b": "'text'",
        "rate": "0.5",
        "A.d": "@made.Function()",
        "A.e": "@scope/other",
        "A.f": "(%rate, 2)",
    }


def test_nothing_is_imported_included_or_bound() -> None:
    gin.clear_config()
    assert read_settings("import antigravity\ninclude 'nowhere.gin'\nTrainConfig.steps = 3\n") == {
        "TrainConfig.steps": "3"
    }
    assert "antigravity" not in sys.modules and gin.config_str().strip() == ""


@pytest.mark.parametrize("text", ["A.b = ", "A.b = [1", "= 3", "\x00", "A.b = __import__('os')"])
def test_what_is_no_gin_is_refused(text: str) -> None:
    with pytest.raises(AgentBankError, match="not valid gin"):
        read_settings(text)
