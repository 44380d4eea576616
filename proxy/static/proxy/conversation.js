/**
 * The conversation: what was asked, what each lane answered, and the options. Kept in this browser, for this person,
 * and nowhere else.
 *
 * @typedef {{text: string, images: string[], answers: (import("./answer_stream.js").Answer|null)[]}} Turn
 * @typedef {{model: string, endpoint: string}} Lane
 */

import { fill, gettext } from "../endpoints/words.js";

const KEY = "playground";

/** The options of a request that are numbers. */
const NUMBERS = ["temperature", "top_p", "max_tokens", "seed", "frequency_penalty", "presence_penalty"];

/** @param {string} person whose it is: another person on the same browser begins anew */
export function load(person) {
  const fresh = { person, lanes: [{ model: "", endpoint: "" }], turns: [], options: { stream: true } };
  try {
    const kept = JSON.parse(localStorage.getItem(KEY));
    return kept?.person === person && kept.lanes?.length ? { ...fresh, ...kept } : fresh;
  } catch {
    return fresh;
  }
}

/** A browser keeps 5 MB: images go first. @returns {boolean} whether all of it is kept */
export function save(conversation) {
  const withoutImages = { ...conversation, turns: conversation.turns.map((turn) => ({ ...turn, images: [] })) };
  for (const [index, kept] of [conversation, withoutImages].entries()) {
    try {
      localStorage.setItem(KEY, JSON.stringify(kept));
      return index === 0;
    } catch {
      // Too much, or the browser keeps nothing for this page.
    }
  }
  return false;
}

/** The tools as typed. @returns {{tools: object[]|null, problem: string}} */
export function readTools(text) {
  if (!text?.trim()) return { tools: null, problem: "" };
  try {
    const tools = JSON.parse(text);
    if (!Array.isArray(tools) || tools.some((tool) => !tool?.function?.name)) return { tools: null, problem: gettext("Write a list of tools, each with a function that has a name.") };
    return { tools, problem: "" };
  } catch (error) {
    return { tools: null, problem: fill(gettext("This is not JSON yet: {problem}"), { problem: error.message }) };
  }
}

/** The body of the request for one lane. @param {object} conversation @param {number} lane @param {number} until turns */
export function bodyFor(conversation, lane, until = conversation.turns.length) {
  const { options, lanes } = conversation;
  const body = { model: lanes[lane].model, messages: messages(conversation, lane, until) };
  for (const name of NUMBERS) if (Number.isFinite(options[name])) body[name] = options[name];
  const stops = (options.stop ?? "").split("\n").filter(Boolean);
  if (stops.length) body.stop = stops;
  const { tools } = readTools(options.tools);
  if (tools?.length) body.tools = tools;
  if (options.stream) Object.assign(body, { stream: true, stream_options: { include_usage: true } });
  return body;
}

function messages({ turns, options }, lane, until) {
  const found = options.system?.trim() ? [{ role: "system", content: options.system }] : [];
  let open = [];
  for (const [number, { text, images, answers }] of turns.slice(0, until).entries()) {
    // What this lane was not asked, or did not answer, is not part of its conversation.
    if (number < until - 1 && !answers[lane]?.text && !answers[lane]?.tools.length) continue;
    if (open.length) found.push(...open.map((tool) => ({ role: "tool", tool_call_id: tool.id, content: text })));
    else found.push({ role: "user", content: content(text, images) });
    const answer = answers[lane];
    open = answer?.tools ?? [];
    if (answer && (answer.text || open.length)) found.push(assistant(answer));
  }
  return found;
}

function content(text, images) {
  if (!images.length) return text;
  return [...images.map((url) => ({ type: "image_url", image_url: { url } })), { type: "text", text }];
}

function assistant({ text, tools }) {
  if (!tools.length) return { role: "assistant", content: text };
  const calls = tools.map((tool) => ({ id: tool.id, type: "function", function: { name: tool.name, arguments: tool.arguments } }));
  return { role: "assistant", content: text || null, tool_calls: calls };
}

/** Whether a lane waits for what its tools give. */
export const awaitsTools = ({ turns }, lane) => Boolean(turns.at(-1)?.answers[lane]?.tools.length);
