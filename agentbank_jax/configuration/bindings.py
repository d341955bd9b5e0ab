"""The one place where gin meets the library: which dataclasses it may fill, and how values are checked.

The library's dataclasses know nothing of gin. Each gets a gin name here, equal to its class
name, and its parameters are its fields. Its module is imported when it is first named: a sweep
in which no checkpoint plays does without those that import JAX.
"""

import dataclasses
import functools
import importlib
import inspect
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeVar, Union

import gin

from agentbank_jax.errors import AgentBankError

Config = TypeVar("Config")

_MODULES: dict[str, str] = {
    "BenchmarkConfig": "environments.benchmark_data",
    "DataConfig": "configuration.run_config",
    "EvalConfig": "configuration.run_config",
    "FilterConfig": "bank.filter_config",
    "LlamaConfig": "models.llama_config",
    "LoraConfig": "models.lora",
    "MeshConfig": "parallel.mesh",
    "OptimizerConfig": "training.optimizer",
    "RecipeConfig": "bank.recipe_config",
    "RunConfig": "configuration.run_config",
    "SamoyedConfig": "data.samoyed",
    "SandboxConfig": "environments.sandbox_limits",
    "ShardingRules": "models.sharding_rules",
    "SweepConfig": "evaluation.sweep_config",
    "TeacherConfig": "bank.recipe_config",
    "TrainConfig": "training.train_config",
}

SCOPED = ("SweepConfig", "RecipeConfig", "FilterConfig")
"""Those that have scopes in gin, one for each sweep or task."""


def _type_name(expected: Any) -> str:
    if expected is type(None):
        return "None"
    if isinstance(expected, type) and not typing.get_args(expected):
        return expected.__name__
    return str(expected).replace("typing.", "")


def _convert(value: Any, expected: Any) -> Any:
    """Returns `value` as the type that a field declares; raises TypeError where it is none.

    An int is taken where a float is declared, a list where a tuple is; nothing else is converted.
    """
    origin, arguments = typing.get_origin(expected), typing.get_args(expected)
    if expected is Any:
        return value
    if origin in (Union, types.UnionType):
        for choice in arguments:
            try:
                return _convert(value, choice)
            except TypeError:
                continue
        raise TypeError
    if origin is Literal:
        if any(value == choice and type(value) is type(choice) for choice in arguments):
            return value
        raise TypeError
    if origin in (tuple, list) or (origin is not None and issubclass(origin, Sequence)):
        if not isinstance(value, (list, tuple)):
            raise TypeError
        if origin is tuple and arguments and arguments[-1] is not Ellipsis:
            if len(arguments) != len(value):
                raise TypeError
            return tuple(_convert(item, part) for item, part in zip(value, arguments, strict=True))
        return tuple(_convert(item, arguments[0] if arguments else Any) for item in value)
    if origin is not None:
        if isinstance(value, origin):
            return value
        raise TypeError
    if expected is float and type(value) is int:
        return float(value)
    if expected in (bool, int, float, str) and type(value) is not expected:
        raise TypeError
    if isinstance(expected, type) and not isinstance(value, expected):
        raise TypeError
    return value


def _make_factory(config: type[Any]) -> Callable[..., Any]:
    """Returns a function with the dataclass's fields as keywords, which checks their types first."""
    fields = {field.name: field for field in dataclasses.fields(config) if field.init}
    annotations = typing.get_type_hints(config)

    def factory(**values: Any) -> Any:
        name = config.__name__
        for field in fields.values():
            if field.name not in values and _default(field) is inspect.Parameter.empty:
                raise AgentBankError(
                    f"{name}.{field.name} is not set; bind it in a gin file or with --gin.{name}.{field.name}=VALUE."
                )
        converted = {}
        for key, value in values.items():
            try:
                converted[key] = _convert(value, annotations[key])
            except TypeError:
                raise AgentBankError(
                    f"{name}.{key} = {value!r}: expected {_type_name(annotations[key])}, got {_type_name(type(value))}."
                ) from None
        return config(**converted)

    parameters = [
        inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=_default(field))
        for field in fields.values()
    ]
    # gin reads names and defaults from the signature.
    factory.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    factory.__name__ = factory.__qualname__ = config.__name__
    factory.__doc__ = config.__doc__
    return factory


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return inspect.Parameter.empty


def _config_class(name: str) -> type[Any]:
    config: type[Any] = getattr(importlib.import_module(f"agentbank_jax.{_MODULES[name]}"), name)
    return config


@functools.cache
def _factory(name: str) -> Callable[..., Any]:
    """The function that gin calls, registered with it when it is first asked for."""
    with gin.unlock_config():
        return gin.external_configurable(_make_factory(_config_class(name)), name=name, module="agentbank_jax")


class _Known(Mapping[str, tuple[str, ...]]):
    """Gin name → its parameters; of a name that nobody asks for nothing is imported."""

    def __getitem__(self, name: str) -> tuple[str, ...]:
        if name not in _MODULES:
            raise KeyError(name)
        return tuple(field.name for field in dataclasses.fields(_config_class(name)) if field.init)

    def __iter__(self) -> Iterator[str]:
        return iter(_MODULES)

    def __len__(self) -> int:
        return len(_MODULES)


KNOWN: Mapping[str, tuple[str, ...]] = _Known()


def provide(selector: str) -> None:
    """Lets gin know the dataclass that a selector means, where it means one."""
    name = selector.rsplit(".", 1)[-1]
    if name in _MODULES:
        _factory(name)


def build(config: type[Config], scope: str = "", **values: Any) -> Config:
    """Makes a dataclass from gin's bindings.

    Args:
      config: one of those that gin knows.
      scope: gin scope whose bindings win over unscoped ones.
      **values: what the caller decides itself, over any binding.

    Raises:
      AgentBankError: on a missing, ill-typed or refused value; the message has the gin name.
    """
    with gin.config_scope(scope or None):
        try:
            return _factory(config.__name__)(**values)
        except AgentBankError as error:
            # gin appends where it was called from, which says nothing to the user.
            raise AgentBankError(str(error).split("\n  In call to configurable", 1)[0]) from None


def is_bound(config: type[Any] | str, parameter: str, scope: str = "") -> bool:
    """Whether gin binds a parameter of a dataclass, or of one of that name, in exactly this scope."""
    name = config if isinstance(config, str) else config.__name__
    try:
        gin.query_parameter(f"{scope}/{name}.{parameter}" if scope else f"{name}.{parameter}")
    except ValueError:
        return False
    return True
