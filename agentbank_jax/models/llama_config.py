"""The shape of a Llama or of a near relative, and how it computes."""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from agentbank_jax.errors import AgentBankError, did_you_mean
from agentbank_jax.models.attention import CACHED, check_backend
from agentbank_jax.models.lora import PROJECTIONS, LoraConfig
from agentbank_jax.models.remat import check_policy

DTYPES = ("float32", "bfloat16", "float16")
FAMILIES = ("llama", "mistral", "qwen2")
ROPE_SCALINGS = ("none", "linear", "llama3")


@dataclass(frozen=True, kw_only=True)
class LlamaConfig:
    """The shape of a Llama and how it computes.

    Example:

      config = LlamaConfig(vocab_size=3000, hidden_size=128, intermediate_size=384, num_layers=4, num_heads=4)

    Fields:
      vocab_size: rows of the embedding.
      hidden_size: width D of the residual stream.
      intermediate_size: width F of the SwiGLU block.
      num_layers: decoder layers.
      num_heads: query heads.
      num_kv_heads: key and value heads (grouped queries); 0 means `num_heads`.
      head_dim: size of one head; 0 means `hidden_size // num_heads`.
      max_position_embeddings: the longest conversation, in tokens.
      rope_theta: base of the rotary position embedding.
      rope_scaling: how its frequencies are lowered for long conversations: "none", "linear" or "llama3"
        (see `rotary_frequencies`).
      rope_factor: by how much, at least 1.
      rope_low_freq_factor, rope_high_freq_factor: "llama3" divides frequencies of fewer turns than the first within
        `rope_original_max_position` tokens, and leaves those of more than the second.
      rope_original_max_position: the longest conversation, in tokens, before "llama3" lowered the frequencies.
      rms_norm_eps: added to the mean square in RMSNorm.
      tie_word_embeddings: the output projection is the embedding.
      family: "llama", "mistral" (which computes the same, without its sliding window) or "qwen2" (which adds a bias
        to queries, keys and values): the `model_type` under which Hugging Face knows the model.
      initializer_range: standard deviation of fresh kernels and embeddings, as in Hugging Face (0.02 there);
        0 chooses by the width (see `_kernel_std`), which small models learn to copy from much sooner.
      dtype: of the activations and matrix products.
      param_dtype: of the stored parameters.
      attention: name of a backend in `models.attention`; "auto" lets a run choose for its devices.
      cached_attention: how one new token attends over a cache, one of `models.attention.CACHED`; "auto" lets generation
        choose for its devices.
      max_segments: the most segments of a packed row, for backends that need a bound; 0 leaves it to them.
      scan_layers: run the layers as one `jax.lax.scan` (compiles once) instead of unrolled (faster when few).
      remat: what each layer keeps for its gradient, a policy of `models.remat`.
      lora: the adapters that are trained in place of the parameters (see `models.lora`); None where all are trained.
    """

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int = 0
    head_dim: int = 0
    max_position_embeddings: int = 2048
    rope_theta: float = 10000.0
    rope_scaling: str = "none"
    rope_factor: float = 1.0
    rope_low_freq_factor: float = 1.0
    rope_high_freq_factor: float = 4.0
    rope_original_max_position: int = 8192
    rms_norm_eps: float = 1e-5
    tie_word_embeddings: bool = False
    family: str = "llama"
    initializer_range: float = 0.0
    dtype: str = "float32"
    param_dtype: str = "float32"
    attention: str = "auto"
    cached_attention: str = "auto"
    scan_layers: bool = False
    max_segments: int = 0
    remat: str = "none"
    lora: LoraConfig | None = None

    def __post_init__(self) -> None:
        for name in (
            "vocab_size", "hidden_size", "intermediate_size", "num_layers", "num_heads", "max_position_embeddings",
        ):  # fmt: skip
            if getattr(self, name) < 1:
                raise AgentBankError(f"LlamaConfig.{name}={getattr(self, name)}: expected at least 1.")
        for name in ("head_dim", "max_segments", "rms_norm_eps", "initializer_range"):
            if not 0 <= getattr(self, name) < math.inf:
                raise AgentBankError(f"LlamaConfig.{name}={getattr(self, name)}: expected 0 or more.")
        if not 0.0 < self.rope_theta < math.inf:
            raise AgentBankError(f"LlamaConfig.rope_theta={self.rope_theta}: expected more than 0.")
        if not self.num_kv_heads:
            object.__setattr__(self, "num_kv_heads", self.num_heads)
        if not self.head_dim:
            if self.hidden_size % self.num_heads:
                raise AgentBankError(
                    f"LlamaConfig.hidden_size={self.hidden_size} is not a multiple of num_heads={self.num_heads}: "
                    "change either, or set head_dim."
                )
            object.__setattr__(self, "head_dim", self.hidden_size // self.num_heads)
        if self.num_kv_heads < 1 or self.num_heads % self.num_kv_heads:
            raise AgentBankError(
                f"LlamaConfig.num_heads={self.num_heads} is not a multiple of num_kv_heads={self.num_kv_heads}: "
                "every key head serves the same number of query heads."
            )
        if self.head_dim % 2:
            raise AgentBankError(
                f"LlamaConfig.head_dim={self.head_dim} is odd: rotary positions turn pairs; "
                "choose hidden_size and num_heads so that their quotient is even."
            )
        for name, known, what in (
            ("dtype", DTYPES, "type"),
            ("param_dtype", DTYPES, "type"),
            ("family", FAMILIES, "family"),
            ("rope_scaling", ROPE_SCALINGS, "scaling"),
            ("cached_attention", CACHED, "kind"),
        ):
            if getattr(self, name) not in known:
                raise AgentBankError(
                    f"LlamaConfig.{name}={getattr(self, name)!r} is no known {what}."
                    + did_you_mean(getattr(self, name), known)
                )
        if not 1.0 <= self.rope_factor < math.inf:
            raise AgentBankError(f"LlamaConfig.rope_factor={self.rope_factor}: expected at least 1.")
        if not 0.0 < self.rope_low_freq_factor < self.rope_high_freq_factor < math.inf:
            raise AgentBankError(
                f"LlamaConfig.rope_low_freq_factor={self.rope_low_freq_factor}: expected more than 0 and less than "
                f"rope_high_freq_factor={self.rope_high_freq_factor}."
            )
        if self.rope_original_max_position < 1:
            raise AgentBankError(
                f"LlamaConfig.rope_original_max_position={self.rope_original_max_position}: expected at least 1."
            )
        check_backend(self.attention)
        check_policy(self.remat)
        if self.lora:
            self._check_rank(self.lora)

    def _check_rank(self, lora: LoraConfig) -> None:
        for name in lora.names:
            inputs, outputs = self.projection_shapes[name]
            if lora.rank > min(inputs, outputs):
                raise AgentBankError(
                    f"LoraConfig.rank={lora.rank} is larger than {name}, a matrix of {inputs} x {outputs}: "
                    f"expected at most {min(inputs, outputs)}."
                )

    @property
    def base(self) -> "LlamaConfig":
        """The same model without adapters."""
        return replace(self, lora=None)

    @property
    def projection_shapes(self) -> dict[str, tuple[int, int]]:
        """Inputs and outputs of each of a layer's projections."""
        width, inner, inner_kv = self.hidden_size, self.num_heads * self.head_dim, self.num_kv_heads * self.head_dim
        shapes = (
            (width, inner), (width, inner_kv), (width, inner_kv), (inner, width),
            (width, self.intermediate_size), (width, self.intermediate_size), (self.intermediate_size, width),
        )  # fmt: skip
        return dict(zip(PROJECTIONS, shapes, strict=True))

    @property
    def qkv_bias(self) -> bool:
        """Whether queries, keys and values have a bias."""
        return self.family == "qwen2"

    @property
    def shape_facts(self) -> dict[str, Any]:
        """What a checkpoint must agree with: all fields but those that only say how to compute."""
        how = (
            "dtype", "param_dtype", "attention", "cached_attention", "max_segments", "scan_layers", "remat",
            "initializer_range", "max_position_embeddings", "lora",
        )  # fmt: skip
        facts = {name: value for name, value in asdict(self).items() if name not in how}
        if self.lora:
            facts |= {f"lora.{name}": value for name, value in asdict(self.lora).items() if name != "dropout"}
        return facts
