"""WebShop as published: its catalogue, its goals and its reward, in the text shop."""

import functools
import hashlib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from agentbank_jax.environments import benchmark_data
from agentbank_jax.environments.base import ExpertStep, Instance
from agentbank_jax.environments.benchmark_data import PublishedData
from agentbank_jax.environments.webshop import ShoppingTask, WebShop, WebShopConfig
from agentbank_jax.environments.webshop_catalogue import ProductSearch
from agentbank_jax.environments.webshop_files import GOALS, find_files
from agentbank_jax.environments.webshop_taggers import chosen_tagger, missing_tagger
from agentbank_jax.errors import AgentBankError

CONFIG = WebShopConfig(search_anywhere=True)
SPLITS = {"test": (0, 500), "train": (1500, None)}
"""The places of the goals of a split, after the shuffle; the 1,000 between are WebShop's `eval`."""


def protocol() -> str:
    """The protocol with the tagger that decides the title score."""
    return f"webshop/1 (published files, tantivy bm25, nouns={chosen_tagger().name})"


class PublishedWebShop(WebShop):
    """The text shop over a folder of WebShop's files, which an instance names.

    The reward is 0 until `click[Buy Now]`, and then WebShop's, in [0, 1]; success is a reward of 1.
    """

    def __init__(self) -> None:
        super().__init__(_load, chosen_tagger(), CONFIG)

    def expert_steps(self) -> list[ExpertStep]:
        from agentbank_jax.environments.webshop_expert import find_described

        return find_described(self)


@functools.lru_cache(maxsize=1)
def _load(folder: str) -> ProductSearch:
    from agentbank_jax.environments.webshop_index import StoredCatalogue

    return StoredCatalogue(Path(folder))


def read_instances(path: Path, split: str) -> Iterator[Instance]:
    """Yields the goals of a split.

    Args:
      path: the file of goals; products and attributes lie beside it.
      split: one of `SPLITS`.
    """
    from agentbank_jax.environments.webshop_index import read_goals

    first, after = SPLITS[split]
    for number, (goal, asin) in enumerate(list(read_goals(path.parent))[first:after], start=first):
        digest = hashlib.sha256(repr((asin, sorted(asdict(goal).items()))).encode()).hexdigest()
        yield Instance(
            id=f"webshop/{split}/{number}",
            fingerprint=digest,
            payload=ShoppingTask(catalogue=str(path.parent), goal=goal),
            difficulty=len(goal.attributes) + len(goal.options) + 1,
        )


def _missing() -> str | None:
    folder = benchmark_data.folder("webshop")
    try:
        find_files(folder if folder is not None else Path())
    except AgentBankError as error:
        return str(error)
    return missing_tagger()


WEBSHOP = PublishedData(
    name="webshop",
    files={"test": (GOALS,), "train": (GOALS,)},
    read=read_instances,
    source="github.com/princeton-nlp/WebShop (setup.sh: items_shuffle, items_ins_v2, items_human_ins)",
    # One folder for both.
    train_source="github.com/princeton-nlp/WebShop (setup.sh: items_shuffle, items_ins_v2, items_human_ins)",
    engine=_missing,
)


def version() -> str:
    """A hash of the goals, and of the names and sizes of the other files, which have gigabytes."""
    folder = benchmark_data.folder("webshop")
    others = [] if folder is None or WEBSHOP.available() else [(p.name, p.stat().st_size) for p in find_files(folder)]
    return hashlib.sha256(repr((WEBSHOP.version(), others)).encode()).hexdigest()[:16]
