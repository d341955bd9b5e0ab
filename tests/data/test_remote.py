"""Banks at a URL: what is copied, when it is copied again, and how each mistake is told."""

import gzip
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from agentbank_jax.commands import convert_bank, lint_bank
from agentbank_jax.commands.requirements import missing_requirements
from agentbank_jax.configuration.run_config import DataConfig, RunConfig
from agentbank_jax.data import command
from agentbank_jax.data.declarations import DeclarationError, get_task
from agentbank_jax.data.remote import fetch_paths, fetch_tasks
from agentbank_jax.data.sources import count_rows, read_mixture, read_task, task_files
from agentbank_jax.places import PlaceError, data_place, local_path
from agentbank_jax.trajectories.templates.registry import Llama2Template

URL = "memory://bucket/banks"
COPY = Path("data/remote/memory/bucket/banks")


@pytest.fixture
def store(mixture: str, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryFileSystem]:
    """The bank of `data_dir` in the memory file system, at `URL`; the current folder is empty."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AGENTBANK_DATA_DIR", URL)
    files = fsspec.filesystem("memory")
    for file in data_dir.rglob("train*"):
        files.pipe(f"{URL}/{file.relative_to(data_dir)}", file.read_bytes())
    yield files
    files.rm("/", recursive=True)
    files.pseudo_dirs[:] = [""]


def row(number: int) -> dict[str, object]:
    return {
        "id": f"made-{number}",
        "conversations": [
            {"from": "human", "value": "Where is the cup?"},
            {"from": "gpt", "value": f"Thought: I look.\nAction: look[{number}]"},
        ],
    }


def test_a_remote_bank_reads_as_the_local_one(store: MemoryFileSystem, data_dir: Path) -> None:
    assert list(read_mixture("fake", URL)) == list(read_mixture("fake", data_dir))
    files = task_files(get_task("fake_qa"), URL)
    assert files == [COPY / f"fake_qa/train-0000{shard}-of-00002.parquet" for shard in range(2)]
    assert count_rows(get_task("fake_qa"), URL) == 60


@pytest.mark.parametrize("kind", [".json", ".jsonl", ".json.gz", ".jsonl.gz"])
def test_every_kind_of_text_file_is_read(store: MemoryFileSystem, kind: str) -> None:
    rows = [row(number) for number in range(5)]
    text = json.dumps(rows) if ".jsonl" not in kind else "".join(json.dumps(each) + "\n" for each in rows)
    content = gzip.compress(text.encode()) if kind.endswith(".gz") else text.encode()
    store.rm(f"{URL}/fake_qa", recursive=True)
    store.pipe(f"{URL}/fake_qa/train-00000-of-00001{kind}", content)
    assert [each.id for each in read_task(get_task("fake_qa"), URL)] == [f"made-{number}" for number in range(5)]


def test_only_the_files_of_the_tasks_are_copied(store: MemoryFileSystem) -> None:
    store.pipe(f"{URL}/fake_house/notes.txt", b"not read")
    store.pipe(f"{URL}/fake_house/train.csv", b"not read")
    store.pipe(f"{URL}/vocabulary/fake.model", b"pieces")
    assert fetch_tasks(URL, [get_task("fake_house")]) == COPY
    copied = {str(file.relative_to(COPY)) for file in COPY.rglob("*") if not file.name.startswith(".")}
    assert copied == {
        "fake_house",
        "fake_house/train-00000-of-00001.parquet",
        "vocabulary",
        "vocabulary/fake.model",
    }


def test_a_copy_is_made_again_only_where_the_original_has_changed(
    store: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied: list[str] = []
    get_file = MemoryFileSystem.get_file

    def recorded(self: MemoryFileSystem, path: str, *arguments: object, **options: object) -> object:
        copied.append(path.rsplit("/", 1)[1])
        return get_file(self, path, *arguments, **options)

    monkeypatch.setattr(MemoryFileSystem, "get_file", recorded)
    task = get_task("fake_qa")
    task_files(task, URL)
    assert len(copied) == 2
    task_files(task, URL)
    assert len(copied) == 2
    store.pipe(f"{URL}/fake_qa/train-00001-of-00002.parquet", store.cat(f"{URL}/fake_qa/train-00000-of-00002.parquet"))
    files = task_files(task, URL)
    assert copied[2:] == ["train-00001-of-00002.parquet"]
    assert files[0].read_bytes() == files[1].read_bytes()
    files[0].unlink()
    task_files(task, URL)
    assert copied[3:] == ["train-00000-of-00002.parquet"]


def test_validation_files_are_copied_where_they_are_asked_for_and_not_read_when_they_are_gone(
    store: MemoryFileSystem,
) -> None:
    task, name = get_task("fake_house"), "validation-00000-of-00001.parquet"
    assert task_files(task, URL, "validation") == []
    store.pipe(f"{URL}/fake_house/{name}", store.cat(f"{URL}/fake_house/train-00000-of-00001.parquet"))
    task_files(task, URL)
    assert not (COPY / "fake_house" / name).exists()
    assert task_files(task, URL, "validation") == [COPY / "fake_house" / name]
    store.rm(f"{URL}/fake_house/{name}")
    assert task_files(task, URL, "validation") == []
    assert len(task_files(task, URL)) == 1


def test_copies_of_files_that_are_gone_are_not_read(store: MemoryFileSystem) -> None:
    task = get_task("fake_qa")
    assert len(task_files(task, URL)) == 2
    store.rm(f"{URL}/fake_qa", recursive=True)
    store.pipe(f"{URL}/fake_qa/train-00000-of-00001.jsonl", json.dumps(row(0)).encode())
    assert [file.name for file in task_files(task, URL)] == ["train-00000-of-00001.jsonl"]
    assert count_rows(task, URL) == 1


def test_a_copy_that_is_interrupted_leaves_nothing(store: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: MemoryFileSystem, path: str, copy: str, **options: object) -> None:
        Path(copy).write_bytes(b"half")
        raise ConnectionError("the line went dead")

    monkeypatch.setattr(MemoryFileSystem, "get_file", broken)
    with pytest.raises(PlaceError, match=r"train-00000-of-00002.parquet: cannot be copied to .*the line went dead"):
        task_files(get_task("fake_qa"), URL)
    assert not any(COPY.rglob("*"))


def test_the_commands_of_data_work_on_a_remote_bank(
    store: MemoryFileSystem, template: Llama2Template, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.train_vocabulary(["--mixture=fake", "--vocab_size=430"]) == 0
    assert (COPY / "vocabulary/fake.model").is_file()
    assert command.cache_tasks(["--mixture=fake", "--max_length=400"]) == 0
    assert {folder.name.partition("-")[0] for folder in (COPY / "token_cache").iterdir()} == {"fake_qa", "fake_house"}
    assert command.cache_tasks(["--mixture=fake", "--max_length=400", "--cache_dir=elsewhere"]) == 0
    assert any(Path("elsewhere").iterdir())
    assert command.inspect_mixture(["--mixture=fake", "--max_length=400", f"--data_dir={URL}"]) == 0
    assert "fake_house" in capsys.readouterr().out
    # Nothing was written under the names of the URL's parts.
    assert {path.name for path in Path().iterdir()} == {"data", "elsewhere"}


def test_the_linter_and_the_conversion_take_urls(store: MemoryFileSystem, capsys: pytest.CaptureFixture[str]) -> None:
    assert lint_bank.main(["--workers=1", "--fail_on=never", "--report=all.json"]) == 0
    assert lint_bank.main([f"{URL}/fake_qa/*.parquet", "--workers=1", "--fail_on=never", "--report=qa.json"]) == 0
    rows = [json.loads(Path(name).read_text())["totals"]["rows"] for name in ("all.json", "qa.json")]
    assert rows == [85, 60]
    for source, count in ((f"{URL}/fake_qa", 60), (f"{URL}/*/train-00000*", 55), (f"{URL}/fake_house/", 25)):
        assert convert_bank.main([source, "--to=openai", "--output=out.jsonl", "--overwrite"]) == 0
        assert len(Path("out.jsonl").read_text().splitlines()) == count
    file = f"{URL}/fake_house/train-00000-of-00001.parquet"
    assert convert_bank.main([file, "--to=sharegpt", "--output=out.json"]) == 0
    assert json.loads(Path("out.json").read_text())[0]["task"] == "fake_house"


def test_what_is_missing_at_a_url_is_told_without_copying(store: MemoryFileSystem) -> None:
    data = DataConfig(mixture="fake", tokenizer="vocabulary/fake.model")
    (line,) = missing_requirements(data, RunConfig())
    assert line.startswith(f"tokenizer: {COPY}/vocabulary/fake.model; train it with")
    store.pipe(f"{URL}/vocabulary/fake.model", b"pieces")
    assert missing_requirements(data, RunConfig()) == []
    store.rm(f"{URL}/fake_house", recursive=True)
    (line,) = missing_requirements(data, RunConfig())
    assert line == f"bank: fake_house in {URL}; make it with: fake, then copy ./data to {URL}"
    assert not any(Path().iterdir())


def test_missing_files_are_told_with_the_remedy(store: MemoryFileSystem) -> None:
    store.rm(f"{URL}/fake_house", recursive=True)
    message = rf"'fake_house': no trajectories in {URL}/fake_house; .*make it with: fake, then copy ./data to {URL}\."
    with pytest.raises(DeclarationError, match=message):
        task_files(get_task("fake_house"), URL)
    with pytest.raises(DeclarationError, match=r"no trajectories in memory://no_bucket/fake_qa"):
        command.cache_tasks(["--mixture=fake", "--data_dir=memory://no_bucket/"])
    with pytest.raises(PlaceError, match=r"memory://bucket/nothing\*: no such files; expected .*\.parquet"):
        fetch_paths(["memory://bucket/nothing*"])
    with pytest.raises(PlaceError, match=r"memory://bucket/none: no such files"):
        convert_bank.main(["memory://bucket/none", "--to=openai", "--output=out.jsonl"])
    assert not Path("out.jsonl").exists()


def test_a_missing_library_is_told_with_the_remedy(store: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(PlaceError, match=r"gs://bucket/banks: the library that reads gs:// is missing; .*\[gcs\]"):
        task_files(get_task("fake_qa"), "gs://bucket/banks")
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(PlaceError, match=r"s3://bucket: the library that reads s3:// is missing; Install s3fs"):
        fetch_paths(["s3://bucket/banks"])


def test_an_unknown_protocol_gets_a_suggestion(store: MemoryFileSystem) -> None:
    with pytest.raises(PlaceError, match=r"gss://bucket/banks: cannot be read: .* Did you mean 'gs'"):
        task_files(get_task("fake_qa"), "gss://bucket/banks")


def test_a_place_that_may_not_be_read_is_one_line(store: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: MemoryFileSystem, *arguments: object, **options: object) -> None:
        raise RuntimeError("401 Anonymous caller\nmore words")

    monkeypatch.setattr(MemoryFileSystem, "glob", refused)
    with pytest.raises(PlaceError) as caught:
        task_files(get_task("fake_qa"), URL)
    assert str(caught.value) == (
        f"{URL}: cannot be read (401 Anonymous caller); expected a place that exists and that you may read."
    )


@pytest.mark.parametrize(
    "run",
    [
        lambda: command.cache_tasks(["--mixture=fake", f"--tokenizer={URL}", "--cache_dir=gs://b/cache"]),
        lambda: command.train_vocabulary(["--mixture=fake", "--out=gs://b/fake.model"]),
        lambda: lint_bank.main(["--redact=gs://b/copy"]),
        lambda: lint_bank.main(["--report=gs://b/lint.json"]),
        lambda: convert_bank.main([URL, "--to=openai", "--output=gs://b/out.jsonl"]),
        lambda: DataConfig(mixture="fake", tokenizer="x", cache_dir="gs://b/cache").cache_path(),
        lambda: local_path(data_place(), "AGENTBANK_DATA_DIR"),
    ],
)
def test_a_url_that_would_be_written_is_refused(store: MemoryFileSystem, run: object) -> None:
    with pytest.raises(PlaceError, match=r"only local files are written; expected a local path"):
        run()  # type: ignore[operator]
    assert not Path("gs:").exists()


def test_a_local_bank_imports_no_file_system(data_dir: Path) -> None:
    code = (
        "import sys\nfrom agentbank_jax.data.declarations import get_task\n"
        "from agentbank_jax.data.sources import task_files\n"
        "try:\n  task_files(get_task('starter_math'), 'none')\nexcept Exception as error:\n  print(error)\n"
        "print([name for name in ('fsspec', 'gcsfs', 'pyarrow') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "no trajectories in none/starter_math" in result.stdout
    assert result.stdout.splitlines()[-1] == "[]"
