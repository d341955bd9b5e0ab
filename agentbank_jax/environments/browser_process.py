"""The processes of a browser: Chromium and its driver, found, started shut off from the network, and ended for sure."""

import importlib.util
import os
import shutil
import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING

from agentbank_jax.errors import AgentBankError, first_line

if TYPE_CHECKING:
    from selenium.webdriver import Chrome
    from selenium.webdriver.chrome.service import Service
    from selenium.webdriver.remote.remote_connection import RemoteConnection

CHROMIUM_VARIABLE, DRIVER_VARIABLE = "MINIWOB_CHROME_BINARY", "MINIWOB_CHROMEDRIVER"
_CHROMIUM, _DRIVER = ("chromium", "chromium-browser", "google-chrome"), ("chromedriver",)

_NOWHERE = "http://127.0.0.1:9"  # a proxy that does not exist
_PATH_LIMIT = 40

# chromedriver leaves its browser behind when it is killed. So both run in a session of a shell that waits until its
# input is closed, by us or by our death, and then ends all of the session and removes the profile.
_GUARD = r"""
trap '' TERM INT HUP
"$@" </dev/null &
cat >/dev/null
for one in /proc/[0-9]*; do
  read -r line <"$one/stat" || continue
  set -- ${line##*) }
  [ "$4" = "$$" ] && [ "${one#/proc/}" != "$$" ] && kill -KILL "${one#/proc/}"
done 2>/dev/null
rm -rf "$TMPDIR" 2>/dev/null || { sleep 1; rm -rf "$TMPDIR"; }
"""


def find_programs() -> tuple[str, str]:
    """Returns Chromium and its driver: what the environment variables name, else what is installed.

    Raises:
      AgentBankError: where one is missing.
    """
    found = []
    for variable, names, what in (
        (CHROMIUM_VARIABLE, _CHROMIUM, "Chromium"),
        (DRIVER_VARIABLE, _DRIVER, "chromedriver"),
    ):
        named = os.environ.get(variable)
        path = shutil.which(named) if named else next(filter(None, map(shutil.which, names)), None)
        if path is None:
            where = f"{variable} is '{named}', which is no program" if named else f"there is no {what} here"
            raise AgentBankError(f"{where}; install chromium and chromium-driver, or name them with {variable}.")
        found.append(path)
    return found[0], found[1]


def missing() -> str | None:
    """None where a browser can be driven here, else the reason and the remedy."""
    if importlib.util.find_spec("selenium") is None:
        return "selenium is not installed; install it with: pip install 'agentbank_jax[environments]'"
    try:
        find_programs()
    except AgentBankError as error:
        return str(error)
    return None


def _guarded_service(chromedriver: str) -> "Service":
    """A service whose processes and files go when this process does, however it ends."""
    from selenium.webdriver.chrome.service import Service

    class GuardedService(Service):
        def command_line_args(self) -> list[str]:
            return ["-c", _GUARD, "sh", chromedriver, *super().command_line_args()]

        def env_path(self) -> str | None:
            return None

        def stop(self) -> None:
            if self.process is not None and self.process.stdin is not None:
                self.process.stdin.close()
                self.process.wait()

    # Chromium puts a socket there, and the path of a socket has 108 characters at most.
    place = tempfile.gettempdir()
    folder = tempfile.mkdtemp(prefix="agentbank_", dir=place if len(place) <= _PATH_LIMIT else "/tmp")
    return GuardedService(
        executable_path="/bin/sh",
        env={**os.environ, "TMPDIR": folder},
        popen_kw={"start_new_session": True},
    )


def _connection(driver: "Chrome") -> "RemoteConnection":
    connection = driver.command_executor
    assert not isinstance(connection, str)
    return connection


def start_chromium(*, size: tuple[int, int], hosts: Sequence[str], seconds: float) -> "Chrome":
    """Starts a Chromium; see `Browser` for the arguments.

    Raises:
      AgentBankError: where it cannot be started; the message says why.
    """
    from selenium import webdriver
    from selenium.common.exceptions import WebDriverException

    chromium, chromedriver = find_programs()
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in (
        "--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--disable-extensions", "--mute-audio",
        "--disable-background-networking", "--disable-component-update", "--disable-default-apps",
        "--disable-sync", "--no-first-run", "--no-default-browser-check", "--disable-domain-reliability",
        "--disable-features=Translate,MediaRouter,OptimizationHints", "--metrics-recording-only",
        f"--window-size={size[0]},{size[1]}",
        f"--proxy-server={_NOWHERE}", f"--proxy-bypass-list={';'.join(('<-loopback>', *hosts))}",
    ):  # fmt: skip
        options.add_argument(argument)
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # Chromium refuses to run as root with it
    options.add_experimental_option("prefs", {"download_restrictions": 3})
    options.unhandled_prompt_behavior = "dismiss and notify"
    options.timeouts = {"pageLoad": int(seconds * 1000), "script": int(seconds * 1000), "implicit": 0}
    try:
        driver = webdriver.Chrome(options=options, service=_guarded_service(chromedriver))
    except WebDriverException as error:
        raise AgentBankError(
            f"Chromium ({chromium}) does not start with {chromedriver}: {first_line(error)}; "
            "the two must be of one version."
        ) from None
    _connection(driver).client_config.timeout = int(seconds) + 5
    return driver


def stop_chromium(driver: "Chrome") -> None:
    """Ends a Chromium, its driver and its files at once, without asking them."""
    driver.service.stop()
    _connection(driver).close()
