"""The side of the tests: run as a script inside the sandbox, in a process that the tested program cannot look into.

The program runs in a process of its own (`unit_test_program`), which gets arguments and gives results, but never sees
a test, an expected value or the verdict: those come in on one descriptor and leave on another that only this process
has. So nothing that a program does to its own interpreter makes a test pass.
"""

import _pickle
import builtins
import contextlib
import ctypes
import fcntl
import io
import os
import resource
import select
import signal
import sys
import time

_MAX_REPLY_BYTES = 32 << 20
_CLASSES = {("builtins", "complex"): complex, ("builtins", "range"): range}
_SHOWN_BYTES = 2000
_PR_SET_DUMPABLE = 4
# A numerical library starts as many threads as the machine has cores, which count as processes.
_ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class ProgramError(Exception):
    """An exception of the program: the name of its type, its text, and the line of the program, where known."""

    def __init__(self, name, text, line):
        super().__init__(f"{name}: {text}" if text else name)
        self.name, self.text, self.line = name, text, line


class ProgramEnded(Exception):
    """The program's process has ended, or says what it should not."""


class OutOfTime(BaseException):
    """The time for the program is up; not for a test to catch."""


class Program:
    """A process that runs the program and answers."""

    def __init__(self, request, standard_input=b""):
        self.deadline = time.monotonic() + request["seconds"]
        theirs, self._requests = os.pipe()
        self._replies, ours = os.pipe()
        self._output = _unnamed(b"")
        given = _unnamed(standard_input)
        # Copies first: one of these may have the number that another is to get.
        copies = [os.dup(descriptor) for descriptor in (given, self._output, self._output, theirs, ours)]
        high = [_raised(descriptor) for descriptor in copies]
        actions = [(os.POSIX_SPAWN_DUP2, descriptor, number) for number, descriptor in enumerate(high)]
        python = request["python"]
        self.pid = os.posix_spawn(
            python, [python, "-I", "-c", request["harness"]], _ENVIRONMENT, file_actions=actions, setpgroup=0
        )
        for descriptor in (*high, theirs, ours, given):
            os.close(descriptor)
        self._pidfd = os.pidfd_open(self.pid)
        os.set_blocking(self._replies, False)
        os.set_blocking(self._requests, False)

    def ask(self, operation, *arguments):
        """The value of an operation on the program's objects; raises what it raised there."""
        file = io.BytesIO()
        _Requests(file, 5).dump((operation, arguments))
        message = file.getvalue()
        self._send(len(message).to_bytes(4, "big") + message)
        length = int.from_bytes(self._receive(4), "big")
        if length > _MAX_REPLY_BYTES:
            raise ProgramEnded
        try:
            kind, value = _Replies(self._receive(length), self).load()
            if kind == "value":
                return value
            name, text, line = map(str, value)
        except (OutOfTime, ProgramEnded):
            raise
        except Exception:
            raise ProgramEnded from None
        raise _exception(name, text, line)

    def output(self):
        """What the program has written so far, its beginning."""
        return os.pread(self._output, _SHOWN_BYTES, 0).decode("utf-8", "replace")

    def whole_output(self, most):
        """All that the program has written, up to `most` bytes."""
        return os.pread(self._output, most, 0).decode("utf-8", "replace")

    def end(self):
        """Kills the program and, where this is the first process, all that it has started."""
        for pid in (-self.pid, self.pid, *([-1] if os.getpid() == 1 else [])):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.getpid() == 1:
                os.wait()
            os.waitpid(self.pid, 0)
        for descriptor in (self._requests, self._replies, self._output, self._pidfd):
            os.close(descriptor)

    def _wait(self, reading, writing):
        left = self.deadline - time.monotonic()
        readable, writable, _ = select.select([*reading, self._pidfd], writing, [], max(0.0, left))
        if readable == [self._pidfd] and not writable:
            raise self._ended()
        if not readable and not writable:
            raise OutOfTime

    def _ended(self):
        """Why the program is gone: its processor time was up, or anything else."""
        # Its files are closed shortly before it is gone; one that only closed them is not waited for.
        select.select([self._pidfd], [], [], 0.2)
        ended = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        killed = ended is not None and ended.si_code == os.CLD_KILLED and ended.si_status == signal.SIGXCPU
        return OutOfTime() if killed else ProgramEnded()

    def _send(self, message):
        rest = memoryview(message)
        while rest:
            self._wait([], [self._requests])
            with contextlib.suppress(BlockingIOError):
                rest = rest[self._write(rest) :]

    def _write(self, message):
        try:
            return os.write(self._requests, message)
        except BrokenPipeError:
            raise self._ended() from None

    def _receive(self, size):
        parts = []
        while size:
            self._wait([self._replies], [])
            try:
                part = os.read(self._replies, min(size, 1 << 20))
            except BlockingIOError:
                continue
            if not part:
                raise self._ended()
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


class Proxy:
    """An object of the program. It equals only objects of the program, by the program's word."""

    def __init__(self, program, number):
        object.__setattr__(self, "_program", program)
        object.__setattr__(self, "_number", number)

    def __call__(self, *arguments, **keywords):
        return self._program.ask("call", self, arguments, keywords)

    def __getattr__(self, name):
        return self._program.ask("getattr", self, name)

    def __setattr__(self, name, value):
        self._program.ask("setattr", self, name, value)

    def __iter__(self):
        return self._program.ask("iter", self)

    def __next__(self):
        return self._program.ask("next", self)

    def __len__(self):
        return self._program.ask("len", self)

    def __bool__(self):
        return bool(self._program.ask("bool", self))

    def __str__(self):
        return str(self._program.ask("str", self))

    def __repr__(self):
        return str(self._program.ask("repr", self))

    def __hash__(self):
        return hash(self._program.ask("hash", self))

    def __getitem__(self, key):
        return self._program.ask("getitem", self, key)

    def __setitem__(self, key, value):
        self._program.ask("setitem", self, key, value)

    def __contains__(self, value):
        return bool(self._program.ask("contains", self, value))

    def __eq__(self, other):
        return isinstance(other, Proxy) and self._program.ask("eq", self, other) is True

    def __lt__(self, other):
        return isinstance(other, Proxy) and self._program.ask("lt", self, other) is True

    def __le__(self, other):
        return isinstance(other, Proxy) and self._program.ask("le", self, other) is True


class _Requests(_pickle.Pickler):
    def persistent_id(self, value):
        return object.__getattribute__(value, "_number") if type(value) is Proxy else None


class _Replies(_pickle.Unpickler):
    """Reads values and nothing else: what a program sends must not become code here."""

    def __init__(self, message, program):
        super().__init__(io.BytesIO(message))
        self._program = program

    def find_class(self, module, name):
        return _CLASSES[module, name]

    def persistent_load(self, identity):
        kind, value = identity
        return value if kind == "value" else Proxy(self._program, int(value))


class Names(dict):
    """The global names of the tests: their own, built-in ones, and else those of the program.

    A built-in name is the program's only where the published solution defines it, so that a program cannot change
    what a test does.
    """

    def __init__(self, program, defined):
        super().__init__(__name__="tests", __builtins__=builtins)
        self._program, self._defined = program, defined

    def __missing__(self, name):
        if name not in self._defined and hasattr(builtins, name):
            raise KeyError(name)
        try:
            return self._program.ask("name", name)
        except KeyError:
            raise KeyError(name) from None


def _exception(name, text, line):
    line = None if line == "None" else line
    kind = getattr(builtins, name, None)
    if isinstance(kind, type) and issubclass(kind, Exception):
        # Tests may expect one of these.
        known = type(kind.__name__, (kind, ProgramError), {"__init__": ProgramError.__init__})
        with contextlib.suppress(Exception):
            return known(name, text, line)
    return ProgramError(name, text, line)


def _unnamed(content):
    """A file without a name that holds `content`."""
    name = f"unnamed-{os.urandom(16).hex()}"
    descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    os.unlink(name)
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _raised(descriptor):
    """The same descriptor under a number that no redirection is to give away."""
    copy = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 30)
    os.close(descriptor)
    return copy


def _failure(error):
    """Kind, type, text and line of the program, of what ended a test."""
    if isinstance(error, OutOfTime):
        return ("time", "", "", None)
    if isinstance(error, ProgramEnded):
        return ("ended", "", "", None)
    if isinstance(error, ProgramError):
        return ("program", error.name, error.text, error.line)
    if isinstance(error, AssertionError):
        return ("wrong", "", "", None)
    return ("test", type(error).__name__, "", None)


def _attempt(act, *arguments):
    """What `act` returns and None, or None and its failure."""
    try:
        return act(*arguments), None
    except BaseException as error:
        return None, _failure(error)


def _begin(program, request):
    return _attempt(program.ask, "run", request["preamble"], request["program"])[1]


def _execute(source, names):
    exec(compile(source, "<test>", "exec"), names)


def test_functions(request):
    """Runs each test with the names of the program; all in one process of it."""
    program = Program(request)
    try:
        began = _begin(program, request)
        names = Names(program, request["defined"])
        for source in (request["prelude"], request["setup"]):
            began = began or _attempt(_execute, source, names)[1]
        examples, tests = [], []
        output = program.output()
        if began is None:
            # Public ones first: what the program answers to them is shown, and it has seen nothing else yet.
            for source in request["examples"]:
                examples.append(_attempt(_written, source, names))
            for source in request["tests"]:
                tests.append(_attempt(_execute, source, names)[1])
                if tests[-1] and tests[-1][0] in ("time", "ended"):
                    break
        return {"began": began, "output": output, "tests": tests, "examples": examples}
    finally:
        program.end()


def _written(source, names):
    return repr(eval(source, names))[:_SHOWN_BYTES]


def test_calls(request):
    """Calls a function of the program once for each list of arguments; a process lives until it fails."""
    tests: list = []
    began, output, program = None, "", None
    for arguments in request["inputs"]:
        if program is None:
            program = Program(request)
            failed = _begin(program, request)
            if not tests:
                began, output = failed, program.output()
            if failed is not None:
                break
        program.deadline = time.monotonic() + request["seconds"]
        tests.append(_attempt(_called, program, request, arguments))
        failure = tests[-1][1]
        if failure and failure[0] in ("time", "ended"):
            program.end()
            program = None
    if program is not None:
        program.end()
    return {"began": began, "output": output, "tests": tests}


def _called(program, request, arguments):
    try:
        called = program.ask(
            "getattr", program.ask("call", program.ask("name", "Solution"), (), {}), request["function"]
        )
    except (KeyError, TypeError, AttributeError):
        called = program.ask("name", request["function"])
    # Read back as a literal, where it is one.
    return repr(program.ask("call", called, tuple(arguments), {}))[: request["most"]]


def test_outputs(request):
    """Runs the program once for each input; what it prints is the result."""
    tests = []
    for given in request["inputs"]:
        program = Program(request, given.encode("utf-8", "replace"))
        try:
            failure = _begin(program, request)
            if failure and failure[1] == "SystemExit":
                failure = None
            tests.append((program.whole_output(request["most"]), failure))
        finally:
            program.end()
    return {"began": None, "output": "", "tests": tests}


def main(requests, verdicts):
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")
    # No other process of this user may look into this one from here on.
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    for descriptor in (requests, verdicts):
        os.set_inheritable(descriptor, False)
    request = _pickle.loads(os.pread(requests, os.fstat(requests).st_size, 0))
    for name, value in request["limits"].items():
        # The first second over the processor time is told by a signal of its own.
        resource.setrlimit(getattr(resource, name), (value, value + (name == "RLIMIT_CPU")))
    run = {"functions": test_functions, "calls": test_calls, "outputs": test_outputs}[request["kind"]]
    verdict = repr(run(request)).encode("utf-8", "backslashreplace")
    while verdict:
        verdict = verdict[os.write(verdicts, verdict) :]


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
