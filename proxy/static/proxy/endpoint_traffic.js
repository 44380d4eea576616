/** What goes through an endpoint, kept up to date on its page; and the trial: one prompt, timed. */
import { tick } from "../endpoints/clock.js";
import { morphChildren } from "../endpoints/morph.js";
import { decimal } from "../endpoints/numbers.js";
import { fill, gettext } from "../endpoints/words.js";
import { ask } from "./answer_stream.js";

const REFRESH_MS = 3000;
const MAX_TOKENS = 200;
const panel = document.getElementById("traffic");

async function refresh() {
  if (document.hidden) return;
  try {
    const response = await fetch(panel.dataset.url);
    if (!response.ok || response.redirected) return;
    const wanted = document.createElement("template");
    wanted.innerHTML = await response.text(); // our own template, in which Django has escaped every value
    morphChildren(panel, wanted.content);
    tick();
  } catch {
    // The page says by itself that nothing answers.
  }
}

refresh();
setInterval(refresh, REFRESH_MS);
document.addEventListener("visibilitychange", refresh);

/* The trial */

const form = document.querySelector(".trial");
const figures = document.getElementById("trial-figures");
const text = document.getElementById("trial-answer");
/** @type {AbortController|null} */
let running = null;

function show(answer) {
  const figure = (name, words) => (figures.querySelector(`[data-trial=${name}]`).textContent = words);
  figures.hidden = text.hidden = false;
  text.textContent = answer.error || answer.thoughts + answer.text || "…";
  text.classList.toggle("is-bad", Boolean(answer.error));
  figure("ttft", answer.ttftMs === null ? "–" : `${Math.round(answer.ttftMs)} ms`);
  figure("speed", answer.tokensPerSecond === null ? "–" : `${decimal(answer.tokensPerSecond, 1)} tok/s`);
  figure("tokens", answer.usage ? fill(gettext("{prompt} in, {completion} out"), answer.usage) : "–");
}

form?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.querySelector("button");
  if (running) return running.abort();
  const send = button.textContent;
  running = new AbortController();
  button.textContent = gettext("Stop");
  const { model, prompt } = form.elements;
  const body = { model: model.value, messages: [{ role: "user", content: prompt.value }], max_tokens: MAX_TOKENS, stream: true, stream_options: { include_usage: true } };
  const csrf = JSON.parse(document.getElementById("fleet").getAttribute("hx-headers"))["X-CSRFToken"];
  await ask(body, { endpoint: form.dataset.endpoint, csrf, signal: running.signal, changed: show });
  running = null;
  button.textContent = send;
  refresh();
});
