"""Files from elsewhere are data: whatever they hold, they are read or refused in one line, and nothing in them runs."""

import hashlib
import json
import logging
import os
import pickle
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from agentbank_jax.data.token_cache import TokenCacheError
from agentbank_jax.data.token_files import read_token_files
from agentbank_jax.data.token_shards import TokenShard
from agentbank_jax.errors import AgentBankError
from agentbank_jax.models.hf_config import read_config
from agentbank_jax.models.hf_shards import read_headers
from agentbank_jax.models.llama_config import LlamaConfig
from agentbank_jax.training import checkpoint_files
from agentbank_jax.training.checkpoints import Checkpoints
from agentbank_jax.training.optimizer import OptimizerConfig, make_optimizer
from agentbank_jax.training.state import make_init
from agentbank_jax.training.trained_models import load_for_inference
from agentbank_jax.trajectories.templates.jinja_text import compile_chat_template
from agentbank_jax.trajectories.tokenizers.files import read_settings
from agentbank_jax.trajectories.tokenizers.tokenizer import Tokenizer

ROOT = Path(__file__).resolve().parents[1]
CONFIG = LlamaConfig(vocab_size=11, hidden_size=8, intermediate_size=12, num_layers=1, num_heads=2)


@pytest.fixture(autouse=True)
def nothing_ran(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield
    assert not (tmp_path / "ran").exists()


class Hostile:
    """Leaves a file behind where it is unpickled."""

    def __reduce__(self):
        return os.system, ("touch ran",)


def test_what_the_others_show_not_to_run_would_run(tmp_path):
    pickle.loads(pickle.dumps(Hostile()))
    assert (tmp_path / "ran").exists()
    (tmp_path / "ran").unlink()


def _one_line(raised) -> str:
    assert "\n" not in str(raised.value)
    return str(raised.value)


# ---- token caches ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["pickle", "npy of objects", "npz of objects", "npy", "zip of a pickle"])
def test_a_shard_with_pickled_objects_is_refused(tmp_path, kind):
    path = tmp_path / "shard-00000-of-00001.npz"
    with path.open("wb") as file:
        if kind == "pickle":
            pickle.dump(Hostile(), file)
        elif kind == "npy of objects":
            np.save(file, np.array([Hostile()], object), allow_pickle=True)
        elif kind == "npy":
            np.save(file, np.zeros(3))
        else:
            names = ("tokens", "trained", "lengths", "turns", "ids", "counts")
            np.savez(file, **{name: np.array([Hostile()], object) for name in names})
    if kind == "zip of a pickle":
        import zipfile

        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("tokens", pickle.dumps(Hostile()))
    with pytest.raises(TokenCacheError, match="damaged") as raised:
        TokenShard.from_file(path)
    _one_line(raised)


@pytest.mark.parametrize("dtype", ["object", "O", "int64", "V8", "O,O"])
def test_a_cache_whose_tokens_are_said_to_be_of_another_type_is_refused(tmp_path, dtype):
    """NumPy would take the bytes of a file for addresses of Python's objects."""
    for name, values in {
        "tokens.bin": np.full(4, 0x4141, np.int64),
        "trained.bin": np.ones(4, bool),
        "offsets.bin": np.array([0, 4], np.int64),
        "turns.bin": np.ones(1, np.int32),
    }.items():
        values.tofile(tmp_path / name)
    (tmp_path / "ids.json").write_text('["a"]')

    def checksum(name):
        return hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()

    manifest = {
        "key": "k",
        "dtype": dtype,
        "counts": {},
        "shards": [{"rows": 1, "tokens": 4, "sha256": {n: checksum(n) for n in ("tokens.bin", "trained.bin")}}],
        "sha256": {name: checksum(name) for name in ("ids.json", "offsets.bin", "turns.bin")},
    }
    manifest["sha256"]["manifest.json"] = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(TokenCacheError, match=f"manifest.json says dtype='{dtype}'") as raised:
        read_token_files(tmp_path, task="t", key="k")
    _one_line(raised)


# ---- tokenizers and chat templates ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.__class__.__base__.__subclasses__() }}",
        "{{ raise_exception.__globals__['os'] }}",
        "{{ cycler.__init__.__globals__.os.system('touch ran') }}",
        "{{ self.__init__.__globals__.__builtins__.__import__('os').system('touch ran') }}",
        "{{ lipsum.__globals__['os'].system('touch ran') }}",
        "{{ namespace.__init__.__globals__ }}",
        "{{ (messages|attr('__class__')).__mro__ }}",
        "{{ '{0.__class__.__mro__}'.format(messages).missing.x }}",
        "{{ os.system('touch ran') }}",
        "{% import 'os' as os %}",
        "{% include '/etc/passwd' %}",
        "{{ messages.append(1) }}",
        "{{ 1 / 0 }}",
        "{{ range(10 ** 9) | list }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{{ raise_exception('first\nsecond') }}",
        "{% if %}",
        "{{ " + "(" * 5000 + " }}",
    ],
)
def test_a_chat_template_that_reaches_out_is_refused(text):
    with pytest.raises(AgentBankError) as raised:
        print(compile_chat_template(text, name="made")(messages=[{"role": "user", "content": "x"}]))
    _one_line(raised)


@pytest.mark.parametrize(
    "config",
    [
        {"auto_map": {"AutoTokenizer": ["evil.Tokenizer", None]}},
        {"auto_map": {"AutoTokenizer": "evil.Tokenizer"}, "tokenizer_class": "Evil", "trust_remote_code": True},
    ],
)
def test_a_tokenizer_that_is_code_is_refused(tmp_path, config):
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    (tmp_path / "evil.py").write_text("open('ran', 'w')")
    with pytest.raises(AgentBankError, match=r"auto_map=.*names code for the tokenizer, which is not run") as raised:
        read_settings(tmp_path)
    _one_line(raised)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer.model"])
@pytest.mark.parametrize("content", ["pickle", "nested"])
def test_a_tokenizer_that_is_none_is_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(pickle.dumps(Hostile()) if content == "pickle" else b"[" * 100_000)
    with pytest.raises(AgentBankError) as raised:
        Tokenizer.load(tmp_path)
    _one_line(raised)


# ---- weights --------------------------------------------------------------------------------------------------------


def test_weights_that_are_a_pickle_are_refused(tmp_path):
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(AgentBankError, match="a pickle, which could run any program and is not read") as raised:
        read_headers(tmp_path)
    _one_line(raised)
    (tmp_path / "model.safetensors").write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(AgentBankError, match="no whole safetensors file") as raised:
        read_headers(tmp_path)
    _one_line(raised)


def test_a_model_that_is_code_is_refused(tmp_path):
    config = {"model_type": "llama", "auto_map": {"AutoModelForCausalLM": "evil.Model"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "evil.py").write_text("open('ran', 'w')")
    with pytest.raises(AgentBankError, match=r"auto_map names code of the model's own .*which is not run") as raised:
        read_config(tmp_path)
    _one_line(raised)


# ---- checkpoints ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A run of one checkpoint, and its metadata's file."""
    folder = tmp_path_factory.mktemp("run")
    state = jax.jit(make_init(CONFIG, make_optimizer(OptimizerConfig(), 10)))(np.int32(0))
    with Checkpoints(folder, keep=1, config=CONFIG, facts={"template": "made"}) as checkpoints:
        checkpoints.save(state, 1, "data")
    return folder


def _with_metadata(checkpoint, folder, change):
    shutil.copytree(checkpoint, folder)
    file = folder / "checkpoints/1/_CHECKPOINT_METADATA"
    file.write_bytes(change(json.loads(file.read_text())))
    return folder


@pytest.mark.parametrize(
    "tagged",
    [
        {"py/object": "os.system", "py/reduce": [{"py/function": "os.system"}, {"py/tuple": ["touch ran"]}]},
        {"__reduce__": ["os.system", ["touch ran"]]},
        {"!!python/object/apply:os.system": ["touch ran"]},
    ],
)
def test_metadata_with_a_tagged_python_object_name_an_unknown_field(checkpoint, tmp_path, tagged):
    def change(values):
        values["custom_metadata"]["model_config"] |= tagged
        # Whoever means harm seals it again.
        values["custom_metadata"]["seal"] = checkpoint_files._seal(values["custom_metadata"])
        return json.dumps(values).encode()

    folder = _with_metadata(checkpoint, tmp_path / "run", change)
    with pytest.raises(AgentBankError, match="which this version does not know") as raised:
        load_for_inference(folder)
    _one_line(raised)


@pytest.mark.parametrize("name", ["_CHECKPOINT_METADATA", "state/_METADATA", "state/manifest.ocdbt"])
def test_a_pickle_in_the_place_of_a_checkpoints_file_is_passed_over(checkpoint, tmp_path, name, caplog):
    shutil.copytree(checkpoint, tmp_path / "run")
    file = tmp_path / "run/checkpoints/1" / name
    assert file.is_file()
    file.write_bytes(pickle.dumps(Hostile()))
    with caplog.at_level(logging.WARNING), pytest.raises(AgentBankError) as raised:
        load_for_inference(tmp_path / "run")
    _one_line(raised)


def test_arrays_said_to_be_of_a_class_are_not_made_by_it(checkpoint, tmp_path, monkeypatch):
    """Orbax notes the type of each value: it compares the name, and imports nothing by it."""
    (tmp_path / "evil.py").write_text("open('ran', 'w')\n\n\nclass Array:\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    shutil.copytree(checkpoint, tmp_path / "run")
    file = tmp_path / "run/checkpoints/1/state/_METADATA"
    values = json.loads(file.read_text())
    for entry in values["tree_metadata"].values():
        entry["value_metadata"]["value_type"] = "evil.Array"
    file.write_text(json.dumps(values))
    params = load_for_inference(tmp_path / "run")[1]
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(params))


# ---- the code base --------------------------------------------------------------------------------------------------


# Where such a name stands, and why nothing from elsewhere is run by it.
_HARMLESS = {
    "environments/pool.py": "the errors of sending to its own worker",
    "environments/worker.py": "the errors of sending to its own parent",
    "environments/unit_tests.py": "writes only",
    "environments/unit_test_tester.py": "runs inside the sandbox, where the tests are",
    "environments/unit_test_program.py": "runs inside the sandbox, where the program is",
    "environments/python_cells.py": "a program for the sandbox, as text",
    "environments/mathqa.py": "literals alone",
    "environments/browser_script.py": "JavaScript, for the page",
    "environments/webarena_functions.py": "names of functions as configurations write them, looked up in a table",
    "environments/rearrange.py": "an unpickler that refuses every name of code",
}


def test_no_module_unpickles_or_evaluates():
    """What a file of this project may not call: names whose every use on data from elsewhere runs code."""
    forbidden = (
        "import pickle", "import marshal", "import shelve", "import dill", "cloudpickle", "joblib", "torch.load",
        "import yaml", "from yaml", "eval(", "exec(", "allow_pickle=True", "trust_remote_code", "jsonpickle",
    )  # fmt: skip
    files = [*ROOT.glob("agentbank_jax/**/*.py"), *ROOT.glob("tasks/*.py"), ROOT / "train.py", ROOT / "evaluate.py"]
    assert len(files) > 100
    found = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in files
        if not any(path.match(f"agentbank_jax/{name}") for name in _HARMLESS)
        for line in path.read_text(encoding="utf-8").split("\n")
        for name in forbidden
        if name in line
    ]
    assert not found
