"""Benchmarks of the skill `web`."""

from agentbank_jax.environments import (
    browser_process,
    mind2web,
    miniwob,
    webarena,
    webarena_tasks,
    webshop_published,
)
from agentbank_jax.environments.benchmark_data import PublishedData
from agentbank_jax.environments.instructions import FORM
from agentbank_jax.environments.registry import EnvironmentSpec

BROWSER = "a Chromium and its driver (Debian: chromium, chromium-driver)"

MIND2WEB = PublishedData(
    name="mind2web",
    # Of the three test sets the one with other tasks on the websites of training.
    files={"test": ("test_task/*.json", "data/test_task/*.json"), "train": ("train/*.json", "data/train/*.json")},
    read=mind2web.read_instances,
    source="the dataset osunlp/Mind2Web on Hugging Face (test.zip unpacked: test_task)",
    train_source="the dataset osunlp/Mind2Web on Hugging Face (data/train)",
)

WEBARENA = PublishedData(
    name="webarena",
    files={"test": ("test.raw.json", "config_files/test.raw.json")},
    read=webarena_tasks.read_instances,
    source="github.com/web-arena-x/webarena (config_files/test.raw.json)",
    engine=lambda: webarena_tasks.missing_sites() or browser_process.missing(),
)

SPECS = (
    EnvironmentSpec(
        **WEBARENA.bound(),
        skill="web",
        action_space="discrete",
        max_steps=webarena.MAX_STEPS,
        protocol=webarena.protocol(),
        instruction=(
            f"Reach the objective on the web page. {FORM} Actions: click [number], type [number] [text], press [keys], "
            "scroll [down], goto [url], go_back, stop [answer]."
        ),
        licence="Apache-2.0",
        requires=(
            "WebArena's test.raw.json, from its publisher",
            "its sites, self-hosted and named by SHOPPING, REDDIT, GITLAB, …",
            "the package selenium (the extra environments)",
            BROWSER,
        ),
        make=webarena.WebArena,
        at_once=2,
    ),
    EnvironmentSpec(
        **MIND2WEB.bound(),
        skill="web",
        action_space="discrete",
        max_steps=40,
        protocol=mind2web.PROTOCOL,
        instruction=(
            f"Choose the next operation on the web page. {FORM} The action is CLICK [number], TYPE [number] text or "
            "SELECT [number] option."
        ),
        licence="CC-BY-4.0",
        requires=("Mind2Web's test_task, from its publisher",),
        make=mind2web.Mind2Web,
    ),
    EnvironmentSpec(
        name="webshop",
        skill="web",
        action_space="discrete",
        max_steps=10,
        protocol=webshop_published.protocol(),
        instruction=(f"Buy what is asked for in the web shop. {FORM} The action is search[keywords] or click[value]."),
        licence="MIT",
        requires=("WebShop's catalogue, attributes and goals, from its publisher",),
        make=webshop_published.PublishedWebShop,
        instance=webshop_published.WEBSHOP.instance,
        size=webshop_published.WEBSHOP.size,
        data_version=webshop_published.version,
        available=webshop_published.WEBSHOP.available,
        engine=webshop_published.WEBSHOP.engine,
    ),
    EnvironmentSpec(
        name="miniwob",
        skill="web",
        action_space="discrete",
        max_steps=miniwob.MAX_STEPS,
        protocol=miniwob.protocol(),
        instruction=(
            "Do what the web page asks. Actions: click[number], type[number, text], focus[number], hover[number], "
            f"press[key], drag[number, number], scroll[down]. {FORM}"
        ),
        licence="MIT",
        requires=("the packages miniwob and selenium (the extra environments)", BROWSER),
        held_out=True,
        make=miniwob.MiniWob,
        instance=miniwob.make_instance,
        size=miniwob.size,
        # About 1 GB each.
        at_once=2,
        available=miniwob.available,
    ),
)
