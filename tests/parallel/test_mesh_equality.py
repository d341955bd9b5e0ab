"""A mesh divides the work of a step and does not change its numbers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.parallel.run_meshes import CASES

ROOT = Path(__file__).parents[2]

# Of a loss, and of each gradient's largest value.
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def done() -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "tests.parallel.run_meshes"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


@pytest.mark.parametrize("case", CASES)
def test_a_packed_step_on_8_devices_equals_one_on_1_device(done, case):
    found = json.loads(done.stdout)["cases"][case]
    assert found["loss"] <= TOLERANCE, found
    assert found["gradient"] <= TOLERANCE, found


def test_a_run_trains_by_the_rules_of_its_mesh(done):
    ended = json.loads(done.stdout)["training"]
    assert ended["kernel"] == [None, "data", None]
    assert 0 < ended["loss"] < 6


def test_a_run_saved_with_whole_parameters_on_each_device_goes_on_with_them_divided_over_fsdp(done):
    found = json.loads(done.stdout)["gone_on"]
    whole, ended = found["whole"], found["gone_on"]
    assert (whole["part"], ended["part"]) == ([2, 32, 16], [2, 4, 16])
    assert 0 < 2 * ended["tokens"] < whole["tokens"], "it began anew"
    assert ended["loss"] == pytest.approx(whole["loss"], rel=TOLERANCE)


def test_no_activation_is_copied_whole_to_every_device(done):
    assert "Involuntary full rematerialization" not in done.stderr


def test_the_vocabulary_gradient_is_added_up_once_however_many_chunks_of_logits_there_are(done):
    sent = json.loads(done.stdout)["sent"]
    # What is left to each chunk are the sums of its rows' exponentials over parts of the vocabulary.
    assert 0 < sent["1"] <= sent["6"] < 1.2 * sent["1"]
