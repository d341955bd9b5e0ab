"""The attention backends by name."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from jaxtyping import Array, Float, Int

from agentbank_jax.errors import AgentBankError, did_you_mean

AUTO = "auto"
"""The name that `choose_backend` resolves; where nobody has resolved it, it means `PORTABLE`."""

PORTABLE = "xla"
"""The backend that runs on every platform."""


class Attention(Protocol):
    """What computes a backend's attention."""

    def __call__(
        self,
        q_BTHh: Float[Array, "B T H h"],
        k_BTKh: Float[Array, "B T K h"],
        v_BTKh: Float[Array, "B T K h"],
        segment_ids_BT: Int[Array, "B T"] | None,
        max_segments: int = 0,
    ) -> Float[Array, "B T H h"]: ...


@dataclass(frozen=True, kw_only=True)
class Backend:
    """An implementation of attention.

    Fields:
      attention: the function. No segment ids mean one segment a row.
      platforms: where `choose_backend` takes it by itself, as `jax.Device.platform` names them.
      dtypes: of the activations that it takes.
      bounds_segments: whether a row may hold only `max_segments` segments, padding not counted.
    """

    attention: Attention
    platforms: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ("float32", "bfloat16", "float16")
    bounds_segments: bool = False


BACKENDS: dict[str, Backend] = {}
"""All backends; of those for one platform the first comes first."""


def candidates(platform: str, dtype: str) -> list[str]:
    """The backends that "auto" takes on a platform for activations of a type, the best first."""
    return [name for name, each in BACKENDS.items() if platform in each.platforms and dtype in each.dtypes]


def register_backend(
    name: str,
    *,
    platforms: tuple[str, ...] = (),
    dtypes: tuple[str, ...] = Backend.dtypes,
    bounds_segments: bool = False,
) -> Callable[[Attention], Attention]:
    """Decorator: makes a backend known by `name` (the value of `LlamaConfig.attention`)."""

    def add(attention: Attention) -> Attention:
        BACKENDS[name] = Backend(
            attention=attention, platforms=platforms, dtypes=dtypes, bounds_segments=bounds_segments
        )
        return attention

    return add


def check_backend(name: str) -> None:
    """Checks that a backend exists.

    Raises:
      AgentBankError: there is none of that name.
    """
    if name != AUTO and name not in BACKENDS:
        raise AgentBankError(f"Attention backend {name!r} does not exist." + did_you_mean(name, (AUTO, *BACKENDS)))


def get_backend(name: str) -> Attention:
    """The attention of the backend called `name`.

    Raises:
      AgentBankError: there is none of that name.
    """
    check_backend(name)
    return BACKENDS[PORTABLE if name == AUTO else name].attention
