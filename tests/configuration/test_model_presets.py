"""The shapes in gin/models, against the sizes that their models were published with."""

import re
import shlex

import gin
import pytest

from agentbank_jax.configuration import bindings
from agentbank_jax.configuration.command_line import parse_command_line
from agentbank_jax.configuration.configuration import read_gin, read_training
from agentbank_jax.configuration.gin_files import GinLoader, shipped_folder
from agentbank_jax.models.forward import count_parameters
from agentbank_jax.models.llama_config import LlamaConfig

# Shapes of this project's own; theirs depend on the vocabulary.
OWN = {"tiny", "small"}
PRESETS = sorted(path.stem for path in (shipped_folder() / "models").glob("*.gin") if path.stem not in OWN)


def shape(*names: str) -> LlamaConfig:
    gin.clear_config()
    loader = GinLoader()
    for name in names:
        loader.read(f"models/{name}.gin")
    loader.finish()
    return bindings.build(LlamaConfig)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_has_as_many_parameters_as_it_says(name: str) -> None:
    text = (shipped_folder() / f"models/{name}.gin").read_text()
    expected = re.search(r"^# Expect: ([\d,]+) parameters\.$", text, re.MULTILINE)
    assert expected and count_parameters(shape(name)) == int(expected[1].replace(",", ""))


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_over_another_leaves_nothing_of_it(name: str) -> None:
    alone = shape(name)
    for other in PRESETS:
        assert shape(other, name) == alone


@pytest.mark.parametrize("name", PRESETS)
def test_the_command_that_a_preset_shows_is_one_that_a_run_accepts(name: str) -> None:
    text = (shipped_folder() / f"models/{name}.gin").read_text()
    shown = re.search(r"^# Command: (?:python train.py (.*)|included by (\S+)\.)$", text, re.MULTILINE)
    assert shown
    arguments = shlex.split(shown[1]) if shown[1] else [f"--gin_file={shown[2]}"]
    gin.clear_config()
    read_gin(parse_command_line("train.py", "", arguments, example="", checkpoint_help="", model_dir_default=""))
    assert read_training().model.shape_facts == shape(name).shape_facts


def test_what_no_count_shows_is_that_of_the_family() -> None:
    for name in PRESETS:
        config = shape(name)
        assert config.family == ("mistral" if "mistral" in name else "qwen2" if "qwen" in name else "llama")
        assert config.rope_scaling == ("llama3" if re.match("llama3[12]_", name) else "none")
        assert config.rms_norm_eps == (1e-6 if "qwen" in name else 1e-5)
        theta = 5e5 if name.startswith("llama3") else 1e4 if re.match("llama2|tinyllama", name) else 1e6
        assert config.rope_theta == theta
