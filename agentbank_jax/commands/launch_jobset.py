"""`python scripts/launch_jobset.py`: fills the manifest of a JobSet and gives it to Kubernetes."""

import argparse
import json
import re
import shlex
import shutil
import string
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentbank_jax.configuration.flag_parser import make_parser, parse_flags
from agentbank_jax.errors import AgentBankError

if TYPE_CHECKING:
    from agentbank_jax.parallel.topology import Topology

_DESCRIPTION = """\
Trains on TPU pods of GKE, as a JobSet: fills scripts/jobset.yaml and applies it with kubectl. Flags of train.py
come after --. All pods start again where one was pre-empted or lost, and the run goes on."""
_EXAMPLES = """\
example:
  python scripts/launch_jobset.py --name=samoyed-7b --image=REGISTRY/agentbank --topology=v5e-16 \\
      --recipe=samoyed_7b.gin --bucket=my-runs --model_dir=/bucket/samoyed_7b --dry_run"""

_ACCELERATORS = {"v5e": "tpu-v5-lite-podslice", "v5p": "tpu-v5p-slice", "v6e": "tpu-v6e-slice"}
_CHIPS_PER_HOST = 4
_BUCKET_FOLDER = "/bucket"


def main(arguments: Sequence[str], template: Path) -> int:
    """Runs the command; returns its exit status.

    Args:
      arguments: `sys.argv[1:]`.
      template: the manifest, with fields to fill.

    Raises:
      AgentBankError: on a user's mistake, or where kubectl is missing or refuses the manifest.
      SystemExit: after `--help`.
    """
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options = _parse(arguments[:end])
    # Imported only now: --help need not wait for JAX.
    from agentbank_jax.configuration.gin_files import find_gin_file
    from agentbank_jax.parallel.topology import parse_topology

    topology = parse_topology(options.topology)
    find_gin_file(options.recipe)
    manifest = render(template.read_text(encoding="utf-8"), options, topology, arguments[end + 1 :])
    apply = ["kubectl", "apply", f"--namespace={options.namespace}", "--filename=-"]
    first = f"jobset.sigs.k8s.io/jobset-name={options.name},batch.kubernetes.io/job-completion-index=0"
    after = {
        "follow": ["kubectl", "logs", f"--namespace={options.namespace}", f"--selector={first}", "--follow"],
        "look": ["kubectl", "get", "jobset", options.name, f"--namespace={options.namespace}"],
        "delete": ["kubectl", "delete", "jobset", options.name, f"--namespace={options.namespace}"],
    }
    if options.dry_run:
        print(f"{shlex.join(apply)} <<'EOF'\n{manifest}EOF")
    else:
        _apply(apply, manifest)
    if not (options.bucket and (options.model_dir or "").startswith(f"{_BUCKET_FOLDER}/")):
        print(
            f"note: without --bucket and a --model_dir under {_BUCKET_FOLDER} the run is lost with its pods, and each "
            "restart begins anew, unless the manifest has another folder that all pods share.",
            file=sys.stderr,
        )
    for what, command in after.items():
        print(f"# {what}: {shlex.join(command)}")
    return 0


def render(template: str, options: argparse.Namespace, topology: "Topology", flags: Sequence[str]) -> str:
    """Returns the manifest as YAML; every value in it is written as JSON, which YAML contains.

    Args:
      template: text with `$name` where a value stands.
      options: the flags of the command.
      topology: one slice.
      flags: further flags of train.py.
    """
    chips_per_host = min(topology.chips, _CHIPS_PER_HOST)
    model_dir = [f"--model_dir={options.model_dir}"] if options.model_dir else []
    command = ["python", "-u", "train.py", f"--gin_file={options.recipe}", *model_dir, *flags]
    spot = {"cloud.google.com/gke-spot": "true"} if options.spot else {}
    bucket = {"driver": "gcsfuse.csi.storage.gke.io", "volumeAttributes": {"bucketName": options.bucket}}
    values: dict[str, Any] = {
        "name": options.name,
        "namespace": options.namespace,
        "max_restarts": options.max_restarts,
        "slices": options.slices,
        "hosts": topology.chips // chips_per_host,
        "chips_per_host": chips_per_host,
        "image": options.image,
        "working_dir": options.working_dir,
        "service_account": options.service_account,
        # Kubernetes puts variables where it reads $(NAME).
        "command": [word.replace("$(", "$$(") for word in command],
        "env": [{"name": name, "value": value.replace("$(", "$$(")} for name, value in options.env],
        "node_selector": {
            "cloud.google.com/gke-tpu-accelerator": _ACCELERATORS[topology.generation],
            "cloud.google.com/gke-tpu-topology": "x".join(map(str, topology.shape)),
            **spot,
        },
        "tolerations": [
            {"key": key, "operator": "Equal", "value": value, "effect": "NoSchedule"} for key, value in spot.items()
        ],
        "pod_annotations": {"gke-gcsfuse/volumes": "true"} if options.bucket else {},
        "volumes": [{"name": "bucket", "csi": bucket}] if options.bucket else [],
        "volume_mounts": [{"name": "bucket", "mountPath": _BUCKET_FOLDER}] if options.bucket else [],
    }
    return string.Template(template).substitute({name: json.dumps(value) for name, value in values.items()})


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = make_parser("launch_jobset.py", _DESCRIPTION, _EXAMPLES)
    add = parser.add_argument
    add("--name", required=True, help="of the JobSet")
    add("--namespace", default="default", metavar="NAME", help="default: %(default)s")
    add("--image", required=True, help="container image with this tree installed")
    add("--working_dir", default="/app", metavar="FOLDER", help="where the tree is in the image (default: %(default)s)")
    add("--topology", required=True, metavar="NAME", help="one slice: v5e-16, v5p-128, v6e:16x16, …")
    add("--slices", type=int, default=1, metavar="N", help="of that type (default: %(default)s)")
    add("--spot", action="store_true", help="on spot nodes, which may be pre-empted at any time")
    add("--recipe", required=True, metavar="NAME", help="gin file, shipped or in this tree")
    add("--model_dir", metavar="FOLDER", help="where the run lives: a folder that all pods share")
    add("--bucket", metavar="NAME", help=f"a bucket that every pod has at {_BUCKET_FOLDER} (Cloud Storage FUSE)")
    add("--service_account", default="default", metavar="NAME", help="that may use the bucket (default: %(default)s)")
    add("--env", action="append", default=[], metavar="NAME=VALUE", help="a variable for the run; may be repeated")
    add("--max_restarts", type=int, default=100, metavar="N", help="after pre-emptions (default: %(default)s)")
    add("--dry_run", action="store_true", help="print every command with its manifest, and run none")
    options = parse_flags(parser, arguments)
    for name in ("name", "namespace"):
        value = getattr(options, name)
        # Names of pods are this with what Kubernetes adds, 63 characters in all.
        if not re.fullmatch(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?", value):
            raise AgentBankError(
                f"--{name}={value}: expected up to 40 lower-case letters, digits and hyphens, such as samoyed-7b."
            )
    for name, least in (("slices", 1), ("max_restarts", 0)):
        if getattr(options, name) < least:
            raise AgentBankError(f"--{name}={getattr(options, name)}: expected at least {least}.")
    for variable in options.env:
        if not re.match(r"[A-Za-z_][A-Za-z0-9_]*=", variable):
            raise AgentBankError(f"--env={variable}: expected --env=NAME=VALUE.")
    options.env = [variable.split("=", 1) for variable in options.env]
    return options


def _apply(command: Sequence[str], manifest: str) -> None:
    if shutil.which(command[0]) is None:
        raise AgentBankError("kubectl is not installed; install it, or see with --dry_run what would be applied.")
    result = subprocess.run(command, input=manifest, text=True, capture_output=True)
    if result.returncode:
        raise AgentBankError(f"kubectl refuses the JobSet: {result.stderr.strip() or result.stdout.strip()}")
    print(result.stdout, end="")
