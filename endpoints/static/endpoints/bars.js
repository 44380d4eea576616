/**
 * Says what an uptime bar shows under the pointer, in the viewer's own time zone. `data-runs` is its segments, run by
 * run: `12u3d75n` is 12 up, 3 down, 75 of which nothing is known, over the `data-hours` until `data-until`.
 */
import { timeOfDay } from "./clock.js";
import { fill, gettext } from "./words.js";

const WORDS = { u: gettext("Up"), p: gettext("Partly down"), d: gettext("Down"), n: gettext("Nothing known") };
const HOUR_MS = 3600_000;
const tip = document.createElement("p");
tip.className = "tip";
tip.hidden = true;
document.body.append(tip);

/** @param {SVGElement} bar @returns {{letter: string, first: number, last: number, count: number}[]} */
function runsOf(bar) {
  const runs = [];
  let first = 0;
  for (const [, width, letter] of bar.dataset.runs.matchAll(/(\d+)([updn])/g)) {
    runs.push({ letter, first, last: first + Number(width) });
    first += Number(width);
  }
  return runs.map((run) => ({ ...run, count: first }));
}

/** The words for the run at a place between 0 and 1. @param {SVGElement} bar @param {number} place */
export function wordsAt(bar, place) {
  const runs = runsOf(bar);
  const run = runs.find(({ last, count }) => place * count < last) ?? runs.at(-1);
  const until = Date.parse(bar.dataset.until);
  const step = (Number(bar.dataset.hours) * HOUR_MS) / run.count;
  const [from, to] = [run.first, run.last].map((edge) => timeOfDay(until - (run.count - edge) * step).slice(0, 5));
  return fill(gettext("{words}, {from} to {to}"), { words: WORDS[run.letter], from, to });
}

document.addEventListener("pointermove", ({ target, clientX, clientY }) => {
  const bar = target.closest?.("[data-runs]");
  tip.hidden = !bar;
  if (!bar) return;
  const { left, width } = bar.getBoundingClientRect();
  tip.textContent = wordsAt(bar, Math.min(0.9999, Math.max(0, (clientX - left) / width)));
  const room = document.documentElement.clientWidth - tip.offsetWidth - 8;
  tip.style.left = `${Math.max(8, Math.min(room, clientX - tip.offsetWidth / 2))}px`;
  tip.style.top = `${clientY + 18}px`;
});
