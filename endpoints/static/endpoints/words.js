/**
 * The words that scripts say, in the reader's language. Pages in another language than English load their words from
 * the server (words.js there), before any module runs.
 */

/** @param {string} text @returns {string} */
export const gettext = globalThis.gettext ?? ((text) => text);

/** @param {string} one @param {string} many @param {number} count @returns {string} */
export const ngettext = globalThis.ngettext ?? ((one, many, count) => (count === 1 ? one : many));

/** Put values where `{name}` stands. @param {string} text @param {Record<string, unknown>} values */
export const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
