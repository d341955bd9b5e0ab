"""Personal data in text: addresses and numbers that have a form or a check digit.

It finds what can be told from a product's number or an arithmetic expression by its form alone:
e-mail addresses, telephone numbers, payment cards (Luhn, issuers' ranges), IBANs (ISO 13616),
United States social-security numbers, public IP addresses, and names and passwords in URLs. It
does not find names, postal addresses, or what is spelled out ("ann at example dot org").

A pattern chooses candidates and a library decides: `phonenumbers` (Google's numbering plans) and
`python-stdnum` (check digits and national structures). `phonenumbers`' own search reads 1.2 MB/s
and takes -2147483648 for a telephone number; so a candidate has a country code, the grouping of
a North American number, or a word such as "phone" before it. All numbers that are operands of an
expression are left alone.
"""

import ipaddress
import re
from collections.abc import Iterator
from typing import NamedTuple

import phonenumbers
from stdnum import iban, luhn
from stdnum.us import ssn

from agentbank_jax.errors import AgentBankError, did_you_mean

KINDS = ("credentials", "email", "iban", "card", "ssn", "ip", "phone")

DEFAULT_REGION = "US"

_EMAIL = re.compile(
    r"(?<![\w.+%/-])([A-Za-z0-9](?:[A-Za-z0-9._%+-]{0,62}[A-Za-z0-9_%+-])?)@"
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+([A-Za-z]{2,24})"
    # Neither code (`x@w.sum()`, `x@w.T.sum`) nor an SSH address (`git@host.org:name`).
    r"(?![A-Za-z0-9_(\[]|-[A-Za-z0-9]|\.[A-Za-z]|:[^\s:])"
)
_CREDENTIALS = re.compile(r"(?<![A-Za-z])[A-Za-z][A-Za-z0-9+.-]{1,20}://([^\s/:@\[\]\"'<>]+:[^\s/@\[\]\"'<>]+)@\w")
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?(?![A-Za-z0-9])")
_CARD = re.compile(r"(?<![\w.,-])(?<!\d[ -])\d(?:[ -]?\d){13,18}(?!\w|[.,-]\d| \d)")
_SSN = re.compile(r"(?<![\w.,-])\d{3}-\d{2}-\d{4}(?!\w|[.,-]\d)")
_IPV4 = re.compile(r"(?<![\w.-])\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?!\w|[.-]\w)")
_IPV6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f]{1,4}(?:::?[0-9A-Fa-f]{1,4}){3,7}(?![\w:])")
_PHONES = (
    re.compile(r"(?<![\w.+])\+[1-9](?:[ ().-]{0,2}\d){6,14}(?![\w]|[.-]\d)"),
    re.compile(r"(?<![\w.,+/-])(?<!\d )(?:\+?1[ .-])?(?:\(\d{3}\) ?\d{3}[-. ]|\d{3}([-.])\d{3}\1)\d{4}(?!\w|[.,/-]\d)"),
)
_NAMED_PHONE = re.compile(
    r"\b(?:tel|phone|telephone|mobile|cell|call|fax|whatsapp)\b[^\d\n+(]{0,20}"
    r"((?:\+|\()?\d(?:[ ().-]{0,2}\d){6,14})(?![\w]|[.-]\d)",
    re.IGNORECASE,
)
# At least seven digits with no more than two separators between them; without one there is no number to look for.
_DIGITS = re.compile(r"\d(?:[ ().-]{0,2}\d){6}")
_LETTER_RUN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2} ?[A-Z0-9]{4}")

_VERSION_BEFORE = re.compile(
    r"(?:\b(?:v|ver|version|release|build|section|chapter|update|firmware|kernel|driver)\.?[ :]*|[=<>~!]=|[~^])$",
    re.IGNORECASE,
)
_EXPRESSION_LINE = re.compile(r"[ \t]*Action[ \t]*:[-\d\s().,+*/^=%$]+")
_OPERATORS = frozenset("+*/=^%×÷<>")
_MARKUP = re.compile(r"</?\w+/?>")
_MARKUP_BEFORE = re.compile(r"</?\w+/?>$")
# Issuers' ranges (ISO/IEC 7812): American Express, Diners Club, JCB, Visa, Mastercard, Discover, UnionPay.
_ISSUERS = (
    (15, re.compile(r"3[47]")),
    (14, re.compile(r"3(?:0[0-5]|[689])")),
    (16, re.compile(r"35(?:2[89]|[3-8])|4|5[1-5]|2(?:22[1-9]|2[3-9]|[3-6]|7[01]|720)|6011|64[4-9]|65|62")),
    (19, re.compile(r"4|62")),
)
_CARD_GROUPS = ((4, 4, 4, 4), (4, 4, 4, 4, 3), (4, 6, 5), (4, 6, 4))


class PersonalData(NamedTuple):
    """What was found, and where: `text[start:end]`; `kind` is one of `KINDS`."""

    kind: str
    start: int
    end: int


def check_region(name: str, region: str) -> None:
    """Checks a region for `find_personal_data`.

    Args:
      name: of the setting that a message is to name, such as `--region`.
      region: what the user wrote.

    Raises:
      AgentBankError: no numbering plan is known for it.
    """
    if region not in phonenumbers.SUPPORTED_REGIONS:
        hint = did_you_mean(region.upper(), phonenumbers.SUPPORTED_REGIONS)
        raise AgentBankError(f"{name}={region}: expected a country's code of two letters, such as US.{hint}")


def find_personal_data(text: str, region: str = DEFAULT_REGION) -> list[PersonalData]:
    """Returns the personal data in a text, from its begin to its end, without overlaps.

    Args:
      text: one turn, or another string that stands by itself.
      region: ISO 3166 code of the country whose telephone numbers are written without a country code.
    """
    found: list[PersonalData] = []
    for match in _candidates(text, region):
        # The first kind that claims a place keeps it.
        if all(match.end <= other.start or match.start >= other.end for other in found):
            found.append(match)
    return sorted(found, key=lambda match: match.start)


def mask(text: str) -> str:
    """Returns what may be shown of personal data: its first character and its length."""
    return f"{text[:1]}… ({len(text)} characters)"


def _candidates(text: str, region: str) -> Iterator[PersonalData]:
    if "@" in text:
        if "://" in text:
            for match in _CREDENTIALS.finditer(text):
                yield PersonalData("credentials", *match.span(1))
        for match in _EMAIL.finditer(text):
            # One letter before the sign is a matrix more often than a mailbox: x@weights.mean
            if len(match[1]) > 1 or len(match[2]) <= 3:
                yield PersonalData("email", *match.span())
    if _LETTER_RUN.search(text):
        for match in _IBAN.finditer(text):
            end = _iban_end(match[0])
            if end:
                yield PersonalData("iban", match.start(), match.start() + end)
    if text.count(":") >= 3:
        for match in _IPV6.finditer(text):
            if _is_public_address(match[0]) and not _is_version(text, match.start()):
                yield PersonalData("ip", *match.span())
    if text.count(".") >= 3:
        for match in _IPV4.finditer(text):
            # Four single digits are a section or a version far more often than an address.
            if len(match[0]) > 7 and _is_public_address(match[0]) and not _is_version(text, match.start()):
                yield PersonalData("ip", *match.span())
    if _DIGITS.search(text):
        yield from _number_candidates(text, region)


def _number_candidates(text: str, region: str) -> Iterator[PersonalData]:
    for match in _CARD.finditer(text):
        if _is_card(match[0]) and not _is_operand(text, *match.span()):
            yield PersonalData("card", *match.span())
    for match in _SSN.finditer(text):
        if ssn.is_valid(match[0]) and not _is_operand(text, *match.span()):
            yield PersonalData("ssn", *match.span())
    for match in _NAMED_PHONE.finditer(text):
        if _is_phone(match[1], region, possible=True):
            yield PersonalData("phone", *match.span(1))
    for pattern in _PHONES:
        for match in pattern.finditer(text):
            if _is_phone(match[0], region) and not _is_operand(text, *match.span()):
                yield PersonalData("phone", *match.span())


def _iban_end(candidate: str) -> int:
    """Returns how much of a candidate is a valid IBAN; capital words may follow it."""
    for end in range(len(candidate), 14, -1):
        if candidate[end - 1] != " " and iban.is_valid(candidate[:end]):
            return end if candidate[end : end + 1] in ("", " ") else 0
    return 0


def _is_card(candidate: str) -> bool:
    groups = [len(group) for group in re.split("[ -]", candidate)]
    if len(groups) > 1 and tuple(groups) not in _CARD_GROUPS:
        return False
    digits = re.sub("[ -]", "", candidate)
    is_issued = any(len(digits) == length and pattern.match(digits) for length, pattern in _ISSUERS)
    return is_issued and luhn.is_valid(digits)


def _is_phone(candidate: str, region: str, *, possible: bool = False) -> bool:
    try:
        number = phonenumbers.parse(candidate, region)
    except phonenumbers.NumberParseException:
        return False
    return phonenumbers.is_valid_number(number) or (possible and phonenumbers.is_possible_number(number))


def _is_public_address(candidate: str) -> bool:
    try:
        address = ipaddress.ip_address(candidate)
    except ValueError:
        return False
    # Of IPv6, global unicast alone is given out: 2000::/3.
    return address.is_global and not address.is_multicast and (address.version == 4 or address.packed[0] >> 5 == 1)


def _is_version(text: str, start: int) -> bool:
    return _VERSION_BEFORE.search(text, max(0, start - 16), start) is not None


def _is_operand(text: str, start: int, end: int) -> bool:
    """Whether a number stands in an arithmetic expression."""
    before, after = text[max(0, start - 24) : start].rstrip(" $"), text[end : end + 24].lstrip(" ")
    # `<b>415-555-2671</b>` is no comparison.
    if before[-1:] in _OPERATORS and not _MARKUP_BEFORE.search(before):
        return True
    if after[:1] in _OPERATORS and not _MARKUP.match(after):
        return True
    begin = text.rfind("\n", 0, start) + 1
    stop = text.find("\n", end)
    return _EXPRESSION_LINE.fullmatch(text, begin, len(text) if stop < 0 else stop) is not None
