/** The form of a local model: shows the fields that its source and kind use, and looks at its files while one types. */
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  const form = document.getElementById("localmodel_form");
  const kind = document.getElementById("id_kind");
  if (!form || !kind) return;
  const LOOK_AFTER_MS = 700;

  const row = (field) => form.querySelector(`.form-row.field-${field}`);
  const origin = () => form.querySelector("input[name=origin]:checked")?.value;

  /** What is filled in stays in sight, so that nothing is sent unseen. */
  const show = (field, wanted) => {
    const input = document.getElementById(`id_${field}`);
    const where = row(field);
    if (where && input) where.hidden = !wanted && (!input.value || field === "source") && !where.querySelector(".errorlist");
  };

  const showFields = () => {
    show("source", origin() !== "demo");
    show("revision", origin() === "hub");
    show("embedding_source", kind.value === "both");
    show("new_token", origin() === "hub" || kind.value === "both");
    const label = document.querySelector("label[for=id_source]");
    if (label) label.textContent = origin() === "folder" ? "Folder:" : "Hugging Face id:";
    const source = document.getElementById("id_source");
    if (source) source.placeholder = origin() === "folder" ? "/Users/ada/models/my-model" : "owner/name";
  };

  const said = document.createElement("p");
  said.className = "look";
  said.setAttribute("role", "status");
  said.hidden = true;
  (row("kind") ?? row("source")).after(said);

  let timer = 0;
  let asked = 0;
  const tell = (text, isBad) => {
    said.textContent = text;
    said.hidden = !text;
    said.classList.toggle("is-bad", isBad);
  };

  const look = async () => {
    const number = ++asked;
    if (origin() !== "demo" && !document.getElementById("id_source").value.trim()) return tell("", false);
    tell("Looking at its files …", false);
    const filled = new FormData(form);
    const id = /\/(\d+)\/change\//.exec(location.pathname);
    if (id) filled.set("id", id[1]);
    try {
      const response = await fetch("/admin/inference/localmodel/look/", { method: "POST", body: filled });
      const found = await response.json();
      if (number !== asked) return;
      tell(found.said ?? found.problems.join(" "), Boolean(found.problems));
    } catch {
      if (number === asked) tell("", false);
    }
  };
  const lookSoon = () => {
    clearTimeout(timer);
    timer = setTimeout(look, LOOK_AFTER_MS);
  };

  const LOOKED_AT = ["source", "revision", "kind", "embedding_source", "host", "memory_megabytes", "max_concurrent", "prompt_cache_megabytes", "context_limit", "draft_source", "adapter_path"];
  form.addEventListener("input", ({ target }) => {
    showFields();
    if (LOOKED_AT.includes(target.name) || target.name === "origin") lookSoon();
  });
  showFields();
  if (!form.querySelector(".errornote")) lookSoon();
});
