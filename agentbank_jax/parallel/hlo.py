"""What a compiled program sends between devices and multiplies, read from the compiler's text of it (HLO).

The compiler's own cost analysis counts the body of a loop once. Here a body counts as often as it runs, which is
what a model of scanned layers needs.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

COLLECTIVES = ("all-gather", "reduce-scatter", "all-reduce", "collective-permute", "all-to-all")


@dataclass(frozen=True)
class Traffic:
    """A program's work in one run, on one device.

    Fields:
      collective_bytes: bytes that the device sends, per kind of collective, as if devices formed a ring: an array of
        S bytes over n devices costs S (n-1)/n to gather, to scatter and to exchange, and twice that to all-reduce; a
        permutation costs S.
      product_flops: operations of matrix products and convolutions, two per multiplication; those within custom
        kernels, such as fused attention, are not seen.
      unknown_loops: loops whose number of runs is not written in the program; each counts once.
    """

    collective_bytes: dict[str, int]
    product_flops: int
    unknown_loops: int


def read_traffic(text: str) -> Traffic:
    """Counts what the program of `compiled.as_text()` does; each branch of a condition counts."""
    program = _Program(text)
    total = program.total(program.entry)
    return Traffic(
        collective_bytes={kind: total[kind] for kind in COLLECTIVES},
        product_flops=total["flops"],
        unknown_loops=total["unknown"],
    )


@dataclass(frozen=True)
class _Instruction:
    name: str
    shape: str
    opcode: str
    rest: str
    root: bool

    @property
    def operands(self) -> list[str]:
        return re.findall(r"%([\w.-]+)", self.rest.split(")", 1)[0])

    def attribute(self, name: str) -> str | None:
        match = re.search(rf"\b{name}=%?([\w.-]+)", self.rest)
        return match[1] if match else None


@dataclass
class _Computation:
    name: str
    instructions: list[_Instruction] = field(default_factory=list)

    @cached_property
    def by_name(self) -> dict[str, _Instruction]:
        return {instruction.name: instruction for instruction in self.instructions}

    @cached_property
    def root(self) -> _Instruction:
        return next(instruction for instruction in self.instructions if instruction.root)

    def element(self, name: str, index: int) -> _Instruction | None:
        """What stands at a place of a tuple."""
        made = self.by_name.get(name)
        return self.by_name.get(made.operands[index]) if made and made.opcode == "tuple" else None

    def copied(self, instruction: _Instruction | None) -> _Instruction | None:
        """What an instruction is a copy of, itself if of nothing."""
        while instruction and instruction.opcode in ("copy", "copy-start", "copy-done", "bitcast", "convert"):
            instruction = self.by_name.get(instruction.operands[0])
        return instruction

    def constant(self, instruction: _Instruction | None) -> int | None:
        """The value of an integer that is constant, or a copy of one."""
        instruction = self.copied(instruction)
        match = re.match(r"(-?\d+)\)", instruction.rest) if instruction and instruction.opcode == "constant" else None
        return int(match[1]) if match else None

    def step(self, added: _Instruction | None) -> int | None:
        """The constant that an addition adds."""
        added = self.copied(added)
        if added is None or added.opcode != "add":
            return None
        found = [self.constant(self.by_name.get(name)) for name in added.operands]
        return next((value for value in found if value is not None), None)

    @cached_property
    def goes_on_with_a_collective(self) -> bool:
        """Whether its collective began elsewhere: the TPU compiler writes one again where it runs beside a product."""
        targets = {i.rest.split('custom_call_target="')[-1].split('"')[0] for i in self.instructions}
        begins = "AsyncCollectiveStart" in targets
        return not begins and ("AsyncCollectiveDone" in targets or self.name.startswith("async_collective_fusion"))


# `%name = shape opcode(operands), attributes`: a shape has no word in small letters before a bracket.
_INSTRUCTION = re.compile(r"^\s+(ROOT )?%([\w.-]+) = (.*?) ([a-z][a-z0-9-]*)\((.*)$")
_HEAD = re.compile(r"^(ENTRY )?%?([\w.-]+) \(.*\{$")
_ARRAY = re.compile(r"\b([a-z]\w*)\[([\d,]*)\]")


class _Program:
    def __init__(self, text: str) -> None:
        self.computations: dict[str, _Computation] = {}
        self.entry, current = "", _Computation("")
        self.partitions = int(match[1]) if (match := re.search(r"num_partitions=(\d+)", text[:100_000])) else 1
        for line in text.splitlines():
            if match := _INSTRUCTION.match(line):
                root, name, shape, opcode, rest = match.groups()
                current.instructions.append(_Instruction(name, shape, opcode, rest, bool(root)))
            elif match := _HEAD.match(line):
                current = self.computations[match[2]] = _Computation(match[2])
                if match[1]:
                    self.entry = match[2]
        self._totals: dict[str, Counter[str]] = {}

    def total(self, name: str) -> Counter[str]:
        """What a computation and those that it calls do in one run of it."""
        if name not in self._totals:
            total: Counter[str] = Counter()
            computation = self.computations[name]
            for instruction in computation.instructions:
                self._add(total, computation, instruction)
            self._totals[name] = total
        return self._totals[name]

    def _add(self, total: Counter[str], computation: _Computation, instruction: _Instruction) -> None:
        opcode = instruction.opcode.removesuffix("-start")
        if opcode in COLLECTIVES and not computation.goes_on_with_a_collective:
            scattered = opcode == "all-reduce" and computation.name.startswith("all-reduce-scatter")
            kind = "reduce-scatter" if scattered else opcode
            total[kind] += self._sent(kind, instruction, computation)
        elif opcode in ("convolution", "dot"):
            total["flops"] += _product_flops(instruction, computation)
        elif opcode == "while":
            times = self._times(instruction, computation)
            total["unknown"] += times is None
            for called in (instruction.attribute("body"), instruction.attribute("condition")):
                if called:
                    for what, count in self.total(called).items():
                        total[what] += count * (times or 1)
        elif not opcode.endswith(("-done", "-update")):
            for called in _called(instruction):
                if called in self.computations:
                    total += self.total(called)

    def _sent(self, kind: str, instruction: _Instruction, computation: _Computation) -> int:
        """Bytes by a collective's operands, or by its result where that is what is whole."""
        if kind == "all-gather":
            sizes = _array_bytes(instruction.shape)
            # What begins an asynchronous one has its operands and its results.
            whole = sum(sizes[len(sizes) // 2 :]) if instruction.opcode.endswith("-start") else sum(sizes)
        else:
            by_name = computation.by_name
            whole = sum(sum(_array_bytes(by_name[name].shape)) for name in instruction.operands if name in by_name)
        if kind == "collective-permute":
            return whole
        devices = self._group(instruction)
        return (2 if kind == "all-reduce" else 1) * whole * (devices - 1) // devices

    def _group(self, instruction: _Instruction) -> int:
        """How many devices take part in each exchange."""
        groups = instruction.rest.split("replica_groups=", 1)[-1]
        if match := re.match(r"mesh\[([^\]]*)\] \{([^}]*)\}", groups):
            sizes = dict(re.findall(r"'([^']+)'=(\d+)", match[1]))
            # A part of an axis is written 'axis':(before)size.
            parts = re.findall(r"'([^']+)'(?::\(\d+\)(\d+))?", match[2])
            return math.prod(int(part or sizes[axis]) for axis, part in parts)
        if match := re.match(r"\[\d+,(\d+)\]", groups):
            return int(match[1])
        if match := re.match(r"\{\{([\d,]+)\}", groups):
            return match[1].count(",") + 1
        return self.partitions

    def _times(self, loop: _Instruction, around: _Computation) -> int | None:
        """How often a loop's body runs: known to the compiler, or by its counter's start, step and end."""
        if match := re.search(r"known_trip_count\W+n\W+(\d+)", loop.rest):
            return int(match[1])
        body, condition = (self.computations.get(loop.attribute(part) or "") for part in ("body", "condition"))
        if body is None or condition is None:
            return None
        compare = condition.root
        counter, end = (condition.by_name.get(name) for name in (*compare.operands, "", "")[:2])
        if compare.opcode != "compare" or counter is None or counter.opcode != "get-tuple-element":
            return None
        index = int(counter.attribute("index") or 0)
        first, last = around.constant(around.element(loop.operands[0], index)), condition.constant(end)
        step = body.step(body.element(body.root.name, index))
        if first is None or last is None or not step:
            return None
        return max(0, -(-(last + (compare.attribute("direction") == "LE") - first) // step))


def _called(instruction: _Instruction) -> Iterator[str]:
    # What a reduction or a scatter applies to each pair of numbers is no call of its own.
    if instruction.opcode in ("fusion", "call", "async-start", "conditional"):
        for name in ("calls", "to_apply", "true_computation", "false_computation"):
            if called := instruction.attribute(name):
                yield called
        if match := re.search(r"branch_computations=\{([^}]*)\}", instruction.rest):
            yield from re.findall(r"%([\w.-]+)", match[1])


def _dimensions(shape: str) -> list[int]:
    """Of an array."""
    match = _ARRAY.search(shape)
    return [int(size) for size in match[2].split(",") if size] if match else []


def _array_bytes(shape: str) -> list[int]:
    """Bytes of the arrays in a shape, without counters that only tell how far an exchange is."""
    found = []
    for dtype, dimensions in _ARRAY.findall(shape):
        bits = 8 if dtype == "pred" else int((re.findall(r"\d+", dtype) or ["0"])[0])
        elements = math.prod(int(size) for size in dimensions.split(",") if size)
        found.append(-(-elements * bits // 8))
    return found


def _product_flops(product: _Instruction, computation: _Computation) -> int:
    """Two operations per multiplication: places of the result x what each sums over."""
    operands = [computation.by_name.get(name) for name in product.operands]
    if len(operands) < 2 or operands[0] is None or operands[1] is None:
        return 0
    left, right = _dimensions(operands[0].shape), _dimensions(operands[1].shape)
    result = _dimensions(product.shape)
    if product.opcode == "dot":
        axes = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", product.rest)
        summed = math.prod(left[int(axis)] for axis in axes[1].split(",") if axis) if axes else 0
        return 2 * math.prod(result) * summed
    labels = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", product.rest)
    if labels is None:
        return 0
    of_left, of_right, of_result = labels.groups()
    window = re.search(r"window=\{([^}]*)\}", product.rest)
    spatial = {key: value.split("x") for key, value in re.findall(r"(\w+)=([\w-]+)", window[1] if window else "")}
    flops = 2 * result[of_result.index("b")] * result[of_result.index("f")] * right[of_right.index("i")]
    for axis in range(len(of_result) - 2):
        label = str(axis)
        low, _ = map(int, spatial["pad"][axis].split("_")) if "pad" in spatial else (0, 0)
        stride, spread, dilation = (
            int(spatial[key][axis]) if key in spatial else 1 for key in ("stride", "lhs_dilate", "rhs_dilate")
        )
        size = (left[of_left.index(label)] - 1) * spread + 1
        # Places of the kernel that lie on the input, and not on its padding, summed over the result.
        flops *= sum(
            0 <= (place := out * stride - low + tap * dilation) < size and place % spread == 0
            for out in range(result[of_result.index(label)])
            for tap in range(right[of_right.index(label)])
        )
    return flops
