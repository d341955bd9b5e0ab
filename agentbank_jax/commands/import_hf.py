"""`python scripts/import_hf.py`: a Hugging Face checkpoint becomes one of this project."""

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from agentbank_jax.configuration.flag_parser import make_parser, parse_flags
from agentbank_jax.configuration.report_errors import INTERRUPTED

_DESCRIPTION = """\
Reads a Hugging Face checkpoint (config.json, safetensors, tokenizer) of Llama, CodeLlama, TinyLlama,
Mistral or Qwen2.5 and writes the folder of a run, which train.py --checkpoint and evaluate.py take.
Training alone needs no import: RunConfig.weights may name the Hugging Face folder itself.
The folder appears only when it is whole."""
_EXAMPLES = """\
examples:
  python scripts/import_hf.py --weights=weights/Meta-Llama-3-8B-Instruct --model_dir=runs/llama3_8b
  python scripts/import_hf.py --weights=weights/Llama-2-7b-hf --template=llama2 --dtype=bfloat16"""


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns its exit status.

    Raises:
      AgentBankError: on a user's mistake; nothing is written then.
      SystemExit: after `--help`.
    """
    parser = make_parser("import_hf.py", _DESCRIPTION, _EXAMPLES)
    add = parser.add_argument
    add("--weights", required=True, metavar="FOLDER", help="the checkpoint's folder")
    add("--model_dir", metavar="FOLDER", help="the folder to write (default: ./runs/ and the checkpoint's name)")
    add("--adapter", metavar="FOLDER", help="a LoRA adapter in peft's layout, merged into the weights")
    add("--template", metavar="NAME", help="the chat template that the model acts with: llama2, codellama, llama3 or "
        "hf (default: hf, the checkpoint's own)")  # fmt: skip
    add("--dtype", metavar="TYPE", help="of the parameters: float32, bfloat16 or float16 (default: as stored)")
    add("--fsdp", type=int, default=1, metavar="N", help="devices over which each parameter is split (default: 1)")
    options = parse_flags(parser, arguments)
    # Imported only now: --help need not wait for them.
    from agentbank_jax.commands.hf_conversion import import_checkpoint
    from agentbank_jax.models.forward import count_parameters

    started = time.perf_counter()
    weights = Path(options.weights).expanduser()
    model_dir = Path(options.model_dir).expanduser() if options.model_dir else Path("runs") / weights.resolve().name
    try:
        model = import_checkpoint(
            weights,
            model_dir,
            adapter=Path(options.adapter).expanduser() if options.adapter else None,
            template=options.template,
            dtype=options.dtype,
            fsdp=options.fsdp,
        )
    except KeyboardInterrupt:
        print("\ninterrupted; nothing was written.", file=sys.stderr)
        return INTERRUPTED
    shown = os.path.relpath(model_dir)
    seconds = time.perf_counter() - started
    print(f"{shown}: {count_parameters(model):,} parameters, {model.param_dtype}, in {seconds:.1f} s")
    print(f"train from it: --checkpoint={shown} --gin_file={shown}/model.gin --gin.DataConfig.tokenizer=./{shown}")
    return 0
