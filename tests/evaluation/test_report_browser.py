"""The report's page in a real browser: its script finds, filters and shows every episode."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentbank_jax.evaluation.joining import Source
from agentbank_jax.evaluation.report import Report, write_report
from tests.evaluation.made_sweep import make_record, make_result

pytestmark = pytest.mark.arena

HOSTILE = "</script><script>document.title = 'stolen'</script><img src=x onerror=\"document.title = 'stolen'\">"
Y, N = True, False


@pytest.fixture(scope="module")
def browser() -> Iterator:
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("no Chromium with its driver is installed")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1200,900"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    running = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield running
    running.quit()


@pytest.fixture
def page(browser, tmp_path: Path):
    result = make_result(
        {"m": {"t": [Y, N] * 60, "u": [Y] * 3}, "untrained": {"t": [N] * 120, "u": [N] * 3}},
        record={"conversations": ({"from": "human", "value": "Go."}, {"from": "gpt", "value": HOSTILE})},
    )
    column = result.columns[0]
    special = make_record(
        "u", 1, False, model="m", terminate_reason="unparseable", first_invalid=1,
        earlier=(({"from": "gpt", "value": "an early try"},),),
        conversations=({"from": "human", "value": "Go."}, {"from": "gpt", "value": "a needle, and no action"}),
        final_observation="Invalid format.",
    )  # fmt: skip
    result.tasks[1].add(column, [special if one.index == 1 else one for one in result.tasks[1].records["m"]])
    report = Report(title="Title", facts={}, sources=(Source(run="run", result=result),))
    browser.get(write_report(report, tmp_path).page.as_uri())
    return browser


def settle(page) -> None:
    """Waits until what was asked for last is shown."""
    page.set_script_timeout(20)
    page.execute_async_script(
        "const done = arguments[0], before = document.body.dataset.ready;"
        "const wait = (left) => { const now = document.body.dataset.ready;"
        " if (now && (now !== before || left <= 0)) done(); else setTimeout(() => wait(left - 50), 50); }; wait(600);"
    )


def shown(page) -> list[str]:
    return page.execute_script(
        "return [...document.querySelectorAll('.episode')].map((one) => one.querySelector('summary').textContent)"
    )


def choose(page, **filters: str) -> None:
    for name, value in filters.items():
        page.execute_script(
            "const box = document.getElementById(arguments[0]);"
            "box.value = box.tagName === 'SELECT' ? [...box.options].find((one) => one.text === arguments[1]).value"
            " : arguments[1]; box.dispatchEvent(new Event(box.tagName === 'SELECT' ? 'change' : 'input'));",
            name,
            value,
        )
        settle(page)


def status(page) -> str:
    return page.execute_script("return document.getElementById('status').textContent")


def test_all_episodes_are_listed_a_part_at_a_time(page) -> None:
    settle(page)
    assert status(page) == "246 of 246 episodes, 62 successes among them" and len(shown(page)) == 100
    page.execute_script("document.getElementById('more').click(); document.getElementById('more').click()")
    assert len(shown(page)) == 246
    assert page.execute_script("return document.getElementById('more').hidden")


def test_filters_and_the_search_find_what_they_say(page) -> None:
    settle(page)
    choose(page, model="m", outcome="failure")
    assert status(page).startswith("61 of 246")
    choose(page, reason="unparseable")
    assert len(shown(page)) == 1 and "u/test/1/0" in shown(page)[0]
    page.execute_script("document.getElementById('reset').click()")
    settle(page)
    choose(page, text="NEEDLE")
    assert len(shown(page)) == 1
    choose(page, text="an early try")
    assert len(shown(page)) == 1
    choose(page, text="nowhere to be found")
    assert shown(page) == [] and status(page).startswith("0 of 246")


def test_an_episode_opens_with_why_it_failed_its_turns_and_its_earlier_trials(page) -> None:
    settle(page)
    choose(page, text="needle")
    page.execute_script("document.querySelector('.episode').open = true")
    text = page.execute_async_script(
        "const done = arguments[0], one = document.querySelector('.episode');"
        "const wait = () => one.querySelector('.turn') ? done(one.textContent) : setTimeout(wait, 50); wait()"
    )
    for expected in ("Too many replies in a row held no action.", "reply 1 is the first",
                     "a needle, and no action", "Last observation", "Invalid format.", "Trial 1 of 2",
                     "an early try"):  # fmt: skip
        assert expected in text
    page.execute_script("document.querySelector('.episode > button').click()")
    settle(page)
    assert [("u/test/1/0" in one) for one in shown(page)] == [True, True]


def test_nothing_that_an_agent_wrote_is_run_and_the_console_is_clean(page) -> None:
    settle(page)
    page.execute_script("document.querySelectorAll('.episode').forEach((one, at) => { one.open = at < 5 })")
    turns = page.execute_async_script(
        "const done = arguments[0]; const wait = () => { const all = document.querySelectorAll('.turn.agent pre');"
        " all.length >= 5 ? done([...all].map((one) => one.textContent)) : setTimeout(wait, 50); }; wait()"
    )
    assert set(turns) == {HOSTILE}
    assert page.title == "Title" and page.execute_script("return document.images.length") == 0
    assert page.get_log("browser") == []


def test_an_injected_script_is_refused_by_the_pages_policy(page) -> None:
    settle(page)
    page.execute_script(
        "const one = document.createElement('script'); one.textContent = \"document.title = 'stolen'\"; "
        "document.body.append(one); const two = document.createElement('div'); "
        "two.innerHTML = '<img src=x onerror=\"document.title = 1\">'; document.body.append(two)"
    )
    assert page.title == "Title"
    assert any("Content Security Policy" in entry["message"] for entry in page.get_log("browser"))


@pytest.mark.parametrize("width", [390, 1200])
def test_the_page_is_no_wider_than_the_window(page, width: int) -> None:
    settle(page)
    page.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
