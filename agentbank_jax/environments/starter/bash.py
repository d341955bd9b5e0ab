"""The held-out Bash family: twelve kinds of file tasks over generated trees, run in the sandbox."""

import hashlib
import random
from collections.abc import Callable

from agentbank_jax.environments import sandbox
from agentbank_jax.environments.base import ExpertStep, Instance, TextEnvironment
from agentbank_jax.environments.intercode_bash import PROTOCOL, BashProblem, InterCodeBashEnvironment
from agentbank_jax.environments.intercode_files import Entry
from agentbank_jax.environments.registry import EnvironmentSpec, check_split

NAME = "starter_bash"
TEST_SHARE = 8

DIRECTORIES = ("archive", "drafts", "garden", "letters", "music", "office", "recipes", "travel")
STEMS = (
    "apple", "bridge", "candle", "desert", "engine", "forest", "guitar", "harbor", "island", "jacket",
    "kettle", "lantern", "market", "needle", "orchard", "pepper", "river", "saddle", "tunnel", "violin",
)  # fmt: skip
WORDS = (
    "amber", "brave", "cloud", "dance", "early", "flame", "grape", "happy", "ivory", "jolly",
    "kind", "lemon", "maple", "noble", "olive", "pearl", "quiet", "rapid", "silver", "tiger",
)  # fmt: skip
EXTENSIONS = ("txt", "log", "md")


class _Tree:
    """A generated file tree under /work, and what its tasks choose from."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.directories = sorted(rng.sample(DIRECTORIES, 3))
        self.files: dict[str, bytes] = {}
        stems = rng.sample(STEMS, 12)
        for number, directory in enumerate(self.directories):
            for stem in stems[number * 4 : number * 4 + 3]:
                self.files[f"/work/{directory}/{stem}.{rng.choice(EXTENSIONS)}"] = self._text()
            if rng.random() < 0.4:
                self.files[f"/work/{directory}/{stems[number * 4 + 3]}.txt"] = b""
        self.files["/work/sales.csv"] = self._table()

    def _text(self) -> bytes:
        lines = [" ".join(self.rng.choices(WORDS, k=self.rng.randint(2, 4))) for _ in range(self.rng.randint(3, 8))]
        return ("\n".join(lines) + "\n").encode()

    def _table(self) -> bytes:
        names = self.rng.sample(WORDS, self.rng.randint(4, 7))
        return ("item,count\n" + "".join(f"{name},{self.rng.randint(1, 90)}\n" for name in names)).encode()

    @property
    def entries(self) -> tuple[Entry, ...]:
        directories = [Entry(path=f"/work/{name}", mode=0o755) for name in self.directories]
        files = [Entry(path=path, content=content) for path, content in sorted(self.files.items())]
        return (Entry(path="/work", mode=0o755), *directories, *files)

    def directory(self) -> str:
        return f"/work/{self.rng.choice(self.directories)}"

    def file(self) -> str:
        """A text file that is not empty."""
        return self.rng.choice([path for path, content in sorted(self.files.items()) if content and "csv" not in path])

    def word(self, path: str) -> str:
        """A word that occurs in the file."""
        return self.rng.choice(sorted(set(self.files[path].decode().split())))


# Each kind of task: from a tree to the query and the gold command.
def _count_by_extension(tree: _Tree) -> tuple[str, str]:
    extension = tree.rng.choice(EXTENSIONS)
    return f"Count the .{extension} files under /work.", f"find /work -type f -name '*.{extension}' | wc -l"


def _largest(tree: _Tree) -> tuple[str, str]:
    return (
        "Print the path of the largest file under /work.",
        "find /work -type f -printf '%s %p\\n' | sort -k1,1nr -k2,2 | head -n 1 | cut -d ' ' -f 2",
    )


def _files_with_word(tree: _Tree) -> tuple[str, str]:
    word = tree.word(tree.file())
    return f"List, sorted, the files under /work that contain {word}.", f"grep -rlw {word} /work | sort"


def _count_word(tree: _Tree) -> tuple[str, str]:
    path = tree.file()
    word = tree.word(path)
    return f"Count the lines of {path} that contain {word}.", f"grep -cw {word} {path}"


def _count_lines(tree: _Tree) -> tuple[str, str]:
    path = tree.file()
    return f"Print the number of lines of {path}.", f"wc -l < {path}"


def _move(tree: _Tree) -> tuple[str, str]:
    path = tree.file()
    target = tree.rng.choice([f"/work/{name}" for name in tree.directories if name not in path])
    return f"Move {path} into {target}.", f"mv {path} {target}/"


def _rename(tree: _Tree) -> tuple[str, str]:
    path = tree.file()
    name = f"{path.rpartition('/')[0]}/{tree.rng.choice(WORDS)}.txt"
    return f"Rename {path} to {name}.", f"mv {path} {name}"


def _copy_by_extension(tree: _Tree) -> tuple[str, str]:
    path = tree.file()
    extension = path.rpartition(".")[2]
    return (
        f"Make the directory /work/backup and copy every .{extension} file under /work into it.",
        f"mkdir /work/backup && cp $(find /work -type f -name '*.{extension}') /work/backup/",
    )


def _delete_empty(tree: _Tree) -> tuple[str, str]:
    # So that there is something to delete.
    tree.files[f"{tree.directory()}/empty.txt"] = b""
    return "Delete all empty files under /work.", "find /work -type f -empty -delete"


def _replace(tree: _Tree) -> tuple[str, str]:
    path = tree.file()
    old = tree.word(path)
    new = tree.rng.choice([word for word in WORDS if word != old])
    return (
        f"Write {path} with {old} replaced by {new} to /work/changed.txt.",
        f"sed 's/\\b{old}\\b/{new}/g' {path} > /work/changed.txt",
    )


def _sort(tree: _Tree) -> tuple[str, str]:
    path = tree.file()
    return f"Write the sorted lines of {path} to /work/sorted.txt.", f"sort {path} > /work/sorted.txt"


def _sum_column(tree: _Tree) -> tuple[str, str]:
    return (
        "Print the sum of the count column of /work/sales.csv.",
        "awk -F, 'NR > 1 { sum += $2 } END { print sum }' /work/sales.csv",
    )


KINDS: tuple[Callable[[_Tree], tuple[str, str]], ...] = (
    _count_by_extension,
    _largest,
    _files_with_word,
    _count_word,
    _count_lines,
    _move,
    _rename,
    _copy_by_extension,
    _delete_empty,
    _replace,
    _sort,
    _sum_column,
)


def _instance(split: str, index: int) -> Instance:
    check_split(split)
    rng = random.Random(f"{NAME}/{split}/{index}")
    while True:
        tree = _Tree(rng)
        kind = KINDS[index % len(KINDS)]
        query, gold = kind(tree)
        entries = tree.entries
        facts = (query, gold, [(entry.path, entry.content, entry.mode) for entry in entries])
        fingerprint = hashlib.sha256(repr(facts).encode()).hexdigest()
        if (int(fingerprint, 16) % TEST_SHARE == 0) != (split == "test"):
            continue
        plan = (
            ExpertStep(action="```bash\nls -R /work\n```", intent="look"),
            ExpertStep(action=f"```bash\n{gold}\n```", intent="solve"),
            ExpertStep(action="submit", intent="submit"),
        )
        problem = BashProblem(query=query, gold=gold, entries=entries, plan=plan)
        return Instance(id=f"{NAME}/{split}/{index}", fingerprint=fingerprint, payload=problem)


def _make() -> TextEnvironment:
    return InterCodeBashEnvironment()


def _available() -> str | None:
    reason = sandbox.available()
    return None if reason is None else f"Bash tasks need a sandbox: {reason}"


SPECS: tuple[EnvironmentSpec, ...] = (
    EnvironmentSpec(
        name=NAME,
        skill="programming",
        action_space="continuous",
        max_steps=10,
        protocol=PROTOCOL,
        instruction="Solve the task with Bash. Action: a fenced bash block, which is run and its output shown. "
        "Action: submit when the last output or the files are what was asked for.",
        make=_make,
        instance=_instance,
        requires=("bubblewrap",),
        held_out=True,
        available=_available,
    ),
)

THOUGHTS: dict[str, tuple[str, ...]] = {
    "look": (
        "I first look at the files.",
        "Let me see what is in /work.",
        "I list the files to begin.",
        "What files are there? I list them.",
        "I start by listing /work.",
        "First I see the file tree.",
    ),
    "solve": (
        "Now I can do what is asked.",
        "I know the files; I run the command.",
        "One command does this.",
        "I write the command for the task.",
        "With these files, this command solves it.",
        "This command should do it.",
    ),
    "submit": (
        "That is done. I submit.",
        "The task is solved, so I submit.",
        "This is the result. I submit it.",
        "Nothing is left to do. Submit.",
        "The output is as asked. I submit.",
        "I am done and submit.",
    ),
}
