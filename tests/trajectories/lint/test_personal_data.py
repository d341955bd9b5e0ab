"""Personal data is found by form and check digit; numbers, code and versions are left alone."""

import json
import os
import string
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentbank_jax.trajectories.lint.personal_data import KINDS, find_personal_data, mask
from agentbank_jax.trajectories.lint.redaction import PLACEHOLDERS, redact_text
from agentbank_jax.trajectories.rows.files import RowReader
from tests.trajectories.lint.made_rows import GOOD_TURNS, found, lint_rows, make_row

PERSONAL = [
    ("email", "ann.lee+x@mail.example.org"),
    ("email", "a@b.com"),
    ("email", "o_neil-99@uni-mainz.de"),
    ("phone", "(212) 555-0187"),
    ("phone", "212-555-0187"),
    ("phone", "212.555.0187"),
    ("phone", "1-800-273-8255"),
    ("phone", "+44 20 7946 0958"),
    ("phone", "+49 (30) 901820"),
    ("phone", "+14155550132"),
    ("card", "4111 1111 1111 1111"),
    ("card", "4111111111111111"),
    ("card", "5500-0055-5555-5559"),
    ("card", "3782 822463 10005"),
    ("iban", "DE89 3704 0044 0532 0130 00"),
    ("iban", "GB29NWBK60161331926819"),
    ("ssn", "536-90-4399"),
    ("ip", "93.184.216.34"),
    ("ip", "2606:2800:220:1:248:1893:25c8:1946"),
]

HARMLESS = [
    "DE88 3704 0044 0532 0130 00",  # IBAN, wrong check digits
    "4111 1111 1111 1112",  # card, wrong check digit
    "4111 11111111 1111",  # no issuer groups a card like that
    "000-12-3456 and 666-12-3456 and 900-12-3456",  # never given out as social-security numbers
    "123-456-7890",  # no area code
    "version 10.12.14.16, v1.22.33.44, numpy==1.26.44.12, foo-1.2.33.44",
    "Section 1.2.3.4 and 127.0.0.1 and 192.168.10.12 and 203.0.113.7",
    "10.0.19041.1288",
    "std::vector<int> a::b::c::d 12:30:45 2001:db8::1:2:3:4",
    "x@w.sum() + X@beta.values @decorator a @ b.T y@w.T.shape",
    "git@github.com:user/name.git",
    "https://host.org:8080/path@2x.png http://a.b/c?d=e:f",
    "2023-10-05 10:20:30.123456 05/10/2023 1699999999999 1699999999999999",
    "$1,234,567,890.12 and 1 234 567 890 and 12 345 678",
    "max_so_far = -2147483648 and 4294967296",
    "28980 - 18480 = <<28980-18480=10500>>10500",
    "x = 27985 35000 - x = 6985",
    "uploads/sites/2067/2016/10/Fluid-1.pdf",
    "0.1 + 0.2 = 0.30000000000000004, pi = 3.14159265358979323846",
    "ISBN 978-0-306-40615-7, B07ZPKBL9V, SKU 88-1234-55-678901, part 4111-22",
    "[[1, 2, 3], [415, 555, 2671]] and (415, 555, 2671) and 415 555 2671",
    "Thought: now\nAction: 415-555-2671\n",
    "Action: 4111111111111111 * 2",
    "2 * 4111111111111111 and 4111111111111111 / 3",
    "d41d8cd98f00b204e9800998ecf8427e 550e8400-e29b-41d4-a716-446655440000",
]


@pytest.mark.parametrize(("kind", "text"), PERSONAL)
@pytest.mark.parametrize(
    "frame", ["{}", "It is {}.", "({})", "a:\t{}\nb", "<td>{}</td>", "Contact: {}, thanks", '"{}"']
)
def test_each_kind_is_found_whole_wherever_it_stands(kind: str, text: str, frame: str) -> None:
    whole = frame.format(text)
    assert [(each.kind, whole[each.start : each.end]) for each in find_personal_data(whole)] == [(kind, text)]


@pytest.mark.parametrize("text", HARMLESS)
def test_what_only_looks_like_it_is_left_alone(text: str) -> None:
    assert find_personal_data(text) == []


def test_a_word_for_telephones_makes_other_groupings_count() -> None:
    assert find_personal_data("555-123-4567") == []
    assert [each.kind for each in find_personal_data("Phone: 555-123-4567")] == ["phone"]
    assert [each.kind for each in find_personal_data("tel. 030 901820", "DE")] == ["phone"]
    assert find_personal_data("model 030 901820", "DE") == []


def test_the_password_in_a_url_is_found_without_the_host() -> None:
    text = "git clone https://bob:s3cret@host.org/x"
    (match,) = find_personal_data(text)
    assert (match.kind, text[match.start : match.end]) == ("credentials", "bob:s3cret")


def test_an_iban_ends_before_the_capitals_that_follow() -> None:
    text = "IBAN DE89 3704 0044 0532 0130 00 AND MORE"
    (match,) = find_personal_data(text)
    assert text[match.start : match.end] == "DE89 3704 0044 0532 0130 00"


@given(st.integers(-(10**12), 10**12))
def test_whole_numbers_are_no_personal_data(number: int) -> None:
    assert find_personal_data(f"It is {number}.") == find_personal_data(f"{number:,}") == []


@given(st.decimals(-(10**9), 10**9, places=2), st.integers(1, 17))
def test_prices_and_decimals_are_no_personal_data(price: object, places: int) -> None:
    assert find_personal_data(f"${price} or {float(price):.{places}f}") == []  # type: ignore[arg-type]


@given(st.datetimes(), st.sampled_from(["%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y %H:%M:%S", "%Y%m%dT%H%M%S.%f", "%c"]))
def test_dates_are_no_personal_data(moment: object, form: str) -> None:
    assert find_personal_data(f"On {moment:{form}} it was.") == []


@given(st.lists(st.integers(0, 400), min_size=2, max_size=5), st.sampled_from(["v{}", "version {}", "pkg=={}", "p-{}"]))
def test_versions_are_no_personal_data(parts: list[int], frame: str) -> None:
    assert find_personal_data(frame.format(".".join(map(str, parts)))) == []


@given(st.lists(st.text(string.ascii_uppercase, min_size=2, max_size=4) | st.integers(0, 99999).map(str), max_size=4))
def test_product_numbers_are_no_personal_data(parts: list[str]) -> None:
    # Groups of digits alone, such as 212-555-0187, are what telephone numbers look like too.
    code = "-".join(["SKU", *parts])
    assert find_personal_data(f"item {code}, [{code}]") == []


@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=6), st.sampled_from([" + ", " - ", " * ", " / ", "+", "*"]))
def test_arithmetic_is_no_personal_data(numbers: list[int], operator: str) -> None:
    expression = operator.join(map(str, numbers))
    assert find_personal_data(f"Thought: so\nAction: {expression}") == []
    assert find_personal_data(f"<<{expression}=7>>7") == []


@given(st.lists(st.integers(0, 9), min_size=15, max_size=15))
def test_exactly_one_check_digit_makes_a_card(digits: list[int]) -> None:
    body = "4" + "".join(map(str, digits[1:]))
    cards = [last for last in range(10) if find_personal_data(f"card {body}{last}")]
    # Luhn, ISO/IEC 7812-1: from the right, every second digit doubled, its digits summed.
    total = sum(
        sum(divmod(2 * int(digit), 10)) if place % 2 == 0 else int(digit) for place, digit in enumerate(body[::-1])
    )
    assert cards == [-total % 10]


@given(st.text(string.digits, min_size=18, max_size=18), st.integers(0, 99))
def test_exactly_the_right_check_digits_make_an_iban(account: str, check: int) -> None:
    # ISO 13616: country and check digits go last, letters count from A = 10, the rest modulo 97 is 1.
    is_right = int(f"{account}1314{check:02}") % 97 == 1
    assert [each.kind for each in find_personal_data(f"to DE{check:02}{account} now")] == ["iban"] * is_right


PIECES = st.sampled_from(
    [text for _, text in PERSONAL]
    + HARMLESS
    + [
        "https://u:p@h.org",
        "phone ",
        " ",
        "-",
        ".",
        "+",
        "1",
        "@",
        "a",
        "\n",
        "Action: ",
        "(",
        ")",
        "/",
        "=",
        *PLACEHOLDERS.values(),
    ]
)


@settings(max_examples=300)
@given(st.lists(PIECES, max_size=8).map("".join) | st.text())
def test_redacted_text_holds_nothing_and_redacting_again_changes_nothing(text: str) -> None:
    redacted, counts = redact_text(text)
    assert find_personal_data(redacted) == []
    assert redact_text(redacted) == (redacted, {})
    assert (redacted == text) == (not find_personal_data(text)) == (not counts)


def test_what_stands_between_is_kept() -> None:
    text = "Mail ann@example.org or call (212) 555-0187; not 3 * 4."
    assert redact_text(text) == ("Mail [EMAIL] or call [PHONE]; not 3 * 4.", {"email": 1, "phone": 1})


def test_findings_name_the_turn_or_the_column_and_never_the_data(tmp_path: Path) -> None:
    rows = [
        make_row(("human", f"{GOOD_TURNS[0][1]} {text}"), *GOOD_TURNS[1:], id=str(number))
        for number, (_, text) in enumerate(PERSONAL)
    ]
    rows.append(make_row(id="last", info={"by": ["ann@example.org"]}))
    result = lint_rows(tmp_path, rows, max_examples=100)
    for kind in set(KINDS) - {"credentials"}:
        findings = result.tally.examples[f"personal-{kind}"]
        assert len(findings) == sum(each == kind for each, _ in PERSONAL) + (kind == "email")
        assert not [f for f in findings for _, text in PERSONAL if text in f.detail]
    last = result.tally.examples["personal-email"][-1]
    assert (last.field, last.detail) == ("info", f"{mask('ann@example.org')} beside the turns")
    assert set(found(result)) - {"near-duplicate"} == {f"personal-{kind}" for kind, _ in PERSONAL}
    assert "ann@" not in json.dumps([f.detail for each in result.tally.examples.values() for f in each])


def test_no_text_of_the_public_benchmarks_is_taken_for_personal_data() -> None:
    if not os.environ.get("AGENTBANK_TEST_DATA"):
        pytest.skip("AGENTBANK_TEST_DATA is unset; it names a folder with the benchmarks' files")
    folder = Path(os.environ["AGENTBANK_TEST_DATA"])
    texts = [
        text
        for name in ("gsm8k/train.jsonl.gz", "math/math_dev.jsonl.gz", "mathqa/mathqa_dev_half.jsonl")
        for _, row in RowReader(folder / name)
        for text in row.values()
        if isinstance(text, str)
    ]
    assert len(texts) > 20_000
    assert [text[each.start : each.end] for text in texts for each in find_personal_data(text)] == []
