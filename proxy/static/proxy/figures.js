/**
 * The live figures: on the dashboard how busy the gateway is; on each card and on an endpoint's own page what runs
 * there, so that a draining one counts down. They come with the messages of the live channel; without it they are
 * asked for.
 */

import { duration, rounded, whole } from "../endpoints/numbers.js";

const POLL_MS = 2000;
const strip = document.getElementById("figures");
const fleet = document.getElementById("fleet");
/** @type {object|null} */
let last = null;
let heardAt = 0;

const rate = (value) => (value >= 100 ? whole(value) : rounded(value, value >= 10 ? 1 : 2));
const count = (value) => (value === null ? "–" : whole(value));
const ms = (value) => (value === null ? "–" : duration(value));

/** What each figure says. */
const WORDS = {
  tokens: ({ tokens }) => rate(tokens.value),
  requests: ({ requests }) => rate(requests.value),
  in_flight: ({ in_flight }) => count(in_flight.value),
  waiting: ({ waiting }) => count(waiting.value),
  ttft: ({ ttft_p50_ms, ttft_p95_ms }) => (ttft_p50_ms === null ? "–" : `${ms(ttft_p50_ms)} / ${ms(ttft_p95_ms)}`),
  errors: ({ errors }) => whole(errors.value),
};

function show(figures) {
  last = figures;
  heardAt = Date.now();
  if (strip) showOnStrip(figures);
  showOnCards();
}

function showOnStrip(figures) {
  for (const [name, words] of Object.entries(WORDS)) {
    const figure = strip.querySelector(`[data-figure=${name}]`);
    const value = figure.querySelector(".value");
    value.textContent = words(figures);
    value.classList.remove("skeleton");
    figure.querySelector("path")?.setAttribute("d", figures[name].path);
  }
  strip.querySelector("[data-figure=errors]").classList.toggle("is-bad", figures.errors.value > 0);
}

function showOnCards() {
  // A fleet without endpoints has nothing to measure; its first one may come while the page is open.
  if (strip) strip.hidden = !fleet.querySelector(".cards");
  if (!last) return;
  for (const speed of fleet.querySelectorAll("[data-speed]")) {
    speed.textContent = rate(last.tokens_at[speed.dataset.speed] ?? 0);
  }
  for (const place of fleet.querySelectorAll("[data-running]")) {
    place.textContent = last.running_at ? whole(last.running_at[place.dataset.running] ?? 0) : "–";
  }
}

async function poll() {
  if (document.hidden || Date.now() - heardAt < 2 * POLL_MS) return;
  try {
    const response = await fetch(fleet.dataset.figures, { headers: { Accept: "application/json" } });
    if (response.ok && !response.redirected) show(await response.json());
  } catch {
    // The dashboard says by itself that nothing answers.
  }
}

document.addEventListener("olla:figures", ({ detail }) => show(detail));
fleet.addEventListener("htmx:afterSwap", showOnCards);
setInterval(poll, POLL_MS);
document.addEventListener("visibilitychange", poll);
poll();
