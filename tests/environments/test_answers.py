"""Hand-worked cases of each rule of comparison; see the module's docstring for the rules."""

from collections.abc import Iterator

import pytest

from agentbank_jax.environments.answers import THEOREMQA_TOLERANCE, AnswerJudge, Kind, PublishedAnswer, number_kind


@pytest.fixture(scope="module")
def judge() -> Iterator[AnswerJudge]:
    judge = AnswerJudge()
    yield judge
    judge.close()


def answer(kind: Kind, text: str) -> PublishedAnswer:
    return PublishedAnswer(kind=kind, text=text)


def measured(text: str) -> PublishedAnswer:
    return PublishedAnswer(kind=number_kind(text), text=text, mint_tolerance=THEOREMQA_TOLERANCE)


def choice(letter: str, *values: str) -> PublishedAnswer:
    return PublishedAnswer(kind="choice", text=letter, options=tuple(zip("abcde", values, strict=False)))


# Published → the same in other words.
RIGHT: dict[str, list[str]] = {
    r"\frac{1}{2}": ["0.5", ".5", r"\dfrac12", "1/2", "50%", r"\boxed{\frac{1}{2}}", "x = 1/2", "½", r"\frac{2}{4}"],
    r"44\%": ["44", "44%", "0.44", r"44\%", "44 percent"],
    r"\$16,\!386.16": ["16386.16", "$16,386.16", "16,386.16 dollars"],
    r"575\text{ students}": ["575", "575 students", r"575 \text{ people}"],
    "15,600": ["15600", "15{,}600"],
    r"6\frac15": ["31/5", "6.2", "6 1/5"],
    r"864 \mbox{ inches}^2": ["864", "864 in^2", "864 square inches"],
    r"144 \mbox{ m}^3": ["144 m^3", "144 cubic meters"],
    r"45^\circ": ["45", "45°", "45 degrees"],
    "-5": ["−5", "- 5", "x=-5", "The answer is -5."],
    "5": ["x=5", "5.", "5.0", r"\sqrt{25}", "5 cm"],
    r"\text{Monday}": ["Monday", "monday"],
    r"\text{(C)}": ["C", "(C)"],
    r"\text{A,D}": ["A, D", "A and D"],
    "4,6,14,15": ["15, 14, 6, 4", r"\{4,6,14,15\}", "4, 6, 14 and 15"],
    "(9,11)": ["(9, 11)", r"\left(9,11\right)"],
    r"(-\infty,3)\cup(4,\infty)": ["(-oo,3) U (4,oo)", "(-inf, 3) ∪ (4, inf)"],
    r"x \in [-2,7]": ["[-2,7]", r"-2 \le x \le 7"],
    r"\frac{\sqrt{2}}{2}": ["sqrt(2)/2", "1/sqrt(2)", "√2/2"],
    "(x-1)(x+1)": ["x^2-1", "x**2 - 1", "(x+1)*(x-1)"],
    "6+9i": ["9i+6"],
    r"9\pi": ["9 pi", "9π", r"9\pi \text{ cm}^2"],
    "y = x^2 + 2": ["x^2+2", "y=2+x^2"],
    "x^2 + y^2 = 13": ["y^2+x^2=13"],
    "3:1": ["3 : 1", "6:2"],
    "f(2) < f(1) < f(4)": ["f(2)<f(1)<f(4)"],
    r"9\text{ a.m.}": ["9 a.m.", "9am", "9:00 AM"],
    r"1.5\times 10^{-3}": ["0.0015", "1.5e-3", "1.5*10^-3"],
}
WRONG: dict[str, list[str]] = {
    r"\frac{1}{2}": ["0.3", "2", "0.500001", "0.5 or 0.3", "-1/2"],
    "5": ["5 or 6", "5x", "5i", "6", "50", "5, 6", "5 million", "(5,5)", "-5", "5=6", "", "x", "not 5"],
    "12": ["1", "1,2", "21", "12.0001"],
    "x=5": ["y=5", "x=6"],
    r"\text{Monday}": ["Tuesday", "Monday or Tuesday"],
    r"\text{(C)}": ["D", "(C) or (D)", "C, D"],
    "(9,11)": ["(11,9)", "[9,11]", "11,9", "(9,11]", "9"],
    "4,6,14,15": ["4,6,14", "4,6,14,15,16", "4"],
    "-1,2": ["1,-2", "-1", "2"],
    r"9\pi": ["9", "28.27", r"9\pi^2"],
    "[-2,7]": ["(-2,7)", "[-2,7)", "[-7,2]"],
    "x^2-1": ["x^2+1", "1-x^2"],
    r"9\text{ a.m.}": ["9 p.m.", r"9\text{ p.m.}", "10 a.m."],
    "3:1": ["1:3", "3"],
    "b - 1": ["a-1", "b", "b+1"],
    r"44\%": ["4.4", "0.0044", "45%", "4400"],
}


@pytest.mark.parametrize(("published", "stated"), [(one, other) for one in RIGHT for other in RIGHT[one]])
def test_an_expression_is_known_in_another_writing(judge: AnswerJudge, published: str, stated: str) -> None:
    assert judge.right(stated, answer("expression", published))


@pytest.mark.parametrize(("published", "stated"), [(one, other) for one in WRONG for other in WRONG[one]])
def test_another_expression_is_wrong(judge: AnswerJudge, published: str, stated: str) -> None:
    assert not judge.right(stated, answer("expression", published))


@pytest.mark.parametrize(
    ("published", "stated", "right"),
    [
        ("72", "72", True), ("72", "72.0", True), ("72", "$72", True), ("72", "72 clips", True), ("72", "**72**", True),
        ("72", "She has 72 clips left.", True), ("1000", "1,000", True), ("1000", r"\$1{,}000", True),
        ("72", "71.99999999", True), ("72", "71", False), ("72", "720", False), ("72", "72 or 71", False),
        ("72", "7.2", False), ("72", "", False), ("72", "between 72 and 73", False), ("5", "5 million", False),
        ("1000000", "1000001", False), ("1000000", "1000000.5", False),
        # An expression is not calculated: the problem asks for its value.
        ("72", "8 * 9", False),
    ],
)  # fmt: skip
def test_a_number_is_compared_by_its_value(judge: AnswerJudge, published: str, stated: str, right: bool) -> None:
    assert judge.right(stated, answer("number", published)) == right


@pytest.mark.parametrize(
    ("published", "stated", "right"),
    [
        # Rounds to what is published.
        ("1.42", "1.4211", True), ("1.42", "1.4249", True), ("1.42", "1.426", False), ("1.42", "1.41", False),
        ("0.333", "1/3", True), ("0.333", "33.3%", True),
        # Given with fewer decimals, four digits at least.
        ("3.46621207", "3.466", True), ("3.46621207", "3.47", False), ("3.46621207", "3.465", False),
        # Never by more than 4 %, however coarsely it is published.
        ("0.2", "0.207", True), ("0.2", "0.209", False), ("1.0", "1.03", True), ("1.0", "1.05", False),
        ("4e-05", "4.1e-05", True), ("4e-05", "4.3e-05", False), ("1e-24", r"10^{-24}", True), ("1e-24", "0", False),
        ("0.0", "0", True), ("0.0", "0.03", False), ("0.0", "1e-9", False),
        ("6.2831852", r"2\pi", True), ("6.2831852", "2*pi", True), ("81600.0", "81601", False),
        # Integers are exact.
        ("3628800", "10!", True), ("3628800", r"3.6288 \times 10^6", True), ("11760", "11761", False),
        ("10", r"\binom{5}{2}", True), ("4", r"2^{2}", True), ("2", r"\log_{2} 4", True),
    ],
)  # fmt: skip
def test_a_measured_number_is_right_as_far_as_it_is_published(
    judge: AnswerJudge, published: str, stated: str, right: bool
) -> None:
    assert judge.right(stated, measured(published)) == right


@pytest.mark.parametrize(
    ("stated", "right"),
    [("[-1, 6]", True), ("(-1,6)", True), ("-1, 6.0", True), ("[6, -1]", False), ("[-1]", False), ("[-1,6,0]", False),
     ("[0, 6]", False), ("[-1,7]", False), ("[-10,6]", False), ("-1", False), ("", False)],
)  # fmt: skip
def test_a_list_is_compared_item_by_item(judge: AnswerJudge, stated: str, right: bool) -> None:
    assert judge.right(stated, answer("list", "-1,6")) == right


@pytest.mark.parametrize(
    ("stated", "right"), [("True", True), ("yes.", True), ("false", False), ("True or False", False), ("1", False)]
)
def test_a_truth_is_one_word(judge: AnswerJudge, stated: str, right: bool) -> None:
    assert judge.right(stated, answer("truth", "true")) == right
    assert not judge.right(stated, answer("truth", "false")) or stated == "false"


FIVE = choice("a", "12", "16", "18", "24", "26")


@pytest.mark.parametrize(
    ("published", "stated", "right"),
    [
        (FIVE, "a", True), (FIVE, "(A)", True), (FIVE, "a.", True), (FIVE, "option a", True),
        (FIVE, r"\boxed{a}", True),
        (FIVE, "The answer is (a) 12", True), (FIVE, "12", True), (FIVE, "a ) 12", True), (FIVE, "12.0 km", True),
        (FIVE, "b", False), (FIVE, "a ) 16", False), (FIVE, "b ) 12", False), (FIVE, "a or b", False),
        (FIVE, "12 or 16", False), (FIVE, "a, b", False), (FIVE, "ab", False), (FIVE, "12.3", False),
        (choice("d", "5 hrs", "5 min", "3", "7 hr"), "7", True),
        (choice("a", "5 hrs", "5 min", "3", "7 hr"), "5 hrs", True),
        (choice("a", "5 hrs", "5 min", "3", "7 hr"), "5 min", False),
        (choice("a", "5 hrs", "5 min", "3", "7 hr"), "5", False),
        (choice("c", "16", "25", "25"), "25", True),
        (choice("b", "$ 10.00", "$ 11.20"), "11.2", True),
        (choice("b", "850", "1,600"), "1600", True),
        (choice("a", "– 14", "– 11"), "-14", True),
        (choice("a", "8 : 5", "5 : 8"), "8:5", True),
        (choice("a", "8 : 5", "5 : 8"), "5:8", False),
        (choice("b", "s : 1000", "s : 1067"), "1067", True),
        (choice("a", "rs . 1,027", "rs . 1,028"), "1027", True),
        (choice("e", "b / 2", "b", "3 b / 2", "2 b", "3 b"), "3b", True),
        (choice("e", "b / 2", "b", "3 b / 2", "2 b", "3 b"), "2b", False),
        (choice("b", "21 ½ days", "22 ½ days"), "22.5", True),
        (choice("b", "258 cm 2", "217.5 cm 2"), "217.5", True),
        (choice("a", "48 - 8 π", "48 - 6 π"), "48-8π", True),
        (choice("c", "3 ⁄ 20", "11 ⁄ 60", "9 ⁄ 40"), "0.225", True),
        (choice("c", "45 %", "40 %", "25 %"), "25%", True),
        (choice("b", "8", "none of these"), "none of these", True),
        (choice("c"), "(c)", True), (choice("c"), "d", False), (choice("c"), "(c) or (d)", False),
    ],
)  # fmt: skip
def test_a_choice_is_a_letter_or_a_value(
    judge: AnswerJudge, published: PublishedAnswer, stated: str, right: bool
) -> None:
    assert judge.right(stated, published) == right


@pytest.mark.parametrize(
    ("published", "stated", "right"),
    [
        (answer("number", "72"), "75.6", True), (answer("number", "72"), "75.7", False),
        (answer("number", "72"), "about 75", True), (answer("number", "72"), "72 or 90", True),
        (measured("100"), "104", True), (measured("100"), "104.1", False), (measured("1.42"), "1.47", True),
        (measured("1.42"), "1.48", False), (answer("expression", r"\frac{1}{2}"), "0.51", True),
        (answer("expression", "x^2+1"), "it is x^2+1, I think", True), (answer("expression", "x^2+1"), "x^2", False),
        (answer("truth", "true"), "I think it is true", True), (answer("truth", "true"), "true or false", False),
        (PublishedAnswer(kind="list", text="10,20", mint_tolerance=THEOREMQA_TOLERANCE), "[10.4, 20]", True),
        (PublishedAnswer(kind="list", text="10,20", mint_tolerance=THEOREMQA_TOLERANCE), "[10.5, 20]", False),
        (choice("c"), "I choose (c)", True), (choice("c"), "because", False),
        (FIVE, "12.3", True), (FIVE, "16", False),
        # Within 5 % of all: only the nearest counts.
        (choice("c", "1294", "1295", "1296", "1297"), "1294", False),
        (choice("c", "1294", "1295", "1296", "1297"), "1296.2", True),
    ],
)  # fmt: skip
def test_mint_forgives_its_published_tolerances(
    judge: AnswerJudge, published: PublishedAnswer, stated: str, right: bool
) -> None:
    assert judge.right(stated, published, "mint") == right
    assert not judge.right(stated, published, "exact") or right


def test_mint_accepts_whatever_exact_accepts(judge: AnswerJudge) -> None:
    for published in ("5", "(x-1)(x+1)", r"\text{Monday}", "3:1", r"9\text{ a.m.}"):
        assert all(judge.right(stated, answer("expression", published), "mint") for stated in RIGHT[published])
