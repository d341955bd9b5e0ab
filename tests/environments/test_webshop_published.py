"""WebShop's files: what is read of them, how it is found, and that the oracle buys what was asked for."""

import json
import os
import pickle
import random
import sys
import types
from pathlib import Path

import pytest

from agentbank_jax.environments import json_list, registry, webshop_files, webshop_published
from agentbank_jax.environments.webshop_files import find_files, goals_of, read_products
from agentbank_jax.environments.webshop_index import StoredCatalogue, index_folder, read_goals
from agentbank_jax.environments.webshop_taggers import TAGGER_VARIABLE, SpacyTagger, TitleWords, chosen_tagger
from agentbank_jax.errors import AgentBankError
from tests.environments.made_webshop import write_webshop

SPEC = registry.get("webshop")


@pytest.fixture
def made(own_benchmarks: Path) -> Path:
    return write_webshop(own_benchmarks / "webshop")


def products_of(folder: Path):
    products, attributes, _ = find_files(folder)
    return list(read_products(products, json.loads(attributes.read_text())))


def test_the_oracle_buys_what_was_asked_for_in_every_instance(made: Path) -> None:
    assert SPEC.available() is None
    assert SPEC.size("test") == 20, "one goal for every third product; those without attributes are left out"
    environment = SPEC.make()
    for index in range(SPEC.size("test")):
        instance = SPEC.instance("test", index)
        first, _ = environment.reset(options={"instance": pickle.loads(pickle.dumps(instance))})
        assert first.startswith("WebShop [SEP] Instruction: [SEP] I need an easy clean")
        for step in environment.expert_steps():
            _, reward, terminated, _, info = environment.step(step.action)
            assert not info["invalid_action"], step
        assert (reward, terminated, info["success"]) == (1.0, True, True), instance.id


def test_products_have_the_published_fields(made: Path) -> None:
    products = {product.id: product for product in products_of(made)}
    assert len(products) == 60, "no id that is none or too long, and none twice"
    first = products["B000000000"]
    assert first.title.endswith("Cotton Apron for Home, Model 0") and first.query == "cotton aprons"
    assert first.category == ("Home & Kitchen", "Kitchen & Dining", "Aprons")
    assert first.options == (
        ("color", ("navy blue", "dark red", "black", "snow white")),
        ("size", ("small", "large", "6.5 | m")),
    )
    assert (first.price, first.price_tag, first.description) == (12.99, "$12.99", "")
    assert first.features == ("Easy to clean apron",)
    assert first.attributes == ("cotton apron", "easy clean")
    between = products["B000000002"]
    assert between.price_tag == "$10.0 to $30.0" and 10 <= between.price <= 30
    assert (products["B000000003"].price, products["B000000003"].price_tag) == (100.0, "$100.0")


def test_the_limit_is_the_higher_of_two_of_the_next_four_tens_above_the_price(made: Path) -> None:
    instructions = json.loads((made / "items_human_ins.json").read_text())
    seen = set()
    for product in products_of(made):
        for goal in goals_of(product, instructions.get(product.id, [])):
            if product.price == 995.0:
                assert goal.price_upper == webshop_files.NO_LIMIT and "price" not in goal.instruction
                continue
            assert goal.price_upper % 10 == 0 and 10 < goal.price_upper - product.price <= 40, "the higher of two"
            assert goal.instruction.endswith(f", and price lower than {goal.price_upper:.2f} dollars")
            seen.add(goal.price_upper)
            assert list(goals_of(product, instructions[product.id])) == [goal], "drawn the same each time"
    assert len(seen) > 3


def test_goals_are_shuffled_as_published_and_split_at_500_and_1500(own_benchmarks: Path) -> None:
    made = write_webshop(own_benchmarks / "webshop", products=4700)
    # 4,700 products, an instruction for every third.
    assert SPEC.size("test") == 500 and SPEC.size("train") == 1567 - 1500
    order = list(range(1567))
    random.seed(233)
    random.shuffle(order)
    asins = [f"B0{3 * number:08d}" for number in order]
    assert [asin for _, asin in read_goals(made)] == asins
    ids = {SPEC.instance(split, 0).id for split in ("test", "train")}
    assert ids == {"webshop/test/0", "webshop/train/1500"}


def test_pages_show_published_prices_and_search_begins_anywhere(made: Path) -> None:
    environment = SPEC.make()
    environment.reset(options={"instance": SPEC.instance("test", 0)})
    results = environment.step("search[steel apron]")[0]
    assert "Page 1 (Total results: " in results and "$10.0 to $30.0" in results
    assert results.count("B0000") == 10
    observation, *_, info = environment.step("search[steel kettle]")
    assert not info["invalid_action"] and "Kettle" in observation


def test_search_finds_by_title_description_bullet_and_option(made: Path) -> None:
    catalogue = StoredCatalogue(made)
    assert len(catalogue) == 60
    assert all("Kettle" in product.title for product in catalogue.search("kettles", 50))
    assert len(catalogue.search("navy", 50)) == 45, "options count"
    assert catalogue.search("gift", 50) == (), "the second bullet does not"
    assert catalogue.search("!?", 50) == ()
    assert len(catalogue.search("apron " * 100_000, 3)) == 3
    product = catalogue.get("b000000001")
    assert product in products_of(made) and catalogue.get("B0NONE") is None


def test_the_index_is_made_once_and_again_when_a_file_changes(made: Path) -> None:
    place = index_folder(made)
    inode = place.stat().st_ino
    assert index_folder(made).stat().st_ino == inode
    os.utime(made / "items_human_ins.json", (1, 1))
    assert index_folder(made) != place
    assert [path.name for path in place.parent.iterdir() if path.name.startswith("making_")] == []


def test_the_full_catalogue_is_taken_before_the_small_one(made: Path) -> None:
    write_webshop(made, products=9, suffix="")
    assert [path.name for path in find_files(made)] == [
        "items_shuffle.json", "items_ins_v2.json", "items_human_ins.json",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("items_shuffle_1000.json", "{}", "expected a JSON list of objects"),
        ("items_shuffle_1000.json", "[1]", "row 0 is 1; expected an object"),
        ("items_shuffle_1000.json", '[{"asin": "B0", "name": "x"}', "row 1 is broken off"),
        ("items_shuffle_1000.json", '[{"asin": 3}]', "row 0: asin is 3; expected a string"),
        ("items_shuffle_1000.json", '[{"asin": "B0"}]', "row 0: name is None; expected a string"),
        ("items_ins_v2_1000.json", "{", "cannot be read as JSON"),
        ("items_human_ins.json", "[", "cannot be read as JSON"),
    ],
)
def test_a_malformed_file_is_named_with_its_row(made: Path, name: str, content: str, message: str) -> None:
    (made / name).write_text(content)
    with pytest.raises(AgentBankError, match=message) as caught:
        SPEC.size("test")
    assert name in str(caught.value)
    assert list((made / "agentbank_index").iterdir()) == [], "nothing half-made stays"


def test_a_missing_file_is_named_with_its_source(made: Path) -> None:
    (made / "items_ins_v2_1000.json").unlink()
    assert "holds no items_ins_v2.json or items_ins_v2_1000.json" in (SPEC.available() or "")


def test_rows_are_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_list, "_CHUNK", 7)
    rows = [{"a": number, "b": "],{" * number} for number in range(20)]
    (tmp_path / "rows.json").write_text(json.dumps(rows, indent=2))
    assert list(json_list.read_rows(tmp_path / "rows.json")) == rows


def test_the_version_follows_goals_and_catalogue(made: Path) -> None:
    versions = {webshop_published.version()}
    path = made / "items_shuffle_1000.json"
    path.write_text(path.read_text() + "\n")
    versions.add(webshop_published.version())
    path = made / "items_human_ins.json"
    path.write_text(path.read_text().replace("I need", "I want"))
    versions.add(webshop_published.version())
    assert len(versions) == 3


def test_title_words_are_words_that_may_be_nouns() -> None:
    assert TitleWords().nouns("The Soft 2-Pack of Cotton Towels, for Bath") == ("pack", "cotton", "towels", "bath")


def test_a_spacy_model_is_used_where_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen_tagger().name == "title_words/1" in webshop_published.protocol()
    monkeypatch.setenv(TAGGER_VARIABLE, "made_model")
    token = types.SimpleNamespace
    tokens = [token(text="Red", pos_="ADJ"), token(text="Towel", pos_="NOUN"), token(text="Acme", pos_="PROPN")]
    monkeypatch.setitem(sys.modules, "spacy", types.SimpleNamespace(load=lambda name: lambda text: tokens))
    tagger = chosen_tagger()
    assert isinstance(tagger, SpacyTagger) and tagger.nouns("Red Towel Acme") == ("towel", "acme")
    assert webshop_published.protocol().endswith("nouns=spacy:made_model)")


def test_a_named_model_that_is_absent_is_a_reason_not_to_run(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TAGGER_VARIABLE, "made_model")
    assert "made_model" in (SPEC.available() or "")
