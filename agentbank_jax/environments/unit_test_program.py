"""The side of the program that is tested: run as a script inside the sandbox, and not trusted from then on.

It runs the program and then does what the tester (`unit_test_tester`) asks for: reads a name, calls a function, takes
an item. Plain values travel as values; any other object stays here and goes by a number. Messages are a length of 4
bytes and a pickle, requests on descriptor 3, replies on descriptor 4.
"""

import _pickle
import builtins
import io
import operator
import os
import sys
from collections.abc import Callable

REQUESTS, REPLIES = 3, 4
SOURCE_NAME = "<program>"
_PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset, range})
_BASES = (dict, list, tuple, set, frozenset, str, bytes, int, float)
_OPERATIONS: dict[str, Callable] = {
    "call": lambda function, arguments, keywords: function(*arguments, **keywords),
    "getattr": getattr, "setattr": setattr, "iter": iter, "next": next, "len": len, "bool": bool, "str": str,
    "repr": repr, "hash": hash, "getitem": operator.getitem, "setitem": operator.setitem,
    "contains": operator.contains, "eq": operator.eq, "lt": operator.lt, "le": operator.le,
}  # fmt: skip


class _Objects:
    """Objects that the tester knows by number."""

    def __init__(self):
        self._objects = []

    def number(self, value):
        self._objects.append(value)
        return len(self._objects) - 1

    def __getitem__(self, number):
        return self._objects[number]


class _Requests(_pickle.Unpickler):
    def __init__(self, message, objects):
        super().__init__(io.BytesIO(message))
        self._objects = objects

    def persistent_load(self, number):
        return self._objects[number]


class _Replies(_pickle.Pickler):
    def __init__(self, file, objects):
        super().__init__(file, 5)
        self._objects = objects

    def persistent_id(self, value):
        kind = type(value)
        # The two classes are part of how their values are written.
        if kind in _PLAIN or value is complex or value is range:
            return None
        for base in _BASES:
            # An ordered dictionary is a dictionary, a named tuple a tuple: equal to one, so it may go as one.
            if issubclass(kind, base):
                return "value", base(value)
        return "object", self._objects.number(value)


def serve():
    # What the program starts must not hold these open, nor meet them by their numbers.
    requests, replies = os.dup(REQUESTS), os.dup(REPLIES)
    os.close(REQUESTS)
    os.close(REPLIES)
    objects = _Objects()
    # A module of its own, so that it finds nothing of this one in its names.
    module = type(sys)("__main__")
    module.__dict__["__builtins__"] = builtins
    sys.modules["__main__"] = module
    namespace = module.__dict__
    while (length := _read(requests, 4)) is not None:
        message = _read(requests, int.from_bytes(length, "big"))
        reply = _answer(message, namespace, objects)
        try:
            text = _pickled(reply, objects)
        except Exception as error:
            text = _pickled(_failure(error), objects)
        sent = memoryview(len(text).to_bytes(4, "big") + text)
        while sent:
            sent = sent[os.write(replies, sent) :]


def _read(descriptor, size):
    parts = []
    while size:
        part = os.read(descriptor, min(size, 1 << 20))
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _pickled(reply, objects):
    file = io.BytesIO()
    _Replies(file, objects).dump(reply)
    return file.getvalue()


def _answer(message, namespace, objects):
    try:
        operation, arguments = _Requests(message, objects).load()
        if operation == "run":
            preamble, source = arguments
            return "value", _run(preamble, source, namespace)
        if operation == "name":
            return "value", namespace[arguments[0]]
        return "value", _OPERATIONS[operation](*arguments)
    except BaseException as error:
        return _failure(error)


def _run(preamble, source, namespace):
    if preamble:
        exec(compile(preamble, "<preamble>", "exec"), namespace)
    try:
        exec(compile(source, SOURCE_NAME, "exec"), namespace)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _failure(error):
    line = error.lineno if isinstance(error, SyntaxError) and error.filename == SOURCE_NAME else None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == SOURCE_NAME:
            line = trace.tb_lineno
        trace = trace.tb_next
    try:
        text = str(error)[:300]
    except Exception:
        text = ""
    return "error", (str(type(error).__name__), text, line)


if __name__ == "__main__":
    serve()
