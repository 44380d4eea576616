/**
 * The live figures of the dashboard: how busy the gateway is, and each endpoint on its card. They come with the
 * messages of the live channel; without it they are asked for.
 */

const POLL_MS = 2000;
const strip = document.getElementById("figures");
const fleet = document.getElementById("fleet");
/** @type {object|null} */
let last = null;
let heardAt = 0;

const rate = (value) => (value >= 100 ? Math.round(value).toLocaleString() : value.toLocaleString(undefined, { maximumFractionDigits: value >= 10 ? 1 : 2 }));
const ms = (value) => (value === null ? "–" : value < 1000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(1)} s`);

/** What each figure says. */
const WORDS = {
  tokens: ({ tokens }) => rate(tokens.value),
  requests: ({ requests }) => rate(requests.value),
  ttft: ({ ttft_p50_ms, ttft_p95_ms }) => (ttft_p50_ms === null ? "–" : `${ms(ttft_p50_ms)} / ${ms(ttft_p95_ms)}`),
  errors: ({ errors }) => errors.value.toLocaleString(),
};

function show(figures) {
  last = figures;
  heardAt = Date.now();
  for (const [name, words] of Object.entries(WORDS)) {
    const figure = strip.querySelector(`[data-figure=${name}]`);
    const value = figure.querySelector(".value");
    value.textContent = words(figures);
    value.classList.remove("skeleton");
    figure.querySelector("path")?.setAttribute("d", figures[name].path);
  }
  strip.querySelector("[data-figure=errors]").classList.toggle("is-bad", figures.errors.value > 0);
  showOnCards();
}

function showOnCards() {
  // A fleet without endpoints has nothing to measure; its first one may come while the page is open.
  strip.hidden = !fleet.querySelector(".cards");
  if (!last) return;
  for (const card of fleet.querySelectorAll(".card")) {
    const speed = card.querySelector("[data-speed]");
    if (speed) speed.textContent = rate(last.tokens_at[speed.dataset.speed] ?? 0);
  }
}

async function poll() {
  if (document.hidden || Date.now() - heardAt < 2 * POLL_MS) return;
  try {
    const response = await fetch(strip.dataset.url, { headers: { Accept: "application/json" } });
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
