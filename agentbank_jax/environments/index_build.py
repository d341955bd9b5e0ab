"""Building an index of passages: read, cut, left out where they are there already, written whole or not at all."""

import contextlib
import errno
import hashlib
import importlib.metadata
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from agentbank_jax.environments.passage_files import Article, read_articles
from agentbank_jax.environments.passage_index import (
    MANIFEST,
    TANTIVY,
    IndexManifest,
    make_schema,
    register_analyzer,
    title_key,
)
from agentbank_jax.environments.sentences import split_passages
from agentbank_jax.errors import AgentBankError, first_line
from agentbank_jax.progress import Extent
from agentbank_jax.whole_files import unwritten, whole_folder

MAX_WORDS = 150

_HEAP_BYTES = 256_000_000
_MAX_THREADS = 4


def build_index(
    files: Sequence[Path],
    output: Path,
    *,
    max_words: int = MAX_WORDS,
    overwrite: bool = False,
    progress: Callable[[float, int], None] | None = None,
) -> IndexManifest:
    """Writes the index of the passages of `files`; returns what it holds.

    Args:
      files: in any of the layouts of `passage_files`, in this order.
      output: the folder; it appears when it is whole.
      max_words: the longest passage, in words; a longer text is cut where a paragraph or a sentence ends.
      overwrite: replace an index that is there.
      progress: told how much of the files has been read, 0 to 1, and how many passages that is.

    Raises:
      AgentBankError: a file cannot be read, there is nothing in the files, or the folder cannot be written.
    """
    if max_words < 1:
        raise AgentBankError(f"--max_words={max_words}; expected at least 1.")
    _check_output(output, overwrite)
    try:
        with whole_folder(output) as folder:
            with _Writer(folder, max_words) as writer:
                extent = Extent(files)
                sources = []
                for position, path in enumerate(files):
                    before, size = writer.passages, path.stat().st_size
                    for article, part in read_articles(path):
                        writer.add(article)
                        if progress:
                            progress(extent.fraction(position, part), writer.passages)
                    sources.append({"file": path.name, "bytes": size, "passages": writer.passages - before})
                if not writer.passages:
                    raise AgentBankError(f"{files[0]}: the files hold no passage; expected at least one.")
            manifest = writer.manifest(sources)
            manifest.write(folder)
            for path in (folder / TANTIVY).iterdir():
                # tantivy keeps some of its files to whoever made them.
                path.chmod((folder / MANIFEST).stat().st_mode)
    except OSError as error:
        raise unwritten(output, error.strerror, "choose another folder with --output") from None
    return manifest


def _check_output(output: Path, overwrite: bool) -> None:
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    if not (output / MANIFEST).is_file():
        raise AgentBankError(f"--output={output}: exists and is no index; name another folder.")
    if not overwrite:
        raise AgentBankError(f"--output={output}: an index is there already; name another folder, or add --overwrite.")


class _Writer:
    """Adds passages to an index in a folder, each title and text once; a context manager."""

    def __init__(self, folder: Path, max_words: int) -> None:
        import tantivy

        (folder / TANTIVY).mkdir()
        self.passages, self._articles, self._duplicates = 0, 0, 0
        self._max_words = max_words
        self._document = tantivy.Document
        self._content = hashlib.sha256()
        self._seen: set[bytes] = set()
        self._key: str | None = None
        index = tantivy.Index(make_schema(), path=str(folder / TANTIVY))
        register_analyzer(index)
        # Which thread takes which passage is chance; `number`, by which equal ones are ordered, is not.
        threads = min(_MAX_THREADS, len(os.sched_getaffinity(0)))
        self._writer = index.writer(heap_size=_HEAP_BYTES, num_threads=threads)

    def add(self, article: Article) -> None:
        """Adds the passages of an article.

        Raises:
          OSError: they cannot be written.
        """
        title = _writable(" ".join(article.title.split()))
        key = title_key(title)
        for cut in split_passages(article.paragraphs, self._max_words):
            text = _writable(cut)
            content = f"{title}\n{text}\n".encode()
            digest = hashlib.blake2b(content, digest_size=12).digest()
            if digest in self._seen:
                self._duplicates += 1
                continue
            self._seen.add(digest)
            self._content.update(content)
            with _io_errors():
                self._writer.add_document(self._document(title=title, text=text, key=key, number=self.passages))
            self._articles += key != self._key
            self._key = key
            self.passages += 1

    def __enter__(self) -> "_Writer":
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        with _io_errors() if kind is None else contextlib.suppress(ValueError):
            if kind is None:
                self._writer.commit()
            else:
                self._writer.rollback()
            # After this nothing more is written into the folder, which can be renamed, or deleted.
            self._writer.wait_merging_threads()

    def manifest(self, sources: Sequence[dict[str, Any]]) -> IndexManifest:
        """What the index holds."""
        return IndexManifest(
            content=self._content.hexdigest(),
            passages=self.passages,
            articles=self._articles,
            duplicates=self._duplicates,
            max_words=self._max_words,
            tantivy=importlib.metadata.version("tantivy"),
            sources=tuple(sources),
        )


def _writable(text: str) -> str:
    # JSON can hold half a surrogate pair, which UTF-8 cannot.
    return text.encode("utf-8", "replace").decode("utf-8")


@contextlib.contextmanager
def _io_errors() -> Iterator[None]:
    # tantivy's errors are all of one type.
    try:
        yield
    except ValueError as error:
        raise OSError(errno.EIO, first_line(error)) from None
