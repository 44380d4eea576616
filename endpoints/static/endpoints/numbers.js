/** Numbers as scripts write them, in the page's language. @module */

const language = document.documentElement.lang || undefined;

/** `1,234` @param {number} value */
export const whole = (value) => Math.round(value).toLocaleString(language);

/** `12.3`, always with so many places @param {number} value @param {number} places */
export const decimal = (value, places) => value.toLocaleString(language, { minimumFractionDigits: places, maximumFractionDigits: places });

/** `12.3`, with as many places at the most @param {number} value @param {number} places */
export const rounded = (value, places) => value.toLocaleString(language, { maximumFractionDigits: places });

/** `85 ms`, `1.2 s` @param {number} ms */
export const duration = (ms) => (ms < 1000 ? `${Math.round(ms)} ms` : `${decimal(ms / 1000, 1)} s`);
