/**
 * Markdown as DOM nodes. Text only ever becomes text nodes, so that nothing a model writes is executed: there is no
 * HTML to clean. What a growing answer has in common with its last state is left as it is.
 *
 * It knows what models write: headings, paragraphs, lists, quotes, rules, tables, fenced and inline code, strong,
 * emphasis, deleted text and links. What it does not know stays as it was written.
 */
import { gettext } from "../endpoints/words.js";

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([^\s`]*)[^`]*$/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$/;
const RULE = /^ {0,3}([-*_])(?:\s*\1){2,}\s*$/;
const ITEM = /^( *)([-*+]|\d{1,9}[.)])(\s+|$)(.*)$/;
const QUOTE = /^ {0,3}> ?(.*)$/;
const TABLE_RULE = /^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/;
const SAFE_LINK = /^(https?:|mailto:)/i;

/** Show `text` in `root`, which keeps the blocks that have not changed. @param {Element} root @param {string} text */
export function show(root, text) {
  const blocks = split(text.replace(/\r\n?/g, "\n").split("\n"));
  const shown = root.blocks ?? [];
  let same = 0;
  while (same < blocks.length && blocks[same].source === shown[same]?.source) same += 1;
  for (const { node } of shown.slice(same)) node.remove();
  root.blocks = blocks.map((block, index) => {
    if (index < same) return shown[index];
    const node = render(block);
    root.append(node);
    return { source: block.source, node };
  });
}

/* Blocks */

/** @param {string[]} lines @returns {{kind: string, source: string}[]} */
function split(lines) {
  const blocks = [];
  let at = 0;
  while (at < lines.length) {
    if (!lines[at].trim()) {
      at += 1;
      continue;
    }
    const { kind, end, ...more } = blockAt(lines, at);
    blocks.push({ kind, lines: lines.slice(at, end), ...more, source: kind + "\n" + lines.slice(at, end).join("\n") });
    at = end;
  }
  return blocks;
}

function blockAt(lines, at) {
  const fence = FENCE.exec(lines[at]);
  if (fence) return fenced(lines, at, fence);
  if (HEADING.test(lines[at])) return { kind: "heading", end: at + 1 };
  if (RULE.test(lines[at])) return { kind: "rule", end: at + 1 };
  if (QUOTE.test(lines[at])) return { kind: "quote", end: runEnd(lines, at, (line) => QUOTE.test(line)) };
  if (ITEM.test(lines[at])) return { kind: "list", end: listEnd(lines, at) };
  if (lines[at].includes("|") && TABLE_RULE.test(lines[at + 1] ?? "") && lines[at + 1].includes("-"))
    return { kind: "table", end: runEnd(lines, at, (line) => line.includes("|")) };
  return { kind: "paragraph", end: paragraphEnd(lines, at) };
}

function fenced(lines, at, [, marks, language]) {
  const closing = new RegExp(`^ {0,3}${marks[0]}{${marks.length},}\\s*$`);
  let end = at + 1;
  while (end < lines.length && !closing.test(lines[end])) end += 1;
  return { kind: "code", language, closed: end < lines.length, end: Math.min(end + 1, lines.length) };
}

function runEnd(lines, at, belongs) {
  let end = at + 1;
  while (end < lines.length && lines[end].trim() && belongs(lines[end])) end += 1;
  return end;
}

function paragraphEnd(lines, at) {
  const begins = (line) =>
    [FENCE, HEADING, RULE, QUOTE].some((each) => each.test(line)) || /^ {0,3}([-*+]|1[.)])\s+\S/.test(line);
  return runEnd(lines, at, (line) => !begins(line));
}

/** A list goes on over empty lines, as long as what follows is indented or another item. */
function listEnd(lines, at) {
  const numbered = isNumbered(lines[at]);
  let end = at + 1;
  while (end < lines.length) {
    const next = lines[end].trim() ? end : lines.findIndex((line, index) => index > end && line.trim());
    if (next < 0) break;
    const item = ITEM.exec(lines[next]);
    const apart = next > end;
    const indented = /^ {2,}|^\t/.test(lines[next]);
    if (!indented && !(item && isNumbered(lines[next]) === numbered) && (apart || !isLazy(lines[next]))) break;
    end = next + 1;
  }
  return end;
}

const isNumbered = (line) => /^ *\d/.test(line);
const isLazy = (line) => ![FENCE, HEADING, RULE, QUOTE, ITEM].some((each) => each.test(line));

function render(block) {
  return RENDERERS[block.kind](block);
}

const RENDERERS = {
  heading({ lines: [line] }) {
    const [, marks, text] = HEADING.exec(line);
    // The page has headings of its own above.
    return element(`h${Math.min(6, marks.length + 2)}`, inline(text));
  },
  rule: () => element("hr"),
  quote: ({ lines }) => element("blockquote", nested(lines.map((line) => QUOTE.exec(line)[1]))),
  paragraph: ({ lines }) => element("p", inline(lines.map((line) => line.replace(/^\s+/, "")).join("\n"))),
  code: ({ lines, language, closed }) => codeBlock(lines.slice(1, closed ? -1 : undefined).join("\n"), language),
  list({ lines }) {
    const list = element(isNumbered(lines[0]) ? "ol" : "ul");
    const first = Number.parseInt(lines[0].trim(), 10);
    if (list.tagName === "OL" && first !== 1) list.start = first;
    for (const item of items(lines)) list.append(element("li", itemContent(item)));
    return list;
  },
  table({ lines }) {
    const [head, , ...rows] = lines.map(cells);
    const row = (names, tag) => element("tr", names.map((text) => element(tag, inline(text))));
    const table = element("table", [element("thead", [row(head, "th")]), element("tbody", rows.map((each) => row(each, "td")))]);
    const box = element("div", [table]);
    box.className = "markdown-table";
    box.tabIndex = 0;
    return box;
  },
};

/** The lines of each item, without its mark and what it is indented by. */
function items(lines) {
  const base = ITEM.exec(lines[0])[1].length;
  const found = [];
  let indent = 0;
  for (const line of lines) {
    const item = ITEM.exec(line);
    if (item && item[1].length <= base + 1) {
      indent = item[1].length + item[2].length + Math.min(4, Math.max(1, item[3].length));
      found.push([item[4]]);
    } else {
      const own = /^[ \t]*/.exec(line)[0].length;
      found.at(-1).push(line.slice(Math.min(own, indent)));
    }
  }
  return found;
}

/** An item of one paragraph has no paragraph of its own. */
function itemContent(lines) {
  const task = /^\[([ xX])\]\s+(.*)$/.exec(lines[0]);
  const rest = task ? [task[2], ...lines.slice(1)] : lines;
  const blocks = split(rest);
  const nodes = blocks.map(render);
  const opened = blocks[0]?.kind === "paragraph" ? [...nodes[0].childNodes, ...nodes.slice(1)] : nodes;
  return task ? [document.createTextNode(task[1] === " " ? "☐ " : "☑ "), ...opened] : opened;
}

const nested = (lines) => split(lines).map(render);

const cells = (line) =>
  line
    .trim()
    .replace(/^\||\|$/g, "")
    .split(/(?<!\\)\|/)
    .map((text) => text.trim().replaceAll("\\|", "|"));

function codeBlock(text, language) {
  const box = element("div");
  box.className = "code";
  const pre = element("pre", [element("code", [document.createTextNode(text)])]);
  pre.tabIndex = 0;
  const button = element("button", [document.createTextNode(gettext("Copy"))]);
  button.type = "button";
  button.className = "button";
  button.dataset.copy = text;
  if (language) {
    const label = element("span", [document.createTextNode(language)]);
    label.className = "code-language";
    box.append(label);
  }
  box.append(pre, button);
  return box;
}

/* Inline */

/** What may stand in a line, the first that fits at a place. Each gives a node from its match. */
const INLINE = [
  [/^\\([\\`*_{}[\]()#+\-.!|~>])/, ([, mark]) => document.createTextNode(mark)],
  [/^(`+)(?!`)([\s\S]*?[^`])\1(?!`)/, ([, , code]) => element("code", [document.createTextNode(code.replace(/^ (.*) $/, "$1"))])],
  [/^(\*\*|__)(?=\S)([\s\S]*?\S)\1/, ([, , text]) => element("strong", inline(text))],
  [/^~~(?=\S)([\s\S]*?\S)~~/, ([, text]) => element("del", inline(text))],
  [/^\*(?=[^\s*])([\s\S]*?[^\s*])\*(?!\*)/, ([, text]) => element("em", inline(text))],
  [/^!?\[((?:[^\][\\]|\\.)*)\]\(\s*<?([^\s)>]+)>?(?:\s+"[^"]*")?\s*\)/, ([whole, text, target]) => link(target, inline(text || target)) ?? document.createTextNode(whole)],
  [/^<?(https?:\/\/[^\s<>"']*[^\s<>"'.,;:!?)\]*_])>?/, ([, target]) => link(target, [document.createTextNode(target)])],
];
/** An underscore inside a word is no emphasis. */
const UNDERSCORE = /^_(?=[^\s_])([\s\S]*?[^\s_])_(?![\p{L}\p{N}_])/u;
const PLAIN = /^(?:(?!https?:\/\/)[^\\`*_~![<\nh]|h(?!ttps?:\/\/))+/;

/** @param {string} text @returns {Node[]} */
function inline(text) {
  const nodes = [];
  let rest = text;
  let before = "";
  let plain = "";
  const flush = () => {
    if (plain) nodes.push(document.createTextNode(plain));
    plain = "";
  };
  while (rest) {
    const { length, node } = tokenAt(rest, before);
    if (node) {
      flush();
      nodes.push(node);
    } else plain += rest.slice(0, length);
    before = rest[length - 1];
    rest = rest.slice(length);
  }
  flush();
  return nodes;
}

function tokenAt(rest, before) {
  const plain = PLAIN.exec(rest);
  if (plain) return { length: plain[0].length };
  if (rest[0] === "\n") return { length: 1, node: element("br") };
  for (const [pattern, make] of INLINE) {
    const match = pattern.exec(rest);
    if (match) return { length: match[0].length, node: make(match) };
  }
  const underscored = /[\p{L}\p{N}_]/u.test(before) ? null : UNDERSCORE.exec(rest);
  if (underscored) return { length: underscored[0].length, node: element("em", inline(underscored[1])) };
  return { length: 1 };
}

/** A link that leaves the page alone; null for a target that is no web address. */
function link(target, content) {
  if (!SAFE_LINK.test(target)) return null;
  const made = element("a", content);
  made.href = target;
  made.target = "_blank";
  made.rel = "noopener noreferrer nofollow";
  return made;
}

function element(tag, children = []) {
  const made = document.createElement(tag);
  made.append(...children);
  return made;
}
