"""Searchers by the names that recipes give them."""

from collections.abc import Callable, Mapping

from agentbank_jax.bank.search.best_first import AStar, BreadthFirst
from agentbank_jax.bank.search.expert import Expert
from agentbank_jax.bank.search.iterative_deepening import IterativeDeepening
from agentbank_jax.bank.search.monte_carlo import MonteCarlo
from agentbank_jax.bank.search.random_walk import RandomWalk
from agentbank_jax.bank.search.searcher import Searcher
from agentbank_jax.errors import AgentBankError, did_you_mean

_SEARCHERS: Mapping[str, Callable[[str, float, int], Searcher]] = {
    "expert": lambda heuristic, path_weight, seed: Expert(),
    "a_star": lambda heuristic, path_weight, seed: AStar(heuristic=heuristic, path_weight=path_weight),
    "breadth_first": lambda heuristic, path_weight, seed: BreadthFirst(),
    "iterative_deepening": lambda heuristic, path_weight, seed: IterativeDeepening(),
    "monte_carlo": lambda heuristic, path_weight, seed: MonteCarlo(
        heuristic=None if heuristic == "zero" else heuristic, seed=seed
    ),
    "random": lambda heuristic, path_weight, seed: RandomWalk(seed=seed),
}


def searcher(name: str, *, heuristic: str = "zero", path_weight: float = 1.0, seed: int = 0) -> Searcher:
    """Returns a searcher.

    Args:
      name: `expert`, `a_star`, `breadth_first`, `iterative_deepening`, `monte_carlo` or `random`.
      heuristic: of those that take one; `zero` is none.
      path_weight: of `a_star`.
      seed: of `monte_carlo` and `random`.

    Raises:
      AgentBankError: an unknown name, or a value that the searcher refuses.
    """
    if name not in _SEARCHERS:
        raise AgentBankError(f"no searcher is called '{name}'.{did_you_mean(name, _SEARCHERS)}")
    return _SEARCHERS[name](heuristic, path_weight, seed)
