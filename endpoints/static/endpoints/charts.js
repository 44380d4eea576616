/**
 * Charts of an endpoint's page: numbers from `data-chart`, two lines of milliseconds, drawn by uPlot in the colours of
 * the page. What they show is also said in a sentence, for whoever cannot see them.
 */
import { duration } from "./numbers.js";
import { fill, gettext } from "./words.js";

const HEIGHT = 190;
const REFRESH_MS = 60_000;
/** @type {Map<HTMLElement, {span: string, chart: object|null}>} */
const shown = new Map();

const colour = (name) => {
  // A light-dark() is resolved by an element that is painted with it.
  const probe = document.createElement("span");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
};

const ms = (value) => (value == null ? "–" : duration(value));

/** A value between two gaps has no line: it is shown as a point. */
const alone = (chart, series) => {
  const values = chart.data[series];
  return [...values.keys()].filter((at) => values[at] != null && values[at - 1] == null && values[at + 1] == null);
};

const language = document.documentElement.lang;
const ofDay = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const ofYear = new Intl.DateTimeFormat(language, { day: "numeric", month: "short" });

function optionsFor(box) {
  const [grid, text, first, second] = ["--line", "--muted", "--accent", "--warn"].map(colour);
  const axis = { stroke: text, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid }, font: "12px system-ui, sans-serif" };
  const line = (label, stroke, dash) => ({ label, stroke, dash, width: 1.6, spanGaps: false, points: { show: true, size: 7, fill: stroke, filter: alone }, value: (_, value) => ms(value) });
  return {
    width: box.clientWidth,
    height: HEIGHT,
    cursor: { drag: { x: false, y: false } },
    scales: { y: { range: (_, low, high) => [0, Math.max(1, high ?? 1) * 1.1] } },
    axes: [{ ...axis, size: 32, values: (_, ticks) => ticks.map((at) => (shown.get(box).span === "24h" ? ofDay : ofYear).format(at * 1000)) }, { ...axis, size: 62, values: (_, values) => values.map(ms) }],
    series: [{ label: gettext("Time"), value: (_, at) => (at == null ? "–" : new Date(at * 1000).toLocaleString(document.documentElement.lang, { dateStyle: "short", timeStyle: "short" })) }, line(box.dataset.first, first), line(box.dataset.second, second, [4, 3])],
  };
}

async function draw(box) {
  const state = shown.get(box);
  const words = box.closest(".panel").querySelector("[data-none]");
  let data;
  try {
    const response = await fetch(`${box.dataset.chart}?span=${state.span}`, { headers: { Accept: "application/json" } });
    if (!response.ok || response.redirected) throw new Error(String(response.status));
    data = await response.json();
  } catch {
    words.textContent = gettext("The numbers could not be fetched. They are asked for again in a minute.");
    return;
  }
  const known = data.lines[0].filter((value) => value !== null);
  box.hidden = !known.length;
  words.textContent = known.length
    ? fill(gettext("{first}: {lowest} to {highest}. {second}: up to {most}."), {
        first: box.dataset.first, second: box.dataset.second, lowest: ms(Math.min(...known)), highest: ms(Math.max(...known)), most: ms(Math.max(...data.lines[1].filter((value) => value !== null))),
      })
    : words.dataset.none;
  state.chart?.destroy();
  state.chart = known.length ? new globalThis.uPlot(optionsFor(box), [data.at, ...data.lines], box) : null;
}

for (const box of document.querySelectorAll("[data-chart]")) {
  shown.set(box, { span: "24h", chart: null });
  draw(box);
  new ResizeObserver(() => shown.get(box).chart?.setSize({ width: box.clientWidth, height: HEIGHT })).observe(box);
  box.closest(".panel").addEventListener("click", ({ target }) => {
    const button = target.closest("[data-span]");
    if (!button) return;
    for (const each of button.parentElement.children) each.setAttribute("aria-pressed", String(each === button));
    shown.get(box).span = button.dataset.span;
    draw(box);
  });
}

const drawAll = () => document.hidden || [...shown.keys()].forEach(draw);
setInterval(drawAll, REFRESH_MS);
// Lines are painted, not styled: other colours are another drawing.
new MutationObserver(drawAll).observe(document.documentElement, { attributeFilter: ["data-theme"] });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
