/** Keeps the times of a page going: `<time datetime data-clock="for|ago|in|at|brief">`. The words are those of templatetags/fleet.py and time_words.py. */
import { fill, gettext } from "./words.js";

/** Of the page; its region (24 hours, order of the day) is the reader's where that fits. */
const LANGUAGE = [navigator.language, document.documentElement.lang].find((tag) => tag?.startsWith(document.documentElement.lang));
const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
/** A smaller difference is the way of the answer, not a wrong clock. */
const TOLERATED_SKEW_MS = 1500;

const exact = new Intl.DateTimeFormat(LANGUAGE, { dateStyle: "medium", timeStyle: "long" });
const ofDay = new Intl.DateTimeFormat(LANGUAGE, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

const dayAndTime = new Intl.DateTimeFormat(LANGUAGE, { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" });

/** What is written of a point in time as such: whole, or without what a reader of today knows. */
const AS_A_POINT = {
  at: (at) => dayAndTime.format(at),
  brief: (at, now) => (new Date(at).toDateString() === new Date(now).toDateString() ? ofDay.format(at) : dayAndTime.format(at)),
};

let skewMs = 0;

/** The gateway's time as far as this page knows it. @returns {number} milliseconds since 1970 */
export const gatewayNow = () => Date.now() + skewMs;

/** Learn from a message's time, or an answer's Date header, how far this computer's clock is off. @param {string|null} date */
export function adjust(date) {
  const difference = Date.parse(date ?? "") - Date.now();
  if (!Number.isNaN(difference)) skewMs = Math.abs(difference) > TOLERATED_SKEW_MS ? difference : 0;
}

/** A time of day in the viewer's zone, such as 14:03:12. @param {number} ms */
export const timeOfDay = (ms) => ofDay.format(ms);

/** A length of time in its two largest units. @param {number} seconds */
export function span(seconds) {
  const whole = Math.floor(seconds);
  const both = (large, largeUnit, small, smallUnit) =>
    small ? `${large} ${largeUnit} ${small} ${smallUnit}` : `${large} ${largeUnit}`;
  if (whole < MINUTE) return `${whole} s`;
  if (whole < HOUR) return `${Math.floor(whole / MINUTE)} min`;
  if (whole < DAY) return both(Math.floor(whole / HOUR), "h", Math.floor((whole % HOUR) / MINUTE), "min");
  return both(Math.floor(whole / DAY), gettext("d"), Math.floor((whole % DAY) / HOUR), "h");
}

/** @param {number} gone seconds since then, negative for a time to come @param {string} wording */
export function inWords(gone, wording) {
  if (wording === "in") return gone > -1 ? gettext("now") : fill(gettext("in {time}"), { time: span(-gone) });
  if (wording === "ago") return gone < 1 ? gettext("just now") : fill(gettext("{time} ago"), { time: span(gone) });
  return span(Math.max(0, gone));
}

/** Write every time of the page as it is now. */
export function tick() {
  const now = gatewayNow();
  for (const element of document.querySelectorAll("time[data-clock]")) {
    const at = Date.parse(element.dateTime);
    const words = element.dataset.clock in AS_A_POINT ? AS_A_POINT[element.dataset.clock](at, now) : inWords((now - at) / 1000, element.dataset.clock);
    if (element.textContent !== words) element.textContent = words;
    const title = exact.format(at);
    if (element.title !== title) element.title = title;
  }
}
