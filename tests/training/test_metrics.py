"""metrics.jsonl over several starts of one run."""

import io
import json
import math
import os
import struct
from pathlib import Path

import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog

from agentbank_jax.errors import AgentBankError
from agentbank_jax.training.metrics import MetricsWriter, read_metrics


def test_records_beyond_the_restored_step_are_dropped_so_that_no_step_occurs_twice(tmp_path):
    with MetricsWriter(tmp_path) as writer:
        for step in (1, 2, 3, 4):
            writer.write(step, {"loss": float(step)})
    with MetricsWriter(tmp_path, start_step=2) as writer:
        writer.write(3, {"loss": 30.0})
    assert [(r["step"], r["loss"]) for r in read_metrics(tmp_path)] == [(1, 1.0), (2, 2.0), (3, 30.0)]


def test_a_line_that_a_kill_cut_off_is_left_out(tmp_path):
    with MetricsWriter(tmp_path) as writer:
        writer.write(1, {"loss": 1.0})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2, "lo')
    assert [record["step"] for record in read_metrics(tmp_path)] == [1]
    MetricsWriter(tmp_path, start_step=1).__exit__()
    assert (tmp_path / "metrics.jsonl").read_text().endswith("}\n")


def test_lines_that_are_no_record_do_not_lock_a_run_out(tmp_path):
    with MetricsWriter(tmp_path) as writer:
        writer.write(1, {"loss": 1.0})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('garbage\n[1]\n{"loss": 1}\n{"step": 2, "loss": 2.0}\n')
    assert [record["step"] for record in read_metrics(tmp_path)] == [1, 2]


def test_every_line_is_valid_json_and_what_was_not_finite_is_read_as_nan(tmp_path):
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    values = {"loss": math.nan, "gradient_norm": math.inf, "mfu": 0.5}
    with MetricsWriter(tmp_path) as writer:
        writer.write(1, values)
        writer.write(2, values)
    with MetricsWriter(tmp_path, start_step=1):
        pass
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line, parse_constant=refuse)["loss"] for line in lines] == [None]
    (record,) = read_metrics(tmp_path)
    assert math.isnan(record["loss"]) and math.isnan(record["gradient_norm"]) and record["mfu"] == 0.5


def test_tensorboard_gets_every_value_of_every_start_and_the_step_from_which_it_was_done_again(tmp_path):
    for start in (0, 1):
        with MetricsWriter(tmp_path, start_step=start) as writer:
            writer.write(start + 1, {"loss": 2.5, "eval/loss": 3.5})
    events = [event for file in sorted((tmp_path / "tensorboard").iterdir()) for event in events_of(file)]
    scalars = [(event.step, value.tag, value.simple_value) for event in events for value in event.summary.value]
    assert scalars == [
        (step, tag, value) for step in (1, 2) for tag, value in (("train/loss", 2.5), ("eval/loss", 3.5))
    ]
    starts = [event.step for event in events if event.session_log.status == SessionLog.START]
    assert starts == [1, 2]


def events_of(file: Path) -> list[Event]:
    """Each record is its length in 8 bytes, a checksum of 4, the event, and another."""
    content, events = file.read_bytes(), []
    while content:
        (size,) = struct.unpack("<Q", content[:8])
        events.append(Event.FromString(content[12 : 12 + size]))
        content = content[16 + size :]
    return events


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_a_full_disk_is_an_error_that_names_the_folder(tmp_path):
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    with MetricsWriter(tmp_path) as writer:
        with pytest.raises(AgentBankError, match=r"metrics in .* \(No space left on device\): make room"):
            writer.write(1, {"loss": 1.0})
        writer._lines = io.StringIO()
