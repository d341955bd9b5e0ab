"""scripts/launch_jobset.py and its manifest, with a kubectl that records what it gets."""

import re
from pathlib import Path

import pytest
import yaml

from tests.launching.stand_ins import StandIns
from tests.small_bank import ROOT, ProgramRunner

FLAGS = ("--name=samoyed", "--image=registry/agentbank:1", "--topology=v5e-16", "--recipe=samoyed_tiny.gin")


@pytest.fixture
def launch(run_here: ProgramRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def launch_with(*flags: str, **plan: object):
        stand_ins = StandIns.make(tmp_path / "cluster", **plan)
        monkeypatch.setenv("PATH", f"{stand_ins.folder / 'bin'}:/usr/bin:/bin")
        result = run_here(["scripts/launch_jobset.py", *FLAGS, *flags], data_dir=tmp_path, cwd=tmp_path)
        manifest = stand_ins.folder / "manifest.yaml"
        return result, stand_ins.calls(), yaml.safe_load(manifest.read_text()) if manifest.exists() else None

    return launch_with


def job_of(manifest: dict) -> dict:
    return manifest["spec"]["replicatedJobs"][0]["template"]["spec"]


def test_a_host_of_the_slice_is_a_pod_and_all_start_again_but_for_an_error_of_the_run(launch) -> None:
    result, calls, manifest = launch("--slices=2", "--max_restarts=7")
    assert result.returncode == 0, result.stderr
    assert calls == [["kubectl", "apply", "--namespace=default", "--filename=-"]]
    assert (manifest["kind"], manifest["metadata"]["name"]) == ("JobSet", "samoyed")
    assert manifest["spec"]["replicatedJobs"][0]["replicas"] == 2
    job = job_of(manifest)
    assert (job["parallelism"], job["completions"], job["completionMode"], job["backoffLimit"]) == (4, 4, "Indexed", 0)
    pod = job["template"]["spec"]
    assert pod["nodeSelector"] == {
        "cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice",
        "cloud.google.com/gke-tpu-topology": "4x4",
    }
    assert pod["containers"][0]["resources"]["limits"] == {"google.com/tpu": 4}
    # Statuses 1 and 2 fail the Job with a reason of its own, for which the JobSet fails; any other starts all again.
    [rule] = job["podFailurePolicy"]["rules"]
    assert rule["action"] == "FailJob" and rule["onExitCodes"]["values"] == [1, 2]
    assert rule["onExitCodes"]["containerName"] == pod["containers"][0]["name"] and pod["restartPolicy"] == "Never"
    policy = manifest["spec"]["failurePolicy"]
    assert policy["maxRestarts"] == 7
    assert [rule["action"] for rule in policy["rules"]] == ["FailJobSet", "RestartJobSet"]
    assert policy["rules"][0]["onJobFailureReasons"] == ["PodFailurePolicy"]


@pytest.mark.parametrize(
    ("flags", "lost"),
    [
        ((), True),
        (("--model_dir=/bucket/run",), True),
        (("--bucket=runs", "--model_dir=runs/a"), True),
        (("--bucket=runs", "--model_dir=/bucket/run"), False),
    ],
)
def test_a_run_that_would_be_lost_with_its_pods_is_told(launch, flags: tuple[str, ...], lost: bool) -> None:
    result, _, _ = launch(*flags, "--dry_run")
    assert result.returncode == 0 and ("note: without --bucket" in result.stderr) is lost, result.stderr


def test_values_with_quotes_spaces_and_variables_reach_the_container_as_they_are(launch) -> None:
    values = ["--gin.A.b='two words'", '--gin.A.c="it\'s: #1"', "$(HOME) $HOME", "new\nline", ""]
    result, _, manifest = launch("--model_dir=/bucket/a b", "--env=NOTE=$(x) y=z", "--", *values)
    assert result.returncode == 0, result.stderr
    container = job_of(manifest)["template"]["spec"]["containers"][0]
    # What Kubernetes makes of $$(NAME).
    read = [word.replace("$$(", "$(") for word in container["command"]]
    assert read == ["python", "-u", "train.py", "--gin_file=samoyed_tiny.gin", "--model_dir=/bucket/a b", *values]
    assert not any(re.search(r"(?<!\$)\$\(", word) for word in container["command"])
    assert container["env"] == [{"name": "NOTE", "value": "$$(x) y=z"}]


def test_a_bucket_is_mounted_and_spot_nodes_are_asked_for(launch) -> None:
    _, _, manifest = launch("--bucket=runs", "--spot", "--service_account=trainer")
    template = job_of(manifest)["template"]
    assert template["metadata"]["annotations"] == {"gke-gcsfuse/volumes": "true"}
    pod = template["spec"]
    assert pod["volumes"][0]["csi"]["volumeAttributes"] == {"bucketName": "runs"}
    assert pod["containers"][0]["volumeMounts"] == [{"name": pod["volumes"][0]["name"], "mountPath": "/bucket"}]
    assert pod["serviceAccountName"] == "trainer"
    assert pod["nodeSelector"]["cloud.google.com/gke-spot"] == "true"
    assert pod["tolerations"][0]["key"] == "cloud.google.com/gke-spot"


@pytest.mark.parametrize(
    ("topology", "hosts", "chips"), [("v5e-1", 1, 1), ("v5e-4", 1, 4), ("v5p-32", 4, 4), ("v6e:16x16", 64, 4)]
)
def test_slices_have_as_many_pods_as_hosts(launch, topology: str, hosts: int, chips: int) -> None:
    _, _, manifest = launch(f"--topology={topology}")
    job = job_of(manifest)
    limits = job["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert job["parallelism"] == job["completions"] == hosts and limits["google.com/tpu"] == chips


def test_a_dry_run_prints_the_commands_with_the_manifest_and_runs_none(launch, tmp_path: Path) -> None:
    result, calls, _ = launch("--dry_run")
    assert result.returncode == 0 and calls == []
    first, *rest = result.stdout.split("\n")
    assert first == "kubectl apply --namespace=default --filename=- <<'EOF'"
    assert yaml.safe_load("\n".join(rest[: rest.index("EOF")]))["metadata"]["name"] == "samoyed"
    assert [line.split(":")[0] for line in rest[rest.index("EOF") + 1 :] if line] == ["# follow", "# look", "# delete"]


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--topology=v5e-17", "--topology=v5e-17 is no known TPU topology"),
        ("--recipe=samoyed_tny.gin", "Did you mean 'samoyed_tiny.gin'"),
        ("--name=My_Set", "--name=My_Set: expected up to 40 lower-case"),
        ("--slices=0", "--slices=0: expected at least 1"),
        ("--env=a", "--env=a: expected --env=NAME=VALUE"),
        ("--nam=x", "Did you mean '--name'"),
    ],
)
def test_a_mistake_is_one_line_and_calls_nothing(launch, flag: str, message: str) -> None:
    result, calls, _ = launch(flag)
    assert result.returncode == 2 and calls == []
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1 and message in result.stderr


def test_what_kubectl_refuses_is_told(launch) -> None:
    result, _, _ = launch(kubectl=[1, "no matches for kind JobSet"])
    assert result.returncode == 2 and result.stderr == "error: kubectl refuses the JobSet: no matches for kind JobSet\n"


def test_the_manifest_has_no_field_that_is_not_filled() -> None:
    fields = set(re.findall(r"\$(\w+)", (ROOT / "scripts/jobset.yaml").read_text()))
    source = (ROOT / "agentbank_jax/commands/launch_jobset.py").read_text()
    assert all(f'"{field}":' in source for field in fields)
