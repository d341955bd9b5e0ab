"""Programs pass by doing what the tests ask, and by nothing else that they do."""

import pytest

from agentbank_jax.environments import sandbox
from agentbank_jax.environments.unit_tests import (
    CallTests,
    FunctionTests,
    OutputTests,
    Verdict,
    judge,
    same_output,
    same_value,
    unit_test_limits,
)

pytestmark = pytest.mark.skipif(sandbox.available(python=True) is not None, reason=str(sandbox.available(python=True)))

SQUARE = FunctionTests(tests=("assert f(2) == 4", "assert f(3) == 9"), examples=(("f(1)", "1"), ("f(5)", "25")))
DEFINED = frozenset({"f"})


def judged(program: str, tests: FunctionTests | CallTests | OutputTests = SQUARE, seconds: float = 1.0) -> Verdict:
    return judge(program, tests, seconds=seconds, limits=unit_test_limits(seconds))


def test_a_right_program_passes_and_a_wrong_one_fails_at_its_first_wrong_test() -> None:
    assert judged("def f(x): return x * x") == Verdict(passed=2, total=2)
    wrong = judged("def f(x): return x + 2")
    assert (wrong.passed, wrong.failure.kind, wrong.failure.test) == (1, "wrong", 1)
    assert wrong.examples == (("f(1)", "1", "3"), ("f(5)", "25", "7"))


@pytest.mark.parametrize(
    ("program", "kind", "error", "line"),
    [
        ("def f(x) return x", "program", "SyntaxError", 1),
        ("x = 1\ny = x / 0", "program", "ZeroDivisionError", 2),
        ("def f(x):\n  y = x\n  return y.z", "program", "AttributeError", 3),
        ("class Own(Exception): pass\n\ndef f(x):\n  raise Own", "program", "Own", 4),
        ("def f(x):\n  while True: pass", "time", "", None),
        ("while True: pass", "time", "", None),
        ("def f(x): pass", "wrong", "", None),
        ("def g(x): pass", "test", "NameError", None),
        ("import ctypes\ndef f(x): ctypes.string_at(0)", "ended", "", None),
        ("def f(x): return 'x' * 2**40", "program", "MemoryError", 1),
    ],
)
def test_what_went_wrong_is_told(program: str, kind: str, error: str, line: int | None) -> None:
    failure = judged(program).failure
    assert failure is not None and (failure.kind, failure.error, failure.line) == (kind, error, line)


@pytest.mark.parametrize(
    "result",
    ["None", "[1, (2, 3.5), {4: {5}}]", "frozenset({1})", "b'x'", "1j", "float('-inf')", "range(3)", "10 ** 100",
     "'\\ud800'", "__import__('collections').OrderedDict(a=1)", "__import__('collections').Counter('aab')",
     "__import__('collections').namedtuple('Pair', 'a b')(1, 2)"],
)  # fmt: skip
def test_plain_values_arrive_as_they_are(result: str) -> None:
    plain = {"Order": "{'a': 1}", "Counter": "{'a': 2, 'b': 1}", "namedtuple": "(1, 2)"}
    wanted = next((value for name, value in plain.items() if name in result), result)
    tests = FunctionTests(tests=(f"assert f() == {wanted}", f"assert g({wanted})"))
    assert judged(f"def f(): return {result}\ndef g(x): return x == {wanted}", tests).passed == 2


def test_objects_of_the_program_are_worked_with() -> None:
    program = """
class Node:
    def __init__(self, value): self.value, self.children = value, []
    def __lt__(self, other): return self.value < other.value
def total(node): return node.value + sum(map(total, node.children))
def numbers():
    yield from range(3)
def add(step): return lambda x: x + step
"""
    tests = FunctionTests(
        setup="root = Node(1)\nroot.children = [Node(2), Node(3)]\nroot.left = 5",
        tests=(
            "assert total(root) == 6",
            "assert root.children[1].value == 3 and root.left == 5",
            "assert list(numbers()) == [0, 1, 2] and next(numbers()) == 0",
            "assert sorted([Node(2), Node(1)])[0].value == 1",
            "assert add(2)(3) == 5",
            "assert isinstance(str(root), str)",
        ),
    )
    assert judged(program, tests).failure is None


def test_exceptions_of_the_program_can_be_expected() -> None:
    test = "try:\n    f(0)\nexcept ZeroDivisionError:\n    pass\nelse:\n    assert False"
    assert judged("def f(x): return 1 / x", FunctionTests(tests=(test,))).passed == 1
    assert judged("def f(x): return x", FunctionTests(tests=(test,))).passed == 0


def test_a_built_in_name_is_the_programs_only_where_the_solution_defines_it() -> None:
    program = "def abs(x): return 0\ndef f(x): return 7"
    close = FunctionTests(tests=("assert abs(f(1) - 3) < 1",))
    assert judged(program, close).passed == 0
    assert judged(program, FunctionTests(tests=close.tests, defined=frozenset({"abs"}))).passed == 1


def test_modules_of_the_prelude_are_the_tests_own() -> None:
    program = "class math:\n    @staticmethod\n    def isclose(a, b): return True\ndef f(): return 1"
    tests = ("assert math.isclose(f(), 2)",)
    assert judged(program, FunctionTests(tests=tests, prelude="import math")).passed == 0
    assert judged(program, FunctionTests(tests=tests)).passed == 1


# Writes a verdict to all descriptors and leaves.
FORGING = """
import os
for number in range(3, 64):
    try:
        os.write(number, repr({"began": None, "output": "", "tests": [None, None], "examples": []}).encode())
    except OSError:
        pass
os._exit(0)
"""

CHEATS = {
    "leave before the tests": "import sys; sys.exit(0)",
    "leave with the tests": "import os\ndef f(x): os._exit(0)",
    "raise SystemExit": "def f(x): raise SystemExit(0)",
    "equal everything": "class A:\n  __eq__ = lambda *_: True\ndef f(x): return A()",
    "equal everything as a number": "class A(int):\n  __eq__ = lambda *_: True\ndef f(x): return A(1)",
    "be true in every way": "class A:\n  def __getattr__(s, n): return A()\n  __eq__ = __call__ = lambda s, *_: s\n"
    "def f(x): return A()",
    "no assertions": "import builtins\nbuiltins.AssertionError = None\n__debug__\ndef f(x): return 0",
    "own check": "check = lambda *_: None\ndef f(x): return 0",
    "patched exec": "import builtins\nbuiltins.exec = builtins.eval = builtins.compile = lambda *_: None\n"
    "def f(x): return 0",
    "say it at the end": "import atexit, os\natexit.register(lambda: os._exit(0))\ndef f(x): return 0",
    "verdicts to every descriptor": f"{FORGING}\ndef f(x): return 0",
    "verdicts through /proc": "import os\nfor p in os.listdir('/proc'):\n  for n in range(20):\n    try: "
    "open(f'/proc/{p}/fd/{n}', 'w').write(\"{'began': None, 'tests': [None, None], 'examples': []}\")\n"
    "    except OSError: pass\ndef f(x): return 0",
    "code in a pickle": f"import os\ncode = {FORGING!r}.encode()\n"
    "m = b'\\x80\\x05cbuiltins\\nexec\\n(X' + len(code).to_bytes(4, 'little') + code + b'tR.'\n"
    "for n in range(3, 64):\n  try: os.write(n, len(m).to_bytes(4, 'big') + m)\n  except OSError: pass\n"
    "def f(x): return 0",
    "patched pickling": "import _pickle\nclass P:\n  def __init__(s, f, o): s.f = f\n  def dump(s, o): "
    "s.f.write(b'garbage')\nimport gc\nfor o in gc.get_objects():\n  if isinstance(o, dict) and '_Replies' in o: "
    "o['_Replies'] = P\ndef f(x): return 0",
    # Pieces that are put together when it runs, so that it does not find itself.
    "read the tests in frames": "import sys\ndef f(x):\n  wanted = ''.join(['assert', ' f('])\n  frame = "
    "sys._getframe(1)\n  while frame:\n    if wanted in str(frame.f_locals): return x * x\n    frame = frame.f_back",
    "read the tests in memory": "import gc\ndef f(x):\n  wanted = ''.join(['assert', ' f('])\n  for o in "
    "gc.get_objects():\n    if wanted in str(o)[:9999]: return x * x",
    "read the tests of the neighbour": "import os\ndef f(x):\n  for p in filter(str.isdigit, os.listdir('/proc')):\n"
    "    for n in ('environ', 'cmdline', *(f'fd/{n}' for n in range(3, 64))) if int(p) != os.getpid() else ():\n"
    "      try:\n        if b'assert f(2)' in open(f'/proc/{p}/{n}', 'rb').read(1 << 20): return x * x\n"
    "      except (OSError, ValueError): pass",
    "read the memory of the neighbour": "import os, re\ndef f(x):\n  with open('/proc/1/maps') as maps, "
    "open('/proc/1/mem', 'rb') as memory:\n    for line in maps:\n      first, last = re.match('(.*?)-(.*?) ', "
    "line).groups()\n      try:\n        memory.seek(int(first, 16))\n        if b'assert f(2)' in memory.read("
    "int(last, 16) - int(first, 16)): return x * x\n      except (OSError, ValueError, OverflowError): pass",
    "trace the neighbour": "import ctypes\nlibc = ctypes.CDLL(None)\ndef f(x):\n  if libc.ptrace(16, 1, 0, 0) == 0: "
    "return x * x",
    "kill the tester": "import os\nfor s in (2, 9, 15): os.kill(1, s)\ndef f(x): return 0",
    "a reply without end": "import os\nfor n in range(3, 64):\n  try: os.write(n, b'\\x7f\\xff\\xff\\xff')\n"
    "  except OSError: pass\ndef f(x): return 0",
    "a result that doubles": "def f(x):\n  a = [1]\n  for _ in range(60): a = [a, a]\n  return a",
    "a result that is nested": "def f(x):\n  a = []\n  for _ in range(10**5): a = [a]\n  return a",
}  # fmt: skip


@pytest.mark.parametrize("cheat", CHEATS)
def test_no_trick_passes_a_test(cheat: str) -> None:
    tests = FunctionTests(tests=SQUARE.tests)
    assert judged(CHEATS[cheat], tests, seconds=0.7).passed == 0


def test_a_program_that_prints_much_and_reads_nothing_passes() -> None:
    verdict = judged(
        "print('x' * 10**6)\ntry: input()\nexcept EOFError: print('end')\ndef f(x): print(x); return x * x"
    )
    assert verdict.failure is None and verdict.output.startswith("xxx")


def test_whole_programs_are_compared_by_what_they_print() -> None:
    tests = OutputTests(inputs=("1\n2", "5", "x"), outputs=("2\n4\n", "10", "?"))
    program = "import sys\nfor line in sys.stdin: print(2 * int(line))\nsys.exit()"
    verdict = judged(program, tests)
    assert (verdict.passed, verdict.failure.test, verdict.failure.error, verdict.failure.line) == (
        2,
        2,
        "ValueError",
        2,
    )


def test_a_call_that_hangs_costs_itself_alone() -> None:
    tests = CallTests(function="g", inputs=([1], [2], [3]), outputs=(1, 2, 3))
    verdict = judged("import time\ndef g(x):\n  if x == 2: time.sleep(9)\n  return x", tests, seconds=0.5)
    assert (verdict.passed, verdict.failure.kind, verdict.failure.test) == (2, "time", 1)


def test_methods_of_a_class_solution_are_called() -> None:
    tests = CallTests(function="g", inputs=([1, 2],), outputs=([1, 2],))
    assert judged("class Solution:\n  def g(self, a, b): return a, b", tests).passed == 1
    assert judged("def g(a, b): return a, b", tests).passed == 1


def test_what_a_program_leaves_running_does_not_reach_the_next_run() -> None:
    program = """
import os
if os.fork() == 0:
    os.setsid()
    while True: pass
print(sum(map(str.isdigit, os.listdir('/proc'))))
"""
    tests = OutputTests(inputs=("1", "2", "3"), outputs=("3", "3", "3"))
    assert judged(program, tests).passed == 3


@pytest.mark.parametrize(
    ("written", "wanted", "same"),
    [
        ("3", 3, True), ("(1, 2)", [1, 2], True), ("[1, 2]", [[1, 2]], True), ("3", [3], True), ("3", 4, False),
        ("[(1, 2)]", [[[1, 2]]], True), ("[(1, 2)]", [[1, 2]], False), ("True", 1, True), ("<a>", "<a>", False),
        ("'a'", "a", True), ("None", None, True), ("{1: 2}", {1: 2}, True), ("1.0000001", 1, False),
    ],
)  # fmt: skip
def test_returned_values_are_compared_as_apps_does(written: str, wanted: object, same: bool) -> None:
    assert same_value(written, wanted) is same


@pytest.mark.parametrize(
    ("printed", "wanted", "same"),
    [
        ("1\n2\n", "1\n2", True), ("  1  \n\n2", "1\n2", True), ("1 2", "1\n2", False), ("0.30000001", "0.3", True),
        ("0.31", "0.3", False), ("a b", "b a", True), ("1.0001 2", "2 1.0002", True), ("1.001 2", "1.002 2", False),
        ("", "", True), ("", "1", False), ("x", "1", False), ("b\na", "a\nb", True), ("1\n1", "1", True),
    ],
)  # fmt: skip
def test_outputs_are_compared_as_apps_does(printed: str, wanted: str, same: bool) -> None:
    assert same_output(printed, wanted) is same
