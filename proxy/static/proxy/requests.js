/** Follows the list of requests: asks for its first page every two seconds while it is looked at, and shows what is new. */
import { say } from "../endpoints/ask.js";
import { tick } from "../endpoints/clock.js";
import { gettext } from "../endpoints/words.js";
import { morphChildren } from "../endpoints/morph.js";

const POLL_MS = 2000;
const button = document.getElementById("follow");
const rows = document.getElementById("rows");
let timer = 0;

async function refresh() {
  if (document.hidden) return;
  try {
    const response = await fetch(rows.dataset.url, { headers: { Accept: "text/html" } });
    if (response.redirected) location.reload();
    if (!response.ok) throw new Error(String(response.status));
    const table = document.createElement("template");
    table.innerHTML = await response.text();
    morphChildren(rows, table.content);
    rows.closest(".table-box").hidden = !rows.children.length;
    if (rows.children.length) document.getElementById("no-rows")?.remove();
    tick();
  } catch {
    stop();
    say(gettext("The gateway does not answer: the list is no longer followed."));
  }
}

function start() {
  button.setAttribute("aria-pressed", "true");
  button.textContent = gettext("Following live");
  timer = setInterval(refresh, POLL_MS);
  refresh();
}

function stop() {
  button.setAttribute("aria-pressed", "false");
  button.textContent = gettext("Follow live");
  clearInterval(timer);
  timer = 0;
}

if (button) {
  button.hidden = false;
  button.addEventListener("click", () => (timer ? stop() : start()));
}
