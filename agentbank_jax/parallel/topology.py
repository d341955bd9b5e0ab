"""TPU pods by name, described by the TPU compiler on a host that has none.

Two families of names are taken:

  Cloud TPU's     v5e-16, v6e-256: chips; v5p-8, v5p-128: cores, of which a v5p chip has two
  the compiler's  v5e:4x4, v6e:16x16, v5p:2x2x1, v5p:4x4x4: chips along each axis of the torus

`libtpu` compiles for a named topology on any Linux x86-64 host (the extra `[topology]`).
"""

import importlib.util
import math
import os
import re
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import SingleDeviceSharding

from agentbank_jax.errors import AgentBankError, did_you_mean, first_line

REMEDY = "pip install 'agentbank_jax[topology]'"

# Chips along each axis of the slices that Cloud TPU rents, smallest first.
_FLAT = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
_CUBIC = ("2x2x1", "2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8", "4x8x8", "8x8x8")
_SLICES = {"v5e": _FLAT, "v6e": _FLAT, "v5p": _CUBIC}

# Cloud TPU counts the cores of a v5p and the chips of the others.
_COUNTED_PER_CHIP = {"v5e": 1, "v6e": 1, "v5p": 2}

# What libtpu would ask a TPU machine's metadata server for, and complain that there is none; and that it need not
# have the machine to itself, because it only compiles.
_ENVIRONMENT = {
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
}


@dataclass(frozen=True, kw_only=True)
class Topology:
    """A slice of TPUs.

    Fields:
      generation: "v5e", "v5p" or "v6e".
      shape: chips along each axis.
    """

    generation: str
    shape: tuple[int, ...]

    @property
    def chips(self) -> int:
        return math.prod(self.shape)

    @property
    def compiler_name(self) -> str:
        """As libtpu spells it: `v5p:2x2x4`."""
        return f"{self.generation}:{'x'.join(map(str, self.shape))}"

    @property
    def cloud_name(self) -> str:
        """As Cloud TPU spells it: `v5p-32`."""
        return f"{self.generation}-{self.chips * _COUNTED_PER_CHIP[self.generation]}"

    def __str__(self) -> str:
        return f"{self.cloud_name} ({self.compiler_name}, {self.chips} chip{'s' if self.chips > 1 else ''})"


def _of(generation: str, shape: str) -> Topology:
    return Topology(generation=generation, shape=tuple(map(int, shape.split("x"))))


TOPOLOGIES: tuple[Topology, ...] = tuple(
    _of(generation, shape) for generation, shapes in _SLICES.items() for shape in shapes
)
"""The slices that have a name of Cloud TPU's."""


def parse_topology(name: str) -> Topology:
    """The topology of a name of either family.

    Raises:
      AgentBankError: there is none of that name.
    """
    # v5litepod is what Cloud TPU's commands call v5e.
    known = re.sub(r"^v5litepod(?=[-:])", "v5e", name)
    for topology in TOPOLOGIES:
        if known in (topology.cloud_name, topology.compiler_name):
            return topology
    # The compiler takes shapes that have no name.
    if match := re.fullmatch(r"(\w+):([1-9]\d*(?:x[1-9]\d*)+)", known):
        generation, shape = match.groups()
        axes = _SLICES.get(generation, ("",))[0].count("x")
        if generation in _SLICES and shape.count("x") == axes:
            return _of(generation, shape)
    names = [spelling for topology in TOPOLOGIES for spelling in (topology.cloud_name, topology.compiler_name)]
    hint = did_you_mean(name, names)
    raise AgentBankError(
        f"--topology={name} is no known TPU topology.{hint} Expected {', '.join(_SLICES)} with a number, such as "
        "v5e-16 or v5p-8 (a v5p's number counts cores, two a chip), or with chips along each axis, such as v5e:4x4."
    )


def topology_devices(topology: Topology, slices: int = 1) -> list[jax.Device]:
    """The devices of a topology, or of several slices of it: they can be compiled for, and hold nothing.

    Raises:
      AgentBankError: libtpu is not installed, or does not know the topology.
    """
    if importlib.util.find_spec("libtpu") is None:
        raise AgentBankError(f"compiling for {topology} needs libtpu, which is not installed: {REMEDY}")
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from jax.experimental import topologies

    # By default the compiler puts 2 x 2 chips on a host, which a single chip is not.
    options: dict[str, Any] = {} if topology.chips > 1 else {"chips_per_host_bounds": (1, 1, 1)}
    if slices > 1:
        options["num_slices"] = slices
    try:
        described = topologies.get_topology_desc(topology.compiler_name, platform="tpu", **options)
    except Exception as error:  # of a kind that JAX does not promise
        raise AgentBankError(
            f"--topology={topology.compiler_name}: the TPU compiler refuses it ({first_line(error)}); expected a slice "
            f"such as {', '.join(each.compiler_name for each in TOPOLOGIES if each.generation == topology.generation)}."
        ) from None
    return list(described.devices)


@lru_cache(maxsize=8)
def enforced_memory(device: jax.Device) -> int:
    """Bytes of a chip's memory that the compiler lets a program have.

    A chip's data sheet has more: the compiler keeps some back. It names its limit where it refuses a program, so a
    program that fits no chip is compiled.

    Raises:
      RuntimeError: the refusal names no limit, which a new compiler may word differently.
    """
    sharding = SingleDeviceSharding(device)
    too_large = jax.ShapeDtypeStruct((1 << 40,), jnp.int8, sharding=sharding)
    try:
        jax.jit(jnp.bitwise_not, out_shardings=sharding).lower(too_large).compile()
    except Exception as error:  # of a kind that JAX does not promise
        if refused := parse_refusal(str(error)):
            return refused[1]
        raise RuntimeError(f"the compiler's refusal names no limit: {first_line(error)}") from error
    raise RuntimeError(f"the compiler accepted a program of 1 TiB on a {device.device_kind}")


def compile_for_tpu(lowered: jax.stages.Lowered) -> tuple[jax.stages.Compiled, int]:
    """Compiles a program, and tells the bytes of a chip's memory that the compiler allots to it and holds to its limit.

    They stand in the compiler's report alone: what `memory_analysis()` calls the peak leaves out the gaps between
    arrays, and of a program that keeps arrays in the host's memory it is not the chip's. It is told where there is no
    report, because the program came from JAX's cache.
    """
    with tempfile.TemporaryDirectory() as folder:
        compiled = lowered.compile(compiler_options={"xla_dump_to": folder})
        for report in Path(folder).glob("*memory-usage-report.txt"):
            if allotted := parse_memory_report(report.read_text()):
                return compiled, allotted
    memory = compiled.memory_analysis()
    assert memory is not None, "the TPU's compiler has it"
    return compiled, memory.peak_memory_in_bytes


def parse_memory_report(text: str) -> int | None:
    """Bytes of a chip's main memory in the compiler's report of what it allots; None where the report has none."""
    match = re.search(r"^Memory Space: default .*\nTotal bytes: (\d+)", text, re.MULTILINE)
    return int(match[1]) if match else None


def parse_refusal(message: str) -> tuple[int, int] | None:
    """Bytes that a refused program needs and those that it may have; None where the message is of another kind.

    Two wordings are known: one of programs whose temporaries cannot fit, one of those found too large at the end.
    """
    size = r"([\d.]+)([KMGT]?)"
    for pattern in (rf"temporaries \({size}\) exceeds available HBM \({size}\)", rf"Used {size} of {size} hbm"):
        if match := re.search(pattern, message):
            needed, unit, limit, limit_unit = match.groups()
            return _bytes(needed, unit), _bytes(limit, limit_unit)
    return None


def _bytes(number: str, unit: str) -> int:
    return round(float(number) * 1024 ** " KMGT".index(unit or " "))
