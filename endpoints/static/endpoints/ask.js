/** What every page may do with a person: say what happened, and ask before something that hurts. */
import { fill, gettext } from "./words.js";

const SAID_FOR_MS = 6000;
const toast = document.getElementById("said");
const dialog = document.getElementById("confirm");
let timer = 0;

/** Show a sentence for a while; screen readers read it out. @param {string} text */
export function say(text) {
  toast.textContent = text;
  toast.hidden = false;
  clearTimeout(timer);
  timer = setTimeout(() => (toast.hidden = true), SAID_FOR_MS);
}

/** Ask a question. @param {string} question @returns {Promise<boolean>} whether to go ahead */
export function ask(question) {
  dialog.querySelector("p").textContent = question;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

document.body.addEventListener("olla:said", ({ detail }) => say(detail.text));

/** A question that many buttons ask stands once in the page, as a template with `{name}` in it. */
function wordsOf(question, button) {
  const template = document.getElementById(`ask-${question}`);
  return template ? fill(template.content.textContent, { name: button.closest("[data-name]")?.dataset.name }) : question;
}

document.body.addEventListener("htmx:confirm", (event) => {
  const { question, issueRequest } = event.detail;
  if (!question) return;
  event.preventDefault();
  ask(wordsOf(question, event.detail.elt)).then((yes) => yes && issueRequest(true));
});

/** A plain form or button with `data-confirm` asks too. */
document.addEventListener("submit", (event) => {
  const form = event.target;
  const question = event.submitter?.dataset.confirm ?? form.dataset.confirm;
  if (!question || form.dataset.confirmed) return;
  event.preventDefault();
  const { submitter } = event;
  ask(question).then((yes) => {
    if (!yes) return;
    form.dataset.confirmed = "yes";
    form.requestSubmit(submitter);
    delete form.dataset.confirmed;
  });
});

/** A button with `data-copy` copies that text, or what the element with this id holds (`data-copy-from`). */
document.addEventListener("click", async ({ target }) => {
  const button = target.closest("[data-copy], [data-copy-from]");
  if (!button) return;
  const text = button.dataset.copy ?? document.getElementById(button.dataset.copyFrom)?.textContent ?? "";
  say((await copy(text)) ? gettext("Copied.") : gettext("The browser did not allow copying. Select the text and copy it by hand."));
});

/** @param {string} text @returns {Promise<boolean>} whether it is in the clipboard */
export async function copy(text) {
  try {
    // Browsers lend the clipboard to https and to this machine only.
    if (navigator.clipboard) await navigator.clipboard.writeText(text);
    else return copyThroughASelection(text);
    return true;
  } catch {
    return false;
  }
}

function copyThroughASelection(text) {
  const area = document.createElement("textarea");
  area.value = text;
  (document.querySelector("dialog[open]") ?? document.body).append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
}
