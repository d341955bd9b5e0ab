"""The mixture `samoyed`: agent trajectories, general conversations and code.

AgentBank's paper studies such mixing; at which rates it mixed what is not known here, so that the
rates are this project's own. General conversations and code are the user's: files in any layout.
"""

from dataclasses import dataclass

from agentbank_jax.data.declarations import (
    GENERAL,
    MixtureDeclaration,
    TaskDeclaration,
    declare_mixture,
    declare_task,
    get_mixture,
)
from agentbank_jax.errors import AgentBankError
from agentbank_jax.trajectories.formats.registry import AUTO, get_format

MIXTURE, GENERAL_TASK, CODE_TASK = "samoyed", "samoyed_general", "samoyed_code"
NAMES = (MIXTURE, GENERAL_TASK, CODE_TASK)


@dataclass(frozen=True, kw_only=True)
class SamoyedConfig:
    """What `samoyed` is mixed of.

    Fields:
      agentbank_rate, general_rate, code_rate: passes over each part in one epoch; 0 leaves the part out.
      general_files, code_files: files, patterns or folders of the user's conversations, in the data folder; paths
        that start with `.`, `~` or `/` are taken as they are.
      general_layout, code_layout: `agentbank`, `sharegpt`, `openai` or `agentinstruct`; `auto` tells each file's by
        its first row.

    Raises:
      AgentBankError: on a rate below 0 or rates that are all 0, an unknown layout, or a part without files.
    """

    agentbank_rate: float = 1.0
    general_rate: float = 1.0
    code_rate: float = 1.0
    general_files: tuple[str, ...] = ("general",)
    code_files: tuple[str, ...] = ("code",)
    general_layout: str = AUTO
    code_layout: str = AUTO

    def __post_init__(self) -> None:
        rates = {name: getattr(self, f"{name}_rate") for name in ("agentbank", "general", "code")}
        for name, rate in rates.items():
            if not 0 <= rate < float("inf"):
                raise AgentBankError(
                    f"SamoyedConfig.{name}_rate = {rate}: expected the passes over that part in an epoch, 0 or more."
                )
        if not any(rates.values()):
            raise AgentBankError("SamoyedConfig: all rates are 0; expected at least one above it.")
        for part in ("general", "code"):
            if not getattr(self, f"{part}_files"):
                raise AgentBankError(
                    f"SamoyedConfig.{part}_files is empty; expected a path, or {part}_rate = 0 to leave the part out."
                )
            layout = getattr(self, f"{part}_layout")
            if layout != AUTO:
                get_format(layout)


def configure_samoyed(config: SamoyedConfig) -> MixtureDeclaration:
    """Declares `samoyed` and its two parts anew, and returns the mixture.

    SeqIO knows of it when `agentbank_jax.tasks.seqio_registry` is imported afterwards.
    """
    return declare_samoyed(config, get_mixture("agentbank"))


def declare_samoyed(config: SamoyedConfig, agentbank: MixtureDeclaration) -> MixtureDeclaration:
    """Does what `configure_samoyed` does, with the mixture of agent trajectories at hand."""
    rates = {name: rate * config.agentbank_rate for name, rate in agentbank.rates.items() if config.agentbank_rate}
    for name, part, files, layout, rate in (
        (GENERAL_TASK, "general", config.general_files, config.general_layout, config.general_rate),
        (CODE_TASK, "code", config.code_files, config.code_layout, config.code_rate),
    ):
        declare_task(
            TaskDeclaration(
                name=name,
                skill=GENERAL,
                action_space="continuous",
                files=files,
                layout=layout,
                remedy=f"put conversations of your own into {{data_dir}}/{part} (ShareGPT, OpenAI messages or another "
                f"known layout), name them with --gin.SamoyedConfig.{part}_files=['PATH'], or leave the part out with "
                f"--gin.SamoyedConfig.{part}_rate=0",
            ),
            replace=True,
        )
        if rate:
            rates[name] = rate
    return declare_mixture(MixtureDeclaration(name=MIXTURE, rates=rates), replace=True)
