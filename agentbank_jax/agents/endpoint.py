"""A model behind a server with OpenAI's interface: where it is, and the key that it is shown."""

import os
from dataclasses import dataclass
from urllib.parse import urlsplit

from agentbank_jax.errors import AgentBankError
from agentbank_jax.loopback import is_loopback

KEY_VARIABLE, URL_VARIABLE = "OPENAI_API_KEY", "OPENAI_BASE_URL"
"""A key, and the server that it is for: the variables of the `openai` package."""

_OPENAI = "https://api.openai.com/v1"


class EndpointError(AgentBankError):
    """A server that does not answer, or refuses what it is asked."""


class RequestRefused(EndpointError):
    """A server that refuses one request for what it holds, and may take others."""


class Unanswered(EndpointError):
    """A server that was reached, but has brought no reply within all attempts."""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A model behind a server.

    Fields:
      base_url: up to its `/v1`, without a slash at the end.
      model: as the server calls it.
    """

    base_url: str
    model: str

    @classmethod
    def parse(cls, text: str) -> "Endpoint":
        """Reads `http://HOST:PORT/v1#MODEL`.

        Raises:
          EndpointError: it is something else, or holds a password, which results would show.
        """
        url, _, model = text.partition("#")
        try:
            parts = urlsplit(url)
            valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and not parts.query
        except ValueError:
            raise EndpointError(f"'{text}' is no URL; expected http://HOST:PORT/v1#MODEL.") from None
        if not valid or not model.strip() or model != model.strip():
            raise EndpointError(f"'{text}' names no model of a server; expected http://HOST:PORT/v1#MODEL.")
        if parts.username or parts.password:
            raise EndpointError(
                f"'{parts.scheme}://…@{parts.hostname}' holds a password; put it into the environment variable "
                f"{KEY_VARIABLE} instead."
            )
        return cls(base_url=url.rstrip("/"), model=model)

    @property
    def name(self) -> str:
        """The last part of the model's name, in tables and as a folder."""
        return self.model.rstrip("/").rsplit("/", 1)[-1]

    def api_key(self) -> str:
        """The key of the environment, where it is for this server; else empty.

        A gin file may come from anybody and name any server: the key is for the one that OPENAI_BASE_URL names
        (OpenAI's own where it is not set), and for one on this machine.

        Raises:
          EndpointError: the key holds what no header can.
        """
        mine, named = urlsplit(self.base_url), urlsplit(os.environ.get(URL_VARIABLE) or _OPENAI)
        if (mine.scheme, mine.netloc) != (named.scheme, named.netloc) and not is_loopback(mine.hostname or ""):
            return ""
        key = os.environ.get(KEY_VARIABLE, "").strip()
        if not key.isascii() or not key.isprintable():
            raise EndpointError(f"{KEY_VARIABLE} holds characters that no key has; expected visible ASCII.")
        return key

    def __str__(self) -> str:
        return f"{self.base_url}#{self.model}"
