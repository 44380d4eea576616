/**
 * The page keeps itself up to date. A websocket says that something changed; the dashboard is sent its fleet with that
 * (`data-push`), other pages have htmx fetch theirs, and the page is morphed into it. Without the socket it asks every
 * two seconds. When neither answers, it says since when.
 */
import { say } from "./ask.js";
import { adjust, gatewayNow, tick, timeOfDay } from "./clock.js";
import { morphChildren } from "./morph.js";
import { fill, gettext } from "./words.js";

const POLL_MS = 2000;
const CALM_MS = 3000;
const STALE_AFTER_MS = 6000;
const RECONNECT_MS = { first: 500, longest: 5000 };
/** The worker checks every second: a check that is this late means that it does not run, which the server then says. */
const OVERDUE_MS = 16000;
/** A busy gateway may take its time to act; a fetch is simply tried again. */
const POST_TIMEOUT_MS = 30000;

const fleet = document.getElementById("fleet");
const staleBanner = document.getElementById("stale");
const liveMark = document.getElementById("live");
const spoken = document.getElementById("spoken");
const icon = document.querySelector("link[rel=icon]");
const plainIcon = icon.href;
const plainTitle = document.title.replace(/^\(\d+ [^)]+\) /, "");
const isPushed = fleet.dataset.push !== undefined && "DecompressionStream" in window;

let socket = null;
let reconnectMs = RECONNECT_MS.first;
let reconnectTimer = 0;
let soonTimer = 0;
let etag = null;
let missed = false;
let heardAt = Date.now();
let askedAt = 0;
let down = null;
let wasSpoken = fleet.querySelector("[data-spoken]").dataset.spoken;

/* Fetching the fleet */

function refresh() {
  askedAt = Date.now();
  htmx.trigger(fleet, "olla:refresh");
}

/** Show what was sent. A button that was pressed has its answer first: that is newer than what was on its way. */
function show(html) {
  missed = fleet.matches(".htmx-request") || fleet.querySelector(".htmx-request") !== null;
  if (missed) return;
  etag = null;
  htmx.swap(fleet, html, { swapStyle: "morph", swapDelay: 0, settleDelay: 0 }, { contextElement: fleet });
}

/** What is new is only that something was checked again: that may wait, so that many pages do not all ask at once. */
function refreshSoon() {
  soonTimer ||= setTimeout(() => {
    soonTimer = 0;
    if (!document.hidden && Date.now() - askedAt > POLL_MS) refresh();
  }, POLL_MS + Math.random() * CALM_MS);
}

htmx.defineExtension("fleet-morph", {
  isInlineSwap: (style) => style === "morph",
  handleSwap(style, target, fragment) {
    if (style !== "morph") return false;
    const focused = document.activeElement;
    morphChildren(target, fragment);
    // Moving an element takes the focus from it.
    if (focused?.isConnected && focused !== document.activeElement) focused.focus({ preventScroll: true });
    return [target];
  },
});

fleet.addEventListener("htmx:configRequest", ({ detail }) => {
  if (detail.verb === "get" && etag) detail.headers["If-None-Match"] = etag;
  if (detail.verb === "post") detail.timeout = POST_TIMEOUT_MS;
});

fleet.addEventListener("htmx:afterRequest", ({ detail }) => {
  const { xhr, requestConfig } = detail;
  if (xhr.status === 200 || xhr.status === 304) heard(xhr);
  else if (requestConfig.verb === "post") say(refusal(xhr.status));
  // What a button answered is newer than what the last fetch showed.
  if (xhr.status === 200) etag = requestConfig.verb === "get" ? xhr.getResponseHeader("ETag") : null;
  if (missed) setTimeout(refresh); // once htmx is done with this one
  missed = false;
});

fleet.addEventListener("htmx:afterSwap", () => {
  const { down: count, spoken: sentence } = fleet.querySelector("[data-spoken]").dataset;
  if (count !== undefined) showDown(Number(count));
  if (sentence !== wasSpoken) spoken.textContent = wasSpoken = sentence;
  tick();
});

function heard(xhr) {
  heardAt = Date.now();
  if (xhr) adjust(xhr.getResponseHeader("Date"));
  showStaleness();
}

function refusal(status) {
  if (status === 0) return gettext("The gateway did not answer. Whether it was done will show here when it is back.");
  if (status === 403) return gettext("You may not do this, or you signed in anew meanwhile. Reload the page and try again.");
  if (status === 404) return gettext("It is gone: somebody has deleted it.");
  return fill(gettext("The gateway could not do this ({status}). Its log says why."), { status });
}

/* The live channel */

function connect() {
  clearTimeout(reconnectTimer);
  const url = new URL(fleet.dataset.live, location.href);
  url.protocol = url.protocol.replace("http", "ws");
  url.search = liveQuery();
  const opened = new WebSocket(url);
  opened.binaryType = "arraybuffer";
  socket = opened;
  let reading = Promise.resolve();
  opened.addEventListener("open", () => {
    reconnectMs = RECONNECT_MS.first;
    if (document.hidden) opened.send("hidden");
    // What changed while there was no socket was not said.
    else if (!isPushed) refresh();
  });
  opened.addEventListener("message", ({ data }) => {
    reading = reading.then(async () => hear(await unpacked(data))).catch(console.error);
  });
  opened.addEventListener("close", ({ code }) => {
    if (socket !== opened) return;
    socket = null;
    if (code === Number(fleet.dataset.signedOut)) location.assign(fleet.dataset.signIn);
    // Spread out, so that all open pages do not come back in the same instant.
    reconnectTimer = setTimeout(connect, reconnectMs * (0.75 + Math.random() / 2));
    reconnectMs = Math.min(reconnectMs * 2, RECONNECT_MS.longest);
    showStaleness();
  });
}

/** What the page is, to the channel: woken by each check or by statuses alone, and sent its fleet or not. */
function liveQuery() {
  const query = new URLSearchParams(isPushed ? fleet.dataset.push : "");
  if (isPushed) query.set("lang", document.documentElement.lang);
  if (isPushed) query.set("fleet", "");
  if (fleet.dataset.calm !== undefined) query.set("calm", "");
  return query;
}

/** @param {string|ArrayBuffer} data as text, or as gzip when it is long */
async function unpacked(data) {
  if (typeof data === "string") return JSON.parse(data);
  return new Response(new Blob([data]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
}

function hear({ at, changed, routing, down: count, figures, html }) {
  adjust(at);
  heard();
  if (figures) document.dispatchEvent(new CustomEvent("olla:figures", { detail: figures }));
  showDown(count);
  if (html !== undefined) show(html);
  else if (!changed || isPushed) return;
  else if (document.hidden) etag = null;
  else if (routing || fleet.dataset.calm === undefined) refresh();
  else refreshSoon();
}

/* What the page says of itself */

function showStaleness() {
  const stale = Date.now() - heardAt > STALE_AFTER_MS;
  liveMark.dataset.state = stale ? "stale" : socket?.readyState === WebSocket.OPEN ? "live" : "polling";
  liveMark.textContent = { stale: gettext("Not live"), live: gettext("Live"), polling: gettext("Every 2 s") }[liveMark.dataset.state];
  fleet.classList.toggle("is-stale", stale);
  if (stale && staleBanner.hidden) {
    const since = timeOfDay(heardAt);
    staleBanner.textContent = navigator.onLine
      ? fill(gettext("Not updated since {since}: the gateway does not answer. Trying again."), { since })
      : fill(gettext("Not updated since {since}: this computer is offline."), { since });
  }
  staleBanner.hidden = !stale;
}

function showDown(count) {
  if (count === down) return;
  down = count;
  document.title = count ? `(${count} ${gettext("down")}) ${plainTitle}` : plainTitle;
  icon.href = count ? countedIcon(count) : plainIcon;
}

/** The favicon with a red badge. @param {number} count */
function countedIcon(count) {
  const text = count > 9 ? "9+" : String(count);
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="8" fill="#b91c1c"/>
    <text x="16" y="23" font-family="system-ui,sans-serif" font-size="20" font-weight="700" fill="#fff" text-anchor="middle">${text}</text></svg>`;
  return `data:image/svg+xml,${encodeURIComponent(svg)}`;
}

/* The beat */

function anyCheckOverdue() {
  const latest = gatewayNow() - OVERDUE_MS;
  return [...fleet.querySelectorAll("time[data-clock=in]")].some((time) => Date.parse(time.dateTime) < latest);
}

function beat() {
  if (document.hidden) return;
  showStaleness();
  const sinceAsked = Date.now() - askedAt;
  const polling = socket?.readyState !== WebSocket.OPEN;
  if (sinceAsked >= POLL_MS && polling) refresh();
  else if (sinceAsked >= 5 * POLL_MS && anyCheckOverdue()) refresh();
}

setInterval(beat, 1000);
document.addEventListener("visibilitychange", () => {
  const isOpen = socket?.readyState === WebSocket.OPEN;
  if (isOpen) socket.send(document.hidden ? "hidden" : "shown");
  if (document.hidden) return;
  // Browsers slow a hidden page down, so its silence says nothing about the gateway.
  heardAt = Date.now();
  if (!socket) connect();
  if (!isOpen || !isPushed) refresh();
  beat();
});
window.addEventListener("online", () => !socket && connect());

showDown(Number(fleet.querySelector("[data-spoken]").dataset.down ?? 0));
connect();
tick();
