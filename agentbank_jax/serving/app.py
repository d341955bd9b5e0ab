"""The application: its paths, its key, and what it says when something goes wrong."""

import contextlib
import hmac
import logging
import re
from collections.abc import AsyncIterator

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agentbank_jax.loopback import is_loopback
from agentbank_jax.serving.chat import ChatAnswer
from agentbank_jax.serving.completions import CompletionAnswer
from agentbank_jax.serving.conversations import Conversations
from agentbank_jax.serving.engine_thread import Engine, EngineThread
from agentbank_jax.serving.errors import ApiError
from agentbank_jax.serving.limits import Limits
from agentbank_jax.serving.prometheus import ServingMetrics
from agentbank_jax.serving.served_model import ServedModel
from agentbank_jax.serving.service import Service

logger = logging.getLogger(__name__)

_HEALTH = "/healthz"
_PATHS = ("/v1/chat/completions", "/v1/completions", "/v1/models", "/metrics", _HEALTH)


def create_app(
    model: ServedModel, engine: Engine, *, limits: Limits | None = None, api_key: str | None = None
) -> FastAPI:
    """Returns the application; its engine thread runs while its lifespan does.

    Args:
      model: which is served.
      engine: of the model; the application's alone from now on.
      limits: of clients.
      api_key: what clients must show, as `Authorization: Bearer KEY`; None asks for none.
    """
    limits = limits or Limits()
    thread = EngineThread(engine, queue_size=limits.queue)
    service = Service(
        model=model,
        thread=thread,
        conversations=Conversations(
            model.template, conversations=limits.conversations, tokens=limits.conversation_tokens
        ),
        limits=limits,
        metrics=ServingMetrics(thread),
    )

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        thread.start()
        try:
            yield
        finally:
            thread.stop()

    # No pages that show the interface: they load scripts from elsewhere.
    app = FastAPI(title="agentbank_jax", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.service = service
    _add_paths(app, service)
    app.add_exception_handler(ApiError, _tell)
    app.add_exception_handler(HTTPException, _tell_http)
    app.add_middleware(_Edge, service=service, api_key=api_key)
    return app


def _add_paths(app: FastAPI, service: Service) -> None:
    model = {"id": service.model.name, "object": "model", "created": service.created, "owned_by": "agentbank_jax"}
    model |= {"max_model_len": service.thread.max_length}

    @app.get("/v1/models")
    async def models() -> Response:
        return JSONResponse({"object": "list", "data": [model]})

    @app.get("/v1/models/{name:path}")
    async def one_model(name: str) -> Response:
        service.check_model(name)
        return JSONResponse(model)

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        return await service.answer(request, ChatAnswer)

    @app.post("/v1/completions")
    async def completions(request: Request) -> Response:
        return await service.answer(request, CompletionAnswer)

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(service.metrics.page(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get(_HEALTH)
    async def health() -> Response:
        healthy = service.thread.healthy
        return JSONResponse({"status": "ok" if healthy else "the engine has failed"}, 200 if healthy else 503)


async def _tell(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return JSONResponse(error.body, error.status, error.headers)


async def _tell_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    told = {404: f"There is no {request.url.path} here.", 405: f"{request.url.path} does not take {request.method}."}
    message = told.get(error.status_code, str(error.detail))
    return await _tell(request, ApiError(error.status_code, message, headers=dict(error.headers or {})))


class _Edge:
    """What every request passes: the key is compared, the answer counted, and a bug becomes an answer too."""

    def __init__(self, app: ASGIApp, service: Service, api_key: str | None) -> None:
        self._app = app
        self._metrics = service.metrics
        self._key = api_key.encode() if api_key else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        known = next((each for each in _PATHS if path == each or path.startswith(f"{each}/")), "other")
        begun = False

        async def send_counted(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                self._metrics.requests.labels(known, str(message["status"])).inc()
            await send(message)

        try:
            if path != _HEALTH:
                self._check(scope)
            await self._app(scope, receive, send_counted)
        except ApiError as error:
            await JSONResponse(error.body, error.status, error.headers)(scope, receive, send_counted)
        except Exception:
            logger.exception("%s %s could not be answered", scope["method"], path)
            if begun:
                raise
            bug = ApiError(500, "The server could not answer; its log says why.")
            await JSONResponse(bug.body, bug.status)(scope, receive, send_counted)

    def _check(self, scope: Scope) -> None:
        """Raises ApiError where a client may not ask."""
        headers: dict[bytes, bytes] = dict(scope["headers"])
        if self._key is not None:
            kind, _, key = headers.get(b"authorization", b"").partition(b" ")
            if kind.lower() != b"bearer" or not hmac.compare_digest(key.strip(), self._key):
                raise ApiError(
                    401,
                    "The key is missing or wrong; expected the header 'Authorization: Bearer KEY'.",
                    code="invalid_api_key",
                    headers={"WWW-Authenticate": "Bearer"},
                )
            return
        # A page whose name was made to lead to this machine must not use a server that asks for no key.
        host = headers.get(b"host", b"localhost").decode("latin-1")
        if not is_loopback(re.sub(r":\d+$", "", host).strip("[]")):
            raise ApiError(
                403,
                f"The request names the host {host[:100]!r}; without a key this server answers as localhost alone.",
                code="host_not_allowed",
            )
