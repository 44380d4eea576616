/** The playground: lanes, options, the composer, and the requests that run. */
import { ask as question, say } from "../endpoints/ask.js";
import { fill, gettext } from "../endpoints/words.js";
import { ask } from "./answer_stream.js";
import { awaitsTools, bodyFor, load, readTools, save } from "./conversation.js";
import { Images } from "./images.js";
import { snippets } from "./snippets.js";
import { AnswerView, askedView, element } from "./turn_view.js";

const byId = (id) => document.getElementById(id);
const root = byId("playground");
const choices = JSON.parse(byId("choices").textContent);
const message = byId("message");
const images = new Images(byId("images"));
const { person, csrf } = root.dataset;
let conversation = load(person);
/** @type {Set<AbortController>} */
const running = new Set();

/* Lanes */

const choiceOf = (name) => choices.find((choice) => choice.name === name);
const takesImages = () => conversation.lanes.every(({ model }) => (choiceOf(model)?.images ?? "no") !== "no");
const serves = (choice) => choice.places.some(({ state }) => !state);

function option(value, words, { chosen = false, disabled = false } = {}) {
  const made = element("option", "", [words]);
  made.value = value;
  made.selected = chosen;
  made.disabled = disabled;
  return made;
}

function drawLanes() {
  byId("lanes").replaceChildren(...conversation.lanes.map(laneView));
  byId("compare").setAttribute("aria-pressed", String(conversation.lanes.length > 1));
  byId("compare").textContent = conversation.lanes.length > 1 ? gettext("Back to one model") : gettext("Compare two models");
  byId("clear").disabled = !conversation.turns.length;
  showHint();
  showSight();
}

/** Images are offered only where every model that would get them may read them. */
function showSight() {
  const sights = conversation.lanes.map(({ model }) => choiceOf(model)?.images ?? "no");
  byId("attach").hidden = !takesImages();
  byId("attach").title = sights.includes("perhaps") ? gettext("Whether this model reads images is not known.") : "";
  if (!takesImages() && images.urls.length) {
    images.take();
    say(gettext("This model reads no images: they were taken out."));
  }
}

function laneView(lane, index) {
  const view = byId("lane-template").content.firstElementChild.cloneNode(true);
  view.setAttribute("aria-label", conversation.lanes.length > 1 ? fill(gettext("Lane {number}"), { number: index + 1 }) : gettext("Conversation"));
  const [model, endpoint] = view.querySelectorAll("select");
  model.append(...choices.map((choice) => option(choice.name, nameOf(choice), { chosen: choice.name === lane.model })));
  fillEndpoints(view, lane);
  model.addEventListener("change", () => {
    Object.assign(lane, { model: model.value, endpoint: "" });
    fillEndpoints(view, lane);
    save(conversation);
    showSight();
  });
  endpoint.addEventListener("change", () => {
    lane.endpoint = endpoint.value;
    save(conversation);
  });
  const turns = view.querySelector(".turns");
  conversation.turns.forEach((turn, number) => {
    // What was said before this lane came stays in the lane that was there.
    if (turn.answers[index] || number === conversation.turns.length - 1) turns.append(...turnView(turn, number, index));
  });
  return view;
}

const nameOf = (choice) => (serves(choice) ? choice.name : fill(gettext("{name} (not served now)"), choice));

function fillEndpoints(view, lane) {
  const { places, alias } = choiceOf(lane.model) ?? { places: [], alias: [] };
  const select = view.querySelector(".lane-endpoint");
  const names = [...new Map(places.map((place) => [place.name, place])).values()];
  select.replaceChildren(
    option("", gettext("Any endpoint: routing decides")),
    ...names.map(({ name, state }) => option(name, state ? `${name} (${state})` : name, { chosen: name === lane.endpoint, disabled: Boolean(state) })),
  );
  const note = view.querySelector(".lane-note");
  note.hidden = !alias.length;
  note.textContent = fill(gettext("An alias of {names}."), { names: alias.join(` ${gettext("else")} `) });
}

function turnView(turn, number, lane) {
  const before = number > 0 && conversation.turns[number - 1].answers[lane]?.tools.length > 0;
  const answer = new AnswerView({ again: () => tryAgain(number, lane) });
  turn.views ??= [];
  turn.views[lane] = answer;
  answer.update(turn.answers[lane] ?? null, false);
  return [askedView(turn, before), answer.root];
}

/* Asking */

async function send() {
  const text = message.value.trim();
  const { problem } = readTools(conversation.options.tools);
  if ((!text && !images.urls.length) || running.size || problem) {
    if (problem) byId("tools").focus();
    return;
  }
  const turn = { text, images: images.take(), answers: conversation.lanes.map(() => null) };
  conversation.turns.push(turn);
  message.value = "";
  byId("lanes").querySelectorAll(".turns").forEach((box, lane) => box.append(...turnView(turn, conversation.turns.length - 1, lane)));
  await Promise.all(conversation.lanes.map((_, lane) => run(conversation.turns.length - 1, lane)));
}

async function run(number, lane) {
  const turn = conversation.turns[number];
  const body = bodyFor(conversation, lane, number + 1);
  const abort = new AbortController();
  const box = byId("lanes").children[lane].querySelector(".turns");
  running.add(abort);
  box.setAttribute("aria-busy", "true");
  turn.views[lane].update(null, true);
  showRunning();
  try {
    turn.answers[lane] = await ask(body, {
      endpoint: conversation.lanes[lane].endpoint,
      csrf,
      signal: abort.signal,
      changed: (answer) => {
        turn.views[lane].update(answer, true);
        keepInSight(box);
      },
    });
  } finally {
    running.delete(abort);
    box.setAttribute("aria-busy", "false");
    turn.views[lane].update(turn.answers[lane], false);
    showRunning();
    keep();
  }
}

async function tryAgain(number, lane) {
  const later = conversation.turns.length - 1 - number;
  if (running.size || (later && !(await question(gettext("Answer this again? What was said after it goes."))))) return;
  conversation.turns.length = number + 1;
  conversation.turns[number].answers[lane] = null;
  drawLanes();
  await run(number, lane);
}

/** Follow the answer, unless the reader has scrolled up to read. */
function keepInSight(box) {
  const bottom = document.documentElement.scrollHeight - innerHeight - scrollY;
  if (bottom < 160 && box.lastElementChild) scrollTo({ top: document.documentElement.scrollHeight });
}

function keep() {
  const { turns, ...rest } = conversation;
  const whole = save({ ...rest, turns: turns.map(({ text, images: sent, answers }) => ({ text, images: sent, answers })) });
  byId("composer-note").textContent = whole ? "" : gettext("Too large to keep in this browser whole.");
  byId("clear").disabled = !turns.length;
  showHint();
}

function showRunning() {
  byId("stop-button").hidden = !running.size;
  byId("send").hidden = running.size > 0;
  byId("compare").disabled = byId("clear").disabled = running.size > 0;
  for (const select of byId("lanes").querySelectorAll("select")) select.disabled = running.size > 0;
}

function showHint() {
  const tools = conversation.lanes.some((_, lane) => awaitsTools(conversation, lane));
  message.placeholder = tools ? gettext("What the tool gives") : gettext("Ask something. Enter sends, Shift+Enter begins a line.");
}

const stop = () => running.forEach((abort) => abort.abort());

/* Options */

function fillOptions() {
  const { options } = conversation;
  for (const field of byId("option-fields").elements) {
    if (field.type === "checkbox") field.checked = options[field.name] ?? true;
    else field.value = options[field.name] ?? "";
  }
  checkTools();
}

function checkTools() {
  const { problem } = readTools(conversation.options.tools);
  byId("tools-error").textContent = problem;
  byId("tools-error").hidden = !problem;
  byId("tools").setAttribute("aria-invalid", String(Boolean(problem)));
}

byId("option-fields").addEventListener("input", ({ target }) => {
  const value = target.type === "checkbox" ? target.checked : target.type === "number" ? target.valueAsNumber : target.value;
  if (value === "" || Number.isNaN(value)) delete conversation.options[target.name];
  else conversation.options[target.name] = value;
  checkTools();
  keep();
});
byId("option-fields").addEventListener("submit", (event) => event.preventDefault());

/* The composer and the buttons */

byId("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
message.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  send();
});
document.addEventListener("keydown", ({ key }) => key === "Escape" && stop());
byId("stop-button").addEventListener("click", () => {
  stop();
  message.focus();
});
byId("attach").addEventListener("click", () => byId("file").click());
byId("file").addEventListener("change", async ({ target }) => {
  await images.add(target.files);
  target.value = "";
});
message.addEventListener("paste", ({ clipboardData }) => addImages(clipboardData.files));
byId("composer").addEventListener("dragover", (event) => event.preventDefault());
byId("composer").addEventListener("drop", (event) => {
  event.preventDefault();
  addImages(event.dataTransfer.files);
});

function addImages(files) {
  if (takesImages()) return images.add(files);
  if (files.length) say(gettext("This model reads no images."));
}

byId("compare").addEventListener("click", () => {
  const [first, second] = conversation.lanes;
  const other = choices.find((choice) => serves(choice) && choice.name !== first.model);
  conversation.lanes = second ? [first] : [first, { model: other?.name ?? first.model, endpoint: "" }];
  for (const turn of conversation.turns) turn.answers.length = conversation.lanes.length;
  drawLanes();
  keep();
});

byId("clear").addEventListener("click", async () => {
  if (!(await question(gettext("Begin a new conversation? This one is removed from this browser.")))) return;
  conversation.turns = [];
  drawLanes();
  keep();
  message.focus();
});

byId("show-code").addEventListener("click", () => {
  const written = message.value.trim();
  const turns = written ? [...conversation.turns, { text: written, images: images.urls, answers: [] }] : conversation.turns;
  const body = bodyFor({ ...conversation, turns }, 0);
  const blocks = snippets(`${location.origin}/v1`, body).flatMap(([name, text]) => {
    const id = `code-${name}`;
    const pre = element("pre", "", [text]);
    pre.id = id;
    pre.tabIndex = 0;
    const copying = element("button", "button", [gettext("Copy")]);
    copying.type = "button";
    copying.dataset.copyFrom = id;
    copying.setAttribute("aria-label", fill(gettext("Copy as {name}"), { name }));
    return [element("div", "", [element("h3", "", [name]), element("div", "code", [pre, copying])])];
  });
  byId("code-tabs").replaceChildren(...blocks);
  byId("code").showModal();
});

/* The start */

const asked = new URLSearchParams(location.search);
const known = conversation.lanes.filter(({ model }) => choiceOf(model));
conversation.lanes = known.length ? known : [{ model: choices[0]?.name ?? "", endpoint: "" }];
if (choiceOf(asked.get("model"))) conversation.lanes[0] = { model: asked.get("model"), endpoint: asked.get("endpoint") ?? "" };
if (matchMedia("(max-width: 60rem)").matches) byId("options").open = false;
fillOptions();
drawLanes();
