"""`python scripts/serve.py`: the OpenAI interface over HTTP."""

import os
import signal
import socket
from collections.abc import Sequence

from agentbank_jax.commands.model_engine import add_model_flags, check_model_flags, load_engine
from agentbank_jax.configuration.flag_parser import make_parser, parse_flags
from agentbank_jax.errors import AgentBankError
from agentbank_jax.loopback import is_loopback

_DESCRIPTION = """\
Serves a model over OpenAI's HTTP interface: /v1/models, /v1/chat/completions, /v1/completions, and
/healthz and /metrics beside them. Without --checkpoint it serves a tiny model with random weights, to try it with.
SIGTERM and Ctrl-C stop taking requests and let those under way end."""
_EXAMPLES = """\
examples:
  python scripts/serve.py
  python scripts/serve.py --checkpoint=runs/samoyed_tiny@best --slots=16
  python scripts/serve.py --checkpoint=weights/Meta-Llama-3-8B-Instruct --dtype=bfloat16 --max_length=4096
  python scripts/serve.py --checkpoint=weights/Llama-2-70b-chat-hf --dtype=bfloat16 --tensor=8
  AGENTBANK_API_KEY=$(openssl rand -hex 24) python scripts/serve.py --host=0.0.0.0"""

_BACKLOG = 2048


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns its exit status.

    Raises:
      AgentBankError: on a user's mistake.
      SystemExit: after `--help`.
    """
    parser = make_parser("serve.py", _DESCRIPTION, _EXAMPLES)
    add_model_flags(parser)
    add = parser.add_argument
    add("--served_model_name", metavar="NAME", help="under which clients ask for it (default: the folder's)")
    add("--host", default="127.0.0.1", metavar="ADDRESS", help="where to listen (default: 127.0.0.1)")
    add("--port", type=int, default=8000, metavar="N", help="0 takes a free one (default: 8000)")
    add("--slots", type=int, default=32, metavar="N", help="replies that are generated together (default: 32)")
    add("--queue", type=int, default=256, metavar="N", help="replies that may wait for a slot; more get 429 "
        "(default: 256)")  # fmt: skip
    add("--max_body_bytes", type=int, default=4 << 20, metavar="N", help="of a request (default: 4194304)")
    add("--request_timeout", type=float, default=600.0, metavar="S", help="seconds that a request may take "
        "(default: 600)")  # fmt: skip
    add("--grace", type=int, default=60, metavar="S", help="seconds that replies under way may take to end after "
        "SIGTERM (default: 60)")  # fmt: skip
    add("--api_key_env", default="AGENTBANK_API_KEY", metavar="NAME", help="environment variable with the key that "
        "clients must show (default: AGENTBANK_API_KEY)")  # fmt: skip
    options = parse_flags(parser, arguments)
    check_model_flags(options)
    key = os.environ.get(options.api_key_env) or None
    _check_address(options.host, options.port, key, options.api_key_env)
    listening = _bind(options.host, options.port)
    if options.grace < 0:
        raise AgentBankError(f"--grace={options.grace}: expected 0 seconds or more.")
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise AgentBankError(f"{error.name} is not installed; expected pip install 'agentbank_jax[serve]'.") from None
    # Imported only now: --help need not wait for them.
    from agentbank_jax.serving.app import create_app
    from agentbank_jax.serving.http_server import HttpServer
    from agentbank_jax.serving.limits import Limits

    limits = Limits(queue=options.queue, max_body_bytes=options.max_body_bytes, request_timeout=options.request_timeout)
    engine, model = load_engine(options, slots=options.slots, name=options.served_model_name)
    app = create_app(model, engine, limits=limits, api_key=key)
    server = HttpServer(app, grace=options.grace)
    # uvicorn ends at a signal and then raises it again, for what stood here before it.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    # Whoever reads the line that follows may connect.
    listening.listen(_BACKLOG)
    host, port = listening.getsockname()[:2]
    print(f"{model.name}: serving on http://{f'[{host}]' if ':' in host else host}:{port}/v1", flush=True)
    server.run(sockets=[listening])
    return 0


def _bind(host: str, port: int) -> socket.socket:
    """Takes an address before anything long begins."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        raise AgentBankError(
            f"--host={host} --port={port}: cannot listen there ({error.strerror}); choose another --port (0 takes a "
            "free one) or --host."
        ) from None
    return listening


def _check_address(host: str, port: int, key: str | None, variable: str) -> None:
    if not 0 <= port < 1 << 16:
        raise AgentBankError(f"--port={port}: expected 0 to 65535.")
    if not is_loopback(host) and key is None:
        raise AgentBankError(
            f"--host={host} can be reached from elsewhere, and no key is set; expected one in ${variable}, or "
            "--host=127.0.0.1."
        )
    if key is not None and (not key.isascii() or any(each.isspace() for each in key)):
        raise AgentBankError(f"${variable}: the key holds white space or other than ASCII; expected a token.")
