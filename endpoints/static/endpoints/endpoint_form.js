/** The form of an endpoint in the admin: shows the defaults of the chosen type, and only the fields that its sign-in uses. */
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  const type = document.getElementById("id_type");
  const kind = document.getElementById("id_auth_kind");
  if (!type || !kind) return;
  const defaults = JSON.parse(type.dataset.defaults);

  const showDefaults = () => {
    // A type that is still to be detected has none yet.
    const chosen = defaults[type.value] ?? {};
    for (const field of Object.keys(Object.values(defaults)[0])) {
      const input = document.getElementById(`id_${field}`);
      if (input) input.placeholder = chosen[field] ?? "";
    }
  };

  /** Which sign-ins a field belongs to. */
  const USED_BY = { auth_username: ["basic"], auth_header: ["api_key"], new_credential: ["bearer", "api_key", "basic"] };
  const CREDENTIAL_LABEL = { bearer: "Token:", api_key: "API key:", basic: "Password:" };

  const showSignIn = () => {
    for (const [field, kinds] of Object.entries(USED_BY)) {
      const input = document.getElementById(`id_${field}`);
      const row = document.querySelector(`.form-row.field-${field}`);
      // What is filled in stays in sight, so that nothing is sent unseen.
      if (row && input) row.hidden = !kinds.includes(kind.value) && !input.value && !row.querySelector(".errorlist");
    }
    const label = document.querySelector("label[for=id_new_credential]");
    if (label) label.textContent = CREDENTIAL_LABEL[kind.value] ?? "Credential:";
  };

  type.addEventListener("change", showDefaults);
  kind.addEventListener("change", showSignIn);
  showDefaults();
  showSignIn();
});
