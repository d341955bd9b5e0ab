"""Finding and reading gin files: names are resolved here, gin stores and references the values.

gin itself accepts any macro name, says little about an unknown one, and looks for files with
noise; so this module walks the statements of each file, checks every name, and binds.

A gin file is data: reading one runs no code but this project's. What would run other code is
refused, unless the user allows it (`docs/security.md`).
"""

import contextlib
import re
import tokenize
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import gin
from gin import config as gin_config
from gin import config_parser

import agentbank_jax
from agentbank_jax.configuration.bindings import KNOWN, provide
from agentbank_jax.configuration.gin_imports import (
    ALLOW_IMPORTS,
    GinConfigError,
    Registration,
    import_module,
    is_configurable,
)
from agentbank_jax.errors import did_you_mean
from agentbank_jax.whole_files import whole_file

MACRO = "gin.macro"

# An override such as `--gin.DataConfig.mixture=starter`: text that is no gin value is a string,
# unless it starts like one.
_PLACE = re.compile(r"line (\d+)")
_NAME = re.compile(r"(\w+/)*\w+(\.\w+)*")
_STARTS_LIKE_A_VALUE = re.compile(r"^\s*[\[({'\"@%]")


class _Position(NamedTuple):
    """Where a statement stands, for messages."""

    source: str
    line: int

    def __str__(self) -> str:
        return f"{self.source}:{self.line}" if self.line else self.source


def shipped_folder() -> Path:
    """Returns the folder of the gin files that come with the project.

    In a checkout it is `gin/` at the top; installed, it is `agentbank_jax/gin_files/`.
    """
    package = Path(agentbank_jax.__file__).resolve().parent
    installed = package / "gin_files"
    return installed if installed.is_dir() else package.parent / "gin"


def find_gin_file(name: str, search_paths: Sequence[str | Path] = ()) -> Path:
    """Resolves the name of a gin file.

    Looks, in this order, in the current folder, in `search_paths` and among the shipped files.

    Returns:
      An absolute path.

    Raises:
      GinConfigError: when the file is in none of them.
    """
    folders = [Path.cwd(), *(Path(path).expanduser() for path in search_paths), shipped_folder()]
    for folder in folders:
        candidate = folder / Path(name).expanduser()
        with contextlib.suppress(OSError):  # a name that is too long
            if candidate.is_file():
                return candidate.resolve()
    shipped = [str(path.relative_to(shipped_folder())) for path in sorted(shipped_folder().rglob("*.gin"))]
    suggestion = did_you_mean(name, shipped) or did_you_mean(f"{name}.gin", shipped)
    where = ", ".join(str(folder) for folder in folders)
    raise GinConfigError(f"gin file '{name}' not found; looked in {where}.{suggestion}")


class _Delegate(gin_config.ParserDelegate):
    """Builds gin's references and macros, after it has checked and noted their names."""

    def __init__(self, check: Callable[[str], None]) -> None:
        super().__init__()
        self.macros_used: set[str] = set()
        self._check = check

    def configurable_reference(self, scoped_selector: str, evaluate: bool) -> Any:
        self._check(scoped_selector.rsplit("/", 1)[-1])
        return super().configurable_reference(scoped_selector, evaluate)

    def macro(self, name: str) -> Any:
        self.macros_used.add(name)
        return super().macro(name)


class GinLoader:
    """Reads gin files and overrides into gin's configuration.

    Example:

        loader = GinLoader(search_paths=["~/recipes"])
        loader.read("samoyed_tiny.gin")
        loader.override("TrainConfig.steps", "10")
        loader.finish()

    Each call checks the names it meets; `finish` checks what only the whole can tell (macros that
    are used but not defined, or defined but used by nothing) and locks the configuration.
    """

    def __init__(self, search_paths: Sequence[str | Path] = (), *, allow_imports: bool = False) -> None:
        """Reads nothing yet.

        Args:
          search_paths: folders looked in for gin files.
          allow_imports: whether the files may run code that is not this project's, by importing it.
        """
        self._search_paths = tuple(search_paths)
        self._allow_imports = allow_imports
        self._delegate = _Delegate(self._check_configurable)
        # Of each open file, None where it has no dynamic registration.
        self._registrations: list[Registration | None] = []
        self._macros_defined: dict[str, _Position] = {}
        self._open: list[Path] = []
        self._scopes: dict[str, list[str]] = {}
        self.imports: list[str] = []
        self.files: list[Path] = []

    def read(self, name: str) -> None:
        """Reads one file, and the files that it includes, in place."""
        path = find_gin_file(name, self._search_paths)
        if path in self._open:
            chain = " -> ".join(str(step) for step in [*self._open, path])
            raise GinConfigError(f"gin files include one another in a circle: {chain}.")
        self.files.append(path)
        self._open.append(path)
        self._registrations.append(None)
        try:
            with path.open(encoding="utf-8") as file:
                self._apply(file, str(path))
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
            raise GinConfigError(f"{path}: cannot be read ({reason}); expected a gin file.") from None
        except RecursionError:
            raise GinConfigError(f"{path}: a value refers to itself; expected one that ends.") from None
        finally:
            self._open.pop()
            self._registrations.pop()

    def override(self, name: str, value: str) -> None:
        """Binds one name from the command line.

        Args:
          name: a macro, or `scope/Name.parameter` with the scope optional.
          value: a gin value; text that is none is taken as a string.
        """
        where = _Position(f"--gin.{name}", 0)
        if not _NAME.fullmatch(name):
            raise GinConfigError(f"--gin.{name}: not a gin name; expected NAME or Name.parameter.")
        scope, selector, parameter = config_parser.parse_binding_key(name)
        self._bind(scope, selector, parameter, self._parse_value(value, where), where)

    def finish(self, *, unused_macros: bool = False) -> None:
        """Checks the macros and locks gin's configuration.

        Raises:
          GinConfigError: on a macro that is used but not defined, or the reverse, unless
            `unused_macros` allows that.
        """
        used, defined = self._delegate.macros_used, self._macros_defined
        for name in sorted(used - set(defined)):
            raise GinConfigError(f"macro '%{name}' is used but not defined.{did_you_mean(name, defined)}")
        for name in () if unused_macros else sorted(set(defined) - used):
            raise GinConfigError(f"{defined[name]}: macro '{name}' is used by nothing.{did_you_mean(name, used)}")
        gin.finalize()

    def scopes_of(self, name: str) -> tuple[str, ...]:
        """Returns the scopes in which any parameter of `name` is bound, in order of appearance."""
        return tuple(self._scopes.get(name, ()))

    def _apply(self, lines: Iterable[str], source: str) -> None:
        try:
            parser = config_parser.ConfigParser(lines, self._delegate)
            for statement in parser:
                self._apply_statement(statement, _Position(source, statement.location.line_num))
        except (SyntaxError, tokenize.TokenError) as error:
            line = getattr(error, "lineno", None) or 0
            message = str(getattr(error, "msg", error)).split("\n", 1)[0]
            raise GinConfigError(f"{_Position(source, line)}: not valid gin: {message}") from None
        except GinConfigError as error:
            # A name inside a value: gin appends where it stands, over several lines.
            message, _, place = str(error).partition("\n")
            found = _PLACE.search(place)
            where = f"{_Position(source, int(found[1]))}: " if found else ""
            raise GinConfigError(where + message) from None

    def _apply_statement(self, statement: Any, where: _Position) -> None:
        match statement:
            case config_parser.IncludeStatement():
                self.read(statement.filename)
            case config_parser.ImportStatement():
                self._import(statement, where)
            case config_parser.BlockDeclaration():
                self._located(where, self._check_configurable, statement.selector)
            case config_parser.BindingStatement():
                self._bind(statement.scope, statement.selector, statement.arg_name, statement.value, where)

    def _import(self, statement: config_parser.ImportStatement, where: _Position) -> None:
        module = self._located(where, import_module, statement, self._allow_imports)
        self.imports.append(statement.format())
        if module is None:
            self._registrations[-1] = self._registrations[-1] or Registration()
        elif registration := self._registrations[-1]:
            registration.add(statement, module)

    def _check_configurable(self, selector: str) -> None:
        provide(selector)
        if not is_configurable(selector) and self._registrations and (registration := self._registrations[-1]):
            registration.register(selector)
        if not is_configurable(selector):
            raise GinConfigError(f"unknown gin name '{selector}'.{did_you_mean(selector, KNOWN)}")

    def _check_parameter(self, selector: str, parameter: str) -> None:
        self._check_configurable(selector)
        parameters = KNOWN.get(selector.rsplit(".", 1)[-1], ())
        if parameters and parameter not in parameters:
            raise GinConfigError(f"'{selector}' has no parameter '{parameter}'.{did_you_mean(parameter, parameters)}")

    def _bind(self, scope: str, selector: str, parameter: str, value: Any, where: _Position) -> None:
        if not parameter:
            name = f"{scope}/{selector}" if scope else selector
            self._macros_defined[name] = where
            gin.bind_parameter((name, MACRO, "value"), value)
            return
        self._located(where, self._check_parameter, selector, parameter)
        if where.line and value and not self._allow_imports:
            self._check_runs_nothing(selector, parameter, where)
        gin.bind_parameter((scope, selector, parameter), value)
        scopes = self._scopes.setdefault(selector.rsplit(".", 1)[-1], [])
        if scope and scope not in scopes:
            scopes.append(scope)

    def _check_runs_nothing(self, selector: str, parameter: str, where: _Position) -> None:
        """Checks that a file does not name programs, which a command line may."""
        if (selector.rsplit(".", 1)[-1], parameter) == ("TrainConfig", "compilation_cache"):
            raise GinConfigError(
                f"{where}: '{selector}.{parameter}' names compiled programs, which run as they are; expected it on the "
                f"command line (--gin.{selector}.{parameter}=FOLDER), or {ALLOW_IMPORTS} for files that you trust."
            )

    def _located(self, where: _Position, check: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return check(*arguments)
        except GinConfigError as error:
            raise GinConfigError(f"{where}: {error}") from None

    def _parse_value(self, text: str, where: _Position) -> Any:
        try:
            parser = config_parser.ConfigParser(text, self._delegate)
            value = parser.parse_value()
            if parser.current_token.type in (tokenize.NEWLINE, tokenize.ENDMARKER):
                return value
        except GinConfigError as error:
            raise GinConfigError(f"{where}: {error}") from None
        except (SyntaxError, tokenize.TokenError, ValueError):
            pass
        if _STARTS_LIKE_A_VALUE.match(text):
            raise GinConfigError(f"{where}={text}: not valid gin; check its brackets and quotes.")
        return text


def operative_config(loader: GinLoader) -> str:
    """Returns what was really used, defaults included, as gin text that runs again as it is."""
    imports = "".join(f"{line}\n" for line in loader.imports)
    return imports + gin.operative_config_str(max_line_length=110)


def write_operative_config(path: Path, loader: GinLoader) -> None:
    """Writes `operative_config` to a file, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(operative_config(loader), encoding="utf-8")
