/**
 * One request of the playground to the gateway: sends it, reads the stream, and says what came and how fast. The body
 * and the events are those of OpenAI's chat completions.
 */

import { fill, gettext } from "../endpoints/words.js";

const API = "/playground/api/v1/chat/completions";

/**
 * @typedef {object} Answer What is known of an answer, whole or not.
 * @property {string} text
 * @property {string} thoughts
 * @property {{id: string, name: string, arguments: string}[]} tools
 * @property {string} error empty when all went well
 * @property {boolean} stopped by the person
 * @property {string} endpoint
 * @property {string} requestId
 * @property {string} model the one that served, when an alias led to it
 * @property {number|null} ttftMs until the first piece of the answer
 * @property {number} totalMs
 * @property {{prompt: number, completion: number, cached: number|null}|null} usage in tokens
 * @property {number|null} tokensPerSecond after the first piece, null where all came in one
 * @property {string} finish why it ended, in the backend's word
 */

/** @returns {Answer} */
export const nothing = () => ({
  text: "", thoughts: "", tools: [], error: "", stopped: false, endpoint: "", requestId: "", model: "",
  ttftMs: null, totalMs: 0, usage: null, tokensPerSecond: null, finish: "",
});

/**
 * Ask, and call `changed` whenever there is more. Never throws: what went wrong is in the answer.
 * @param {object} body @param {{endpoint: string, csrf: string, signal: AbortSignal, changed: (answer: Answer) => void}} how
 * @returns {Promise<Answer>}
 */
export async function ask(body, { endpoint, csrf, signal, changed }) {
  const answer = nothing();
  const watch = { started: performance.now(), first: 0, last: 0, ended: false };
  try {
    const response = await fetch(API, {
      method: "POST",
      body: JSON.stringify(body),
      headers: { "Content-Type": "application/json", "X-CSRFToken": csrf, ...(endpoint && { "X-Olla-Only-Endpoint": encodeURIComponent(endpoint) }) },
      signal,
    });
    readHeaders(answer, response.headers);
    if (!response.ok) answer.error = await refusalOf(response);
    else if (response.headers.get("Content-Type")?.includes("text/event-stream")) await readStream(response, answer, watch, changed);
    else readWhole(answer, await response.json(), watch);
  } catch (error) {
    if (error.name === "AbortError") answer.stopped = true;
    else answer.error = watch.first ? gettext("The connection broke before the answer was whole.") : gettext("The gateway did not answer. Is it still running?");
  }
  answer.totalMs = performance.now() - watch.started;
  const seconds = (watch.last - watch.first) / 1000;
  if (answer.usage && seconds > 0) answer.tokensPerSecond = Math.max(0, answer.usage.completion - 1) / seconds;
  changed(answer);
  return answer;
}

function readHeaders(answer, headers) {
  answer.endpoint = headers.get("X-Olla-Endpoint") ?? "";
  answer.requestId = headers.get("X-Olla-Request-ID") ?? "";
  answer.model = headers.get("X-Olla-Served-Model") ?? "";
}

async function refusalOf(response) {
  if (response.redirected) return gettext("You were signed out. Reload the page and sign in.");
  try {
    const { error, detail } = await response.json();
    return error?.message ?? detail ?? String(error);
  } catch {
    return fill(gettext("The answer was HTTP {status} without a reason."), response);
  }
}

async function readStream(response, answer, watch, changed) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    const at = performance.now(); // of all that came together, however long reading it takes
    const lines = (rest + value).split(/\r?\n/);
    rest = lines.pop();
    for (const line of lines) if (line.startsWith("data:")) readEvent(answer, line.slice(5).trim(), watch, at);
    changed(answer);
  }
  // A cut stream ends without its last event, and a cut connection does not always look cut to a browser.
  if (!watch.ended && !answer.finish && !answer.error) answer.error = gettext("The answer ended before it was whole.");
}

function readEvent(answer, data, watch, at) {
  if (data === "[DONE]") {
    watch.ended = true;
    return;
  }
  const event = JSON.parse(data);
  if (event.error) answer.error = event.error.message ?? gettext("The endpoint broke off.");
  if (event.usage) answer.usage = usageOf(event.usage);
  const [choice] = event.choices ?? [];
  if (!choice) return;
  if (choice.finish_reason) answer.finish = choice.finish_reason;
  if (take(answer, choice.delta ?? {})) {
    watch.last = at;
    watch.first ||= at;
    answer.ttftMs ??= watch.first - watch.started;
  }
}

function readWhole(answer, body, watch) {
  const [choice] = body.choices ?? [];
  if (choice) {
    take(answer, choice.message ?? {});
    answer.finish = choice.finish_reason ?? "";
  }
  if (body.usage) answer.usage = usageOf(body.usage);
  watch.ended = true;
}

/** Add what a delta or a message holds. @returns {boolean} whether it held anything */
function take(answer, piece) {
  const thoughts = piece.reasoning_content ?? piece.reasoning ?? "";
  answer.text += piece.content ?? "";
  answer.thoughts += thoughts;
  for (const call of piece.tool_calls ?? []) {
    const tool = (answer.tools[call.index ?? answer.tools.length] ??= { id: "", name: "", arguments: "" });
    tool.id ||= call.id ?? "";
    tool.name += call.function?.name ?? "";
    tool.arguments += call.function?.arguments ?? "";
  }
  return Boolean(piece.content || thoughts || piece.tool_calls?.length);
}

const usageOf = (usage) => ({
  prompt: usage.prompt_tokens ?? 0,
  completion: usage.completion_tokens ?? 0,
  cached: usage.prompt_tokens_details?.cached_tokens ?? null,
});
