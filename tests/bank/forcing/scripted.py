"""A teacher's server that knows the starter's experts, and does to each instance what its script says.

What it says depends on the request alone and on which different requests came before it, so that a request that comes
again gets the same words; what goes wrong on the way (a stall, a closed connection, a rate limit) does so once.
"""

import contextlib
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from agentbank_jax.agents.endpoint import Endpoint
from agentbank_jax.agents.endpoint_client import Patience
from agentbank_jax.bank import thoughts
from agentbank_jax.bank.forcing.call_cache import call_key
from agentbank_jax.bank.forcing.known_answer import known_answer
from agentbank_jax.bank.forcing.leakage import holds, is_short
from agentbank_jax.bank.forcing.replies import REACT
from agentbank_jax.bank.rationales.template_rationales import word
from agentbank_jax.environments import registry
from agentbank_jax.environments.base import FINAL_ANSWER_PREFIX, Instance

MODEL = "scripted"
PATIENCE = Patience(timeout=0.6, retries=3, backoff=0.02)
TASKS = ("starter_math", "starter_reasoning")
CHUNK = 12
RETRY_AFTER = 0.4

# What is said: of the first draw of the second step where the key says `once`, of every draw where it says `always`.
SAID_ONCE = ("refusal_once", "garbage_once", "empty_once", "leak_once", "told_once", "invalid_once")
WRONG_FIRST = "wrong_first"
IMAGINES = "imagines"
LOST = {
    "leaks": "leak",
    "refuses": "refusal",
    "says_garbage": "unreadable",
    "says_nothing": "empty",
    "is_wrong": "wrong_answer",
    "never_ends": "too_long",
    "is_filtered": "request_refused",
    "is_full": "context_exhausted",
    "acts_invalidly": "invalid_action",
}
"""Scripts after which no trajectory comes out, and the reason of the drop."""
ON_THE_WAY = ("limits", "stalls", "closes", "fails", "breaks_off", "answers_html")
KEPT = ("good", *SAID_ONCE, WRONG_FIRST, IMAGINES, *ON_THE_WAY)
SCRIPTS = (*KEPT, *LOST)
FILLER = "filler"
"""The script of instances that are not put to the test: the expert's steps."""
UNPAID = ("is_filtered", "is_full")
"""Scripts whose requests the server refuses; they are asked again."""


@dataclass(frozen=True)
class Part:
    """An instance and its script: its expert's steps, and what is asked of it."""

    task: str
    index: int
    script: str
    instance: Instance
    question: str
    answer: str
    steps: tuple[tuple[str, str], ...]


def parts() -> list[Part]:
    """The first instances of each task: one for each script, whose answer is neither short nor in the question, fillers
    between them, and so many behind the last that a build by chunks of `CHUNK` finds each candidate here."""
    return [part for task in TASKS for part in _parts(task)]


def _parts(task: str) -> Iterator[Part]:
    spec, scripts, behind = registry.get(task), iter(SCRIPTS), 0
    for index in itertools.count():
        instance, environment = spec.instance("train", index), spec.make()
        answer = known_answer(environment, instance)
        assert answer is not None
        question, _ = environment.reset(options={"instance": instance})
        steps = environment.expert_steps()
        suited = not is_short(answer.text) and not holds(question, answer.text) and len(steps) > 2
        script = next(scripts, None) if suited else FILLER
        behind += script is None
        templates = thoughts.templates_of(task)
        said = tuple((word(templates, step, 0), step.action) for step in steps)
        yield Part(task, index, script or FILLER, instance, question, answer.text, said)
        if behind > CHUNK:
            return


def taken(some: list[Part], task: str) -> list[Part]:
    """What a build of a task takes that wants as many trajectories as `wanted` says: up to a filler behind the last
    script."""
    mine = [part for part in some if part.task == task]
    last = max(place for place, part in enumerate(mine) if part.script != FILLER)
    return mine[: last + 2]


def wanted(some: list[Part], task: str) -> int:
    """Trajectories that come out of `taken`."""
    return sum(part.script not in LOST for part in taken(some, task))


@dataclass
class Scripted:
    """A server that runs.

    Fields:
      url: up to `/v1`.
      parts: by the question.
      asked: the keys of the requests, in order.
      answered: how many were answered with a completion, of each key.
      usage: what the answers cost, of each task: requests, and tokens told and written.
      refused: when a request was refused for being one too many, by its key, until it comes again.
      waits: seconds until it came again.
      pause: seconds before each completion.
      at_once: the most requests that are answered at one time; more get 429, and are to wait `RETRY_AFTER` seconds.
    """

    parts: dict[str, Part]
    url: str = ""
    asked: list[str] = field(default_factory=list)
    answered: Counter[str] = field(default_factory=Counter)
    usage: dict[str, Counter[str]] = field(default_factory=dict)
    refused: dict[str, float] = field(default_factory=dict)
    waits: list[float] = field(default_factory=list)
    pause: float = 0.0
    at_once: int | None = None
    under_way: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    seen: dict[tuple[str, int], list[str]] = field(default_factory=dict)

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint.parse(f"{self.url}#{MODEL}")

    def take(self, body: dict[str, Any]) -> tuple[Part, int, int, bool]:
        """The part that a request is about, its step, the how-manieth different request it is there, and whether it is
        new."""
        part = self.parts[body["messages"][1]["content"]]
        step = sum(message["role"] == "assistant" for message in body["messages"])
        key = call_key(body["model"], {name: value for name, value in body.items() if name != "model"})
        with self.lock:
            new = key not in self.asked
            self.asked.append(key)
            draws = self.seen.setdefault((part.question, step), [])
            if key not in draws:
                draws.append(key)
            return part, step, draws.index(key), new

    def reply(self, part: Part, step: int, draw: int) -> str:
        thought, action = part.steps[min(step, len(part.steps) - 1)]
        good = REACT.render(thought, action)
        if part.script in ("leaks", "leak_once"):
            bad = f"Thought: The result will be {part.answer}, so I begin.\nAction: {part.steps[0][1]}"
        else:
            bad = {
                "refusal_once": "I'm sorry, but I cannot help with that.",
                "refuses": "I cannot answer this question.",
                "garbage_once": "}{ 1 2 3 �\x00 Sure! Here you go",
                "says_garbage": "Observation: 12\nAction: 3 * 4",
                "empty_once": "",
                "says_nothing": " \n ",
                "told_once": REACT.render("The known answer guides me.", action),
                "invalid_once": "Thought: I dance.\nAction: dance!",
                "acts_invalidly": "Thought: I dance.\nAction: dance!",
                "is_wrong": f"Thought: I guess.\n{FINAL_ANSWER_PREFIX} 123456",
                "never_ends": REACT.render(*part.steps[0]),
                WRONG_FIRST: f"Thought: I guess.\n{FINAL_ANSWER_PREFIX} 123456",
            }.get(part.script, good)
        if part.script in LOST:
            return bad
        if part.script in SAID_ONCE:
            return bad if step == 1 and draw == 0 else good
        if part.script == WRONG_FIRST:
            return bad if step == 0 and draw == 0 else good
        if part.script == IMAGINES:
            return f"{good}\nObservation: 999\nThought: So it is done.\n{FINAL_ANSWER_PREFIX} 999"
        return good


def completion(text: str, prompt: str) -> bytes:
    usage = {"prompt_tokens": len(prompt) // 4, "completion_tokens": len(text) // 4}
    message = {"role": "assistant", "content": text}
    return json.dumps({"choices": [{"index": 0, "message": message}], "usage": usage}).encode()


class _Handler(BaseHTTPRequestHandler):
    server: "_Server"

    def do_POST(self) -> None:
        script = self.server.script
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        part, step, draw, new = script.take(body)
        if part.script == "is_filtered" and step == 1:
            return self._send(400, b'{"error": {"message": "content filter"}}')
        if part.script == "is_full" and step == 1:
            return self._send(400, b'{"error": {"message": "too long", "code": "context_length_exceeded"}}')
        if new and part.script in ON_THE_WAY:
            trouble: dict[str, Callable[[], None]] = {
                "limits": lambda: self._send(429, b"slow down", ("Retry-After", "0.05")),
                "stalls": lambda: time.sleep(1.2),
                "closes": lambda: None,
                "fails": lambda: self._send(503, b"busy"),
                "breaks_off": lambda: self._send(200, completion("Thought", "")[:20]),
                "answers_html": lambda: self._send(200, b"<html>Welcome</html>"),
            }
            return trouble[part.script]()
        key = script.seen[part.question, step][draw]
        with script.lock:
            over = script.at_once is not None and script.under_way >= script.at_once
            if (refused := script.refused.pop(key, None)) is not None:
                script.waits.append(time.monotonic() - refused)
            if over:
                script.refused[key] = time.monotonic()
            script.under_way += not over
        if over:
            return self._send(429, b"slow down", ("Retry-After", str(RETRY_AFTER)))
        time.sleep(script.pause)
        answer = completion(script.reply(part, step, draw), json.dumps(body))
        with script.lock:
            script.under_way -= 1
            script.answered[key] += 1
            usage = json.loads(answer)["usage"]
            # What comes too late is asked once more, and counts once for whoever asks.
            if script.answered[key] == 1:
                script.usage.setdefault(part.task, Counter()).update({"requests": 1, **usage})
        self._send(200, answer)

    def _send(self, status: int, content: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in (("Content-Length", str(len(content))), ("Connection", "close"), *headers):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        del format, args


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, script: Scripted, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.script = script

    def handle_error(self, request: Any, client_address: Any) -> None:
        del request, client_address  # clients that went away


@contextlib.contextmanager
def listening(script: Scripted, port: int = 0) -> Iterator[int]:
    """Lets a server run, and gives its port; 0 takes a free one."""
    server = _Server(script, port)
    port = server.server_address[1]
    script.url = f"http://127.0.0.1:{port}/v1"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield port
    finally:
        server.shutdown()
        server.server_close()


def serving(some: list[Part]) -> Iterator[Scripted]:
    """Runs a server; for fixtures."""
    script = Scripted({part.question: part for part in some})
    with listening(script):
        yield script
