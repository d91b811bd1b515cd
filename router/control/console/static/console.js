// Keeps the live part of a page live: the server sends it whole, already escaped. Without this script a page shows what was when it was loaded.
const live = document.getElementById("live");
const away = document.getElementById("away");
const hold = document.getElementById("hold");
const LATE = 6000; // a stream ends now and then, and the browser opens another
if (live && live.dataset.stream) {
  const source = new EventSource(live.dataset.stream);
  let held = false;
  let late;
  const tell = (text) => { away.textContent = text; away.hidden = false; };
  const named = (each) => each.getAttribute("href") || each.getAttribute("aria-label") || each.closest("details")?.dataset.key;
  const reading = () => { const chosen = getSelection(); return !chosen.isCollapsed && live.contains(chosen.anchorNode); };
  hold.hidden = false;
  hold.onclick = () => {
    held = !held;
    hold.textContent = held ? "Update this page again" : "Stop updating this page";
  };
  source.onmessage = (event) => {
    clearTimeout(late);
    late = undefined;
    away.hidden = true;
    if (held || reading()) return; // somebody copies an id
    const open = new Set([...live.querySelectorAll("details[open]")].map((each) => each.dataset.key));
    const focused = live.contains(document.activeElement) ? named(document.activeElement) : null;
    const scrolled = [...live.querySelectorAll(".wide")].map((each) => each.scrollLeft);
    live.innerHTML = event.data;
    live.querySelectorAll("details").forEach((each) => { each.open = open.has(each.dataset.key); });
    live.querySelectorAll(".wide").forEach((each, index) => { each.scrollLeft = scrolled[index] || 0; });
    if (focused) [...live.querySelectorAll("a, summary, [tabindex]")].find((each) => named(each) === focused)?.focus({ preventScroll: true });
  };
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) {
      tell("This page is not kept up to date any more: you are signed out, or too many pages are open. Load it again to go on.");
    } else if (late === undefined) {
      late = setTimeout(() => tell("The connection is gone: what is shown here is old. It is tried again all the time."), LATE);
    }
  };
}
// Who presses twice asks once.
const button = document.querySelector("form.ask button");
if (button) {
  button.form.addEventListener("submit", () => { button.disabled = true; });
  addEventListener("pageshow", () => { button.disabled = false; });
}
