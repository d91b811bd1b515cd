"""The console in a real browser, on a real titleshot with traffic: what is shown, what buttons do, and to whom."""

import re

import pytest
from chromium import need_chromium
from world import MODEL, QUICK_POLICY, Traffic, wait_for

from router.control.admin import ActorRole, new_token

SIGNED = """    rollout:
      - {shadow: 100, for: 1s}
      - {promote: {sign_off: {by: [ann, ben], people: 2}}}
      - {watch: 60m}
"""
UNSIGNED = """    rollout:
      - {shadow: 100, for: 60m}
      - {promote: {}}
"""
ROLES = {
    "ann": ActorRole.APPROVER,
    "ben": ActorRole.APPROVER,
    "eve": ActorRole.VIEWER,
    "traffic": ActorRole.ADMIN,
}
TROUBLE = ("error", "warning")
REFUSED = "the server responded with a status of 401"  # what the browser says of a token that is not known
BEYOND = """() => [...document.querySelectorAll("body *")]
    .filter(each => !each.closest(".wide") && each.getBoundingClientRect().right > innerWidth + 1)
    .map(each => each.outerHTML.slice(0, 80))"""
"""What hangs over the edge of the window."""
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def chromium():
    path = need_chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # as root there is no sandbox to be had
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium):
    """Opens pages of which nothing may go wrong: errors on the console, requests to elsewhere, answers of 500."""
    contexts, wrong = [], []

    def open_page(url, **options):
        context = chromium.new_context(base_url=url, **options)
        contexts.append(context)
        page = context.new_page()
        page.on(
            "console",
            lambda said: wrong.append(said.text) if said.type in TROUBLE and REFUSED not in said.text else None,
        )
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: None if request.url.startswith(url) else wrong.append(request.url))
        page.on("response", lambda answer: wrong.append(answer.url) if answer.status >= 500 else None)
        page.goto("/")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.fixture
def tokens(world):
    made = {name: new_token(name, [role]) for name, role in ROLES.items()}
    (world.folder / "tokens.yaml").write_text("\n".join(each.line for each in made.values()))
    world.more = "tokens: tokens.yaml\n"
    world.headers = {"authorization": f"Bearer {made['traffic'].token}"}
    return {name: each.token for name, each in made.items()}


def sign_in(page, token):
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Sign in").click()


def accessible(page):
    from axe_playwright_python.sync_playwright import Axe

    found = [each for each in Axe().run(page).response["violations"] if each["impact"] in ("serious", "critical")]
    assert found == [], [(each["id"], [node["html"][:200] for node in each["nodes"]]) for each in found]


def test_two_people_sign_off_and_one_rolls_back_by_the_console(world, tokens, visit):
    world.write_settings(QUICK_POLICY + SIGNED)
    world.start()
    world.serving(1)
    world.traffic = Traffic(world)
    world.set_alias("challenger", 2)
    wait_for(lambda: world.phase() == "sign_off", "it waits for a sign-off", 90)

    ann, ben = visit(world.admin), visit(world.admin, viewport=PHONE, color_scheme="dark")
    accessible(ann)
    sign_in(ann, "titleshot_wrong")
    assert ann.get_by_role("alert").inner_text() == "This token is not known here."
    sign_in(ann, tokens["ann"])
    sign_in(ben, tokens["ben"])
    for page in (ann, ben):
        accessible(page)
        page.get_by_role("link", name=MODEL).click()
        page.get_by_text("Waiting for a sign-off").wait_for()
        accessible(page)
        assert page.evaluate(BEYOND) == []

    # live: the figures go on by themselves
    answers = ann.locator("table").first.locator("tbody tr").first.locator("td").nth(1)
    shown = answers.inner_text()
    wait_for(lambda: answers.inner_text() != shown, "the answers are counted")
    assert ann.locator("svg.chart").count() == 5
    p99 = ann.locator("svg.chart").nth(1)
    wait_for(lambda: "challenger" in (p99.get_attribute("aria-label") or ""), "p99 is drawn")

    ann.get_by_text("requests on which they differ").click()
    different = ann.get_by_role("region", name="Requests on which they differ")
    assert re.search(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-", different.inner_text())  # ids as clients got them

    ann.get_by_role("link", name="Sign off").press("Enter")  # by keyboard, too
    assert "Your signature is number 1 of the 2" in ann.locator("main").inner_text()
    accessible(ann)
    ann.get_by_label("Why").fill("looks right")
    ann.keyboard.press("Enter")
    ann.get_by_text("Signed: ann").wait_for()

    ben.get_by_role("link", name="Sign off").click()
    assert "@champion moves from version 1 to 2" in ben.locator("main").inner_text()
    ben.get_by_label("Why").fill("so it does to me")
    ben.get_by_role("button", name="Sign off").click()
    wait_for(lambda: world.alias("champion") == 2, "version 2 has the title", 60)
    ben.get_by_text(re.compile("version 2: watch")).wait_for()
    _looked_at_and_rolled_back(world, ann, visit(world.admin), tokens["eve"])


def _looked_at_and_rolled_back(world, ann, eve, token):
    sign_in(eve, token)
    eve.goto(f"/console/models/{MODEL}")
    assert eve.get_by_role("link", name="Roll back").count() == 0

    ann.goto(f"/console/models/{MODEL}")
    assert "so it does to me" in ann.locator(".timeline").inner_text()
    ann.locator(".timeline li", has_text="so it does to me").first.locator("summary").click()
    ann.locator(".timeline li", has_text="so it does to me").first.get_by_role("link", name="Explain").click()
    told = ann.get_by_role("region", name="The decision in words").inner_text()
    assert "promote, version 2" in told
    assert re.search(r"recomputed from the recorded evidence \([0-9a-f]{12}\): the same numbers", told)
    assert "Nothing speaks against this record." in ann.locator("main").inner_text()
    accessible(ann)
    ann.get_by_role("link", name=MODEL).click()
    ann.get_by_role("link", name="Roll back").click()
    assert "Version 1 answers all clients at once" in ann.locator("main").inner_text()
    ann.get_by_label("Why").fill("a hunch")
    ann.get_by_role("button", name="Roll back").click()
    wait_for(lambda: world.alias("champion") == 1, "version 1 has it back", 60)
    last = next(each for each in reversed(world.history()) if each["kind"] == "roll_back")
    assert (last["actor"], last["reason"]) == ("ann", "a hunch")

    ann.get_by_role("button", name="Sign out").click()
    ann.goto(f"/console/models/{MODEL}")
    assert ann.get_by_label("Token").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_other_button_does_its_deed_without_a_token_on_loopback(world, visit, scheme):
    world.write_settings(QUICK_POLICY + UNSIGNED)
    world.start()
    world.serving(1)
    world.set_alias("challenger", 2)
    wait_for(lambda: world.phase() == "shadow", "it is in shadow")
    page = visit(world.admin, color_scheme=scheme)
    page.goto(f"/console/models/{MODEL}")
    accessible(page)

    def act(verb, reason="because"):
        page.get_by_role("link", name=verb, exact=True).click()
        page.get_by_label("Why").fill(reason)
        page.get_by_role("button", name=verb, exact=True).click()
        page.wait_for_url(f"**/console/models/{MODEL}")

    act("Pause")
    wait_for(lambda: world.status()["rollout"]["paused"], "it is paused")
    act("Resume")
    wait_for(lambda: not world.status()["rollout"]["paused"], "it goes on")
    act("Abort")
    wait_for(lambda: world.phase() == "aborted", "it is aborted")
    act("Start again")
    world.set_alias("challenger", 2)
    wait_for(lambda: world.phase() == "shadow", "it has another shot")
    page.reload()
    act("Promote now", "<script>alert(1)</script>")
    wait_for(lambda: world.alias("champion") == 2, "version 2 has the title", 60)
    page.reload()
    assert "<script>alert(1)</script>" in page.locator(".timeline").inner_text()


def test_who_is_signed_out_amid_a_form_is_told_so_and_led_back(world, tokens, visit):
    world.write_settings(QUICK_POLICY + UNSIGNED)
    world.start()
    world.serving(1)
    world.set_alias("challenger", 2)
    wait_for(lambda: world.phase() == "shadow", "it is in shadow")
    page = visit(world.admin)
    page.goto(f"/console/models/{MODEL}/ask/promote")
    sign_in(page, tokens["ann"])
    page.get_by_label("Why").fill("better")  # signed in, one is on the form
    known = (world.folder / "tokens.yaml").read_text()
    (world.folder / "tokens.yaml").write_text("\n".join(known.splitlines()[1:]))
    page.get_by_role("button", name="Promote now").click()
    assert page.get_by_role("alert").inner_text().startswith("Nothing was done: you are not signed in")
    accessible(page)
    sign_in(page, tokens["ben"])
    page.get_by_text("under the name ben").wait_for()
    page.get_by_role("link", name="Cancel").click()

    page.get_by_role("button", name="Stop updating this page").click()
    told = page.locator("#live .quiet").first
    shown = told.inner_text()
    with page.expect_response(re.compile("/stream")):
        page.reload()  # the button is for this page alone
    wait_for(lambda: told.inner_text() != shown, "it is live again")
    page.get_by_text("As of").first.evaluate("each => getSelection().selectAllChildren(each)")
    chosen = page.evaluate("() => getSelection().toString()")
    page.wait_for_timeout(2500)  # a push and more
    assert page.evaluate("() => getSelection().toString()") == chosen
    page.evaluate("() => getSelection().removeAllRanges()")
    wait_for(lambda: told.inner_text() != chosen, "it goes on")
    assert world.alias("champion") == 1
