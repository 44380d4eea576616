/** How a turn looks: what was asked, the answer as it grows, and what it took. */
import { decimal, duration, whole } from "../endpoints/numbers.js";
import { fill, gettext } from "../endpoints/words.js";
import { show } from "./markdown.js";

/** @param {string} tag @param {string} className @param {(Node|string)[]} children */
export function element(tag, className = "", children = []) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

/** @param {import("./conversation.js").Turn} turn @param {boolean} forTools whether it is what tools gave */
export function askedView({ text, images }, forTools) {
  const box = element("div", "asked");
  if (forTools) box.append(element("span", "who", [gettext("What the tool gave")]));
  for (const url of images) {
    const image = element("img");
    image.src = url;
    image.alt = gettext("An image that was sent");
    box.append(image);
  }
  box.append(text);
  return box;
}

/** An answer that can be shown again whenever there is more of it. */
export class AnswerView {
  /** @param {{again: () => void}} actions */
  constructor({ again }) {
    this.text = element("div", "markdown");
    this.thoughts = element("details", "thoughts", [element("summary", "", [gettext("Thoughts")]), element("div")]);
    this.tools = element("div", "stack");
    this.problem = element("p", "banner banner-bad");
    this.problem.setAttribute("role", "alert");
    this.foot = element("div", "answer-foot");
    this.root = element("div", "answer", [this.thoughts, this.text, this.tools, this.problem, this.foot]);
    this.again = again;
    this.wanted = null;
  }

  /** At most once per frame, however fast the answer comes. @param {import("./answer_stream.js").Answer|null} answer */
  update(answer, running) {
    if (!this.wanted) requestAnimationFrame(() => this.#draw());
    this.wanted = { answer, running };
  }

  #draw() {
    const { answer, running } = this.wanted;
    this.wanted = null;
    const { text = "", thoughts = "", tools = [], error = "", stopped = false } = answer ?? {};
    show(this.text, text);
    this.text.classList.toggle("waiting", running && !tools.length);
    this.thoughts.hidden = !thoughts;
    if (thoughts) {
      this.thoughts.lastChild.textContent = thoughts;
      // Open as long as there is nothing else to read.
      if (running) this.thoughts.open = !text;
    }
    this.tools.replaceChildren(...tools.map(toolView));
    this.problem.textContent = error;
    this.problem.hidden = !error;
    this.foot.replaceChildren(...(running || !answer ? [] : this.#facts(answer, stopped)));
  }

  #facts(answer, stopped) {
    const facts = factsOf(answer).map(([name, value]) => element("div", "", [element("dt", "", [name]), element("dd", "", [value])]));
    const nodes = [element("dl", "", facts)];
    if (stopped) nodes.unshift(element("span", "pill pill-plain", [gettext("Stopped")]));
    else if (answer.finish === "length") nodes.unshift(element("span", "pill pill-plain pill-warn", [gettext("Cut at the longest answer")]));
    if (answer.text) nodes.push(button(gettext("Copy"), { copy: answer.text }));
    const again = button(gettext("Try again"), {});
    again.addEventListener("click", this.again);
    return [...nodes, again];
  }
}

function button(words, dataset) {
  const made = element("button", "button button-plain", [words]);
  made.type = "button";
  Object.assign(made.dataset, dataset);
  return made;
}

function toolView({ name, arguments: text }) {
  let pretty = text;
  try {
    pretty = JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    // It is still being written, or the model wrote no JSON: it is shown as it is.
  }
  const code = element("div", "code", [element("span", "code-language", [fill(gettext("calls {name}"), { name })]), element("pre", "", [element("code", "", [pretty])])]);
  return element("div", "markdown", [code]);
}

/** @param {import("./answer_stream.js").Answer} answer @returns {[string, string|Node][]} names with their figures */
function factsOf(answer) {
  const { usage } = answer;
  const words = usage?.cached ? gettext("{prompt} in ({cached} cached), {completion} out") : gettext("{prompt} in, {completion} out");
  const tokens = usage && fill(words, { prompt: whole(usage.prompt), cached: whole(usage.cached ?? 0), completion: whole(usage.completion) });
  return [
    [gettext("First token"), answer.ttftMs === null ? "" : duration(answer.ttftMs)],
    [gettext("Speed"), answer.tokensPerSecond ? `${decimal(answer.tokensPerSecond, 1)} tok/s` : ""],
    [gettext("Tokens"), tokens ?? ""],
    [gettext("Took"), answer.totalMs && !answer.error ? duration(answer.totalMs) : ""],
    [gettext("Endpoint"), answer.endpoint],
    [gettext("Model"), answer.model],
    [gettext("Request"), answer.requestId ? requestLink(answer.requestId) : ""],
  ].filter(([, value]) => value);
}

function requestLink(id) {
  const link = element("a", "mono", [id]);
  link.href = `/requests/${encodeURIComponent(id)}/`;
  return link;
}

