"""metrics.jsonl over several starts of one run."""

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
