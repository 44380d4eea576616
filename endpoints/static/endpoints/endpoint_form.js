/** The form of an endpoint in the admin: shows the defaults of the chosen type, and only the fields that its sign-in uses. */
import { fill, gettext } from "./words.js";

document.addEventListener("DOMContentLoaded", () => {
  const type = document.getElementById("id_type");
  const kind = document.getElementById("id_auth_kind");
  if (!type || !kind) return;
  const defaults = JSON.parse(type.dataset.defaults);

  const showDefaults = () => {
    // A type that is still to be detected has none yet.
    const chosen = defaults[type.value] ?? {};
    for (const field of Object.keys(Object.values(defaults)[0]).filter((name) => name !== "notes")) {
      const input = document.getElementById(`id_${field}`);
      if (input) input.placeholder = chosen[field] ?? "";
    }
    showNotes(chosen.notes ?? []);
  };

  /** What is worth knowing of the chosen type stands under it. */
  const notes = document.createElement("ul");
  notes.className = "help type-notes";
  type.closest(".form-row").append(notes);
  const showNotes = (lines) => notes.replaceChildren(...lines.map((line) => Object.assign(document.createElement("li"), { textContent: line })));

  /** Which sign-ins a field belongs to. */
  const USED_BY = { auth_username: ["basic"], auth_header: ["api_key"], new_credential: ["bearer", "api_key", "basic"] };
  const CREDENTIAL_LABEL = { bearer: gettext("Token:"), api_key: gettext("API key:"), basic: gettext("Password:") };

  const showSignIn = () => {
    for (const [field, kinds] of Object.entries(USED_BY)) {
      const input = document.getElementById(`id_${field}`);
      const row = document.querySelector(`.form-row.field-${field}`);
      // What is filled in stays in sight, so that nothing is sent unseen.
      if (row && input) row.hidden = !kinds.includes(kind.value) && !input.value && !row.querySelector(".errorlist");
    }
    const label = document.querySelector("label[for=id_new_credential]");
    if (label) label.textContent = CREDENTIAL_LABEL[kind.value] ?? gettext("Credential:");
  };

  type.addEventListener("change", showDefaults);
  kind.addEventListener("change", showSignIn);
  showDefaults();
  showSignIn();

  /* Test connection: the form as it stands, nothing stored */
  const section = document.querySelector(".connection");
  const button = document.getElementById("test-connection");
  const outcome = document.getElementById("test-outcome");
  button?.addEventListener("click", async () => {
    button.disabled = true;
    outcome.textContent = section.dataset.asking ?? "…";
    const data = new FormData(type.form);
    data.set("endpoint", section.dataset.endpoint);
    try {
      const response = await fetch(section.dataset.test, { method: "POST", body: data });
      if (!response.ok || response.redirected) throw new Error(String(response.status));
      outcome.innerHTML = await response.text(); // our own template, in which Django has escaped every value
    } catch ({ message }) {
      outcome.textContent = fill(gettext("The gateway could not test it ({message}). Reload the page and try again."), { message });
    } finally {
      button.disabled = false;
    }
  });
});
