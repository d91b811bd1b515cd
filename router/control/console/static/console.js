// Keeps the live part of a page live: the server sends it whole, already escaped. Without this script a page shows what was when it was loaded.
const live = document.getElementById("live");
const away = document.getElementById("away");
if (live && live.dataset.stream) {
  const source = new EventSource(live.dataset.stream);
  source.onmessage = (event) => {
    away.hidden = true;
    const open = new Set([...live.querySelectorAll("details[open]")].map((each) => each.dataset.key));
    const focused = live.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    const scrolled = [...live.querySelectorAll(".wide")].map((each) => each.scrollLeft);
    live.innerHTML = event.data;
    live.querySelectorAll("details").forEach((each) => { each.open = open.has(each.dataset.key); });
    live.querySelectorAll(".wide").forEach((each, index) => { each.scrollLeft = scrolled[index] || 0; });
    if (focused) live.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
  };
  source.onerror = () => { away.hidden = false; };
}
