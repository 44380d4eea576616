/**
 * Light, dark, or as the system says. The choice is kept in this browser under the name that Django's admin uses, so
 * that one switch serves all pages. Loaded in the head and not deferred: a page must not flash in the wrong colours.
 */
"use strict";
{
  const THEMES = ["auto", "light", "dark"];

  /** @returns {string} the theme chosen in this browser */
  const chosen = () => {
    const theme = localStorage.getItem("theme");
    return THEMES.includes(theme) ? theme : "auto";
  };

  const show = () => {
    document.documentElement.dataset.theme = chosen();
    for (const button of document.querySelectorAll("[data-choose-theme]")) {
      button.setAttribute("aria-pressed", String(button.dataset.chooseTheme === chosen()));
    }
  };

  show();
  // What was hidden stays hidden, on this browser and without a flash.
  for (const key of Object.keys(localStorage)) {
    if (key.startsWith("dismissed-")) document.documentElement.classList.add(key.replace("dismissed-", "without-"));
  }
  document.addEventListener("DOMContentLoaded", show);
  window.addEventListener("storage", show);

  document.addEventListener("click", ({ target }) => {
    const button = target.closest("[data-choose-theme]");
    if (button) {
      localStorage.setItem("theme", button.dataset.chooseTheme);
      show();
    }
    const dismiss = target.closest("[data-dismiss]")?.dataset.dismiss;
    if (dismiss) {
      localStorage.setItem(`dismissed-${dismiss}`, "yes");
      document.documentElement.classList.add(`without-${dismiss}`);
    }
    // A click elsewhere closes the open menu.
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      if (!menu.contains(target)) menu.open = false;
    }
  });

  document.addEventListener("keydown", ({ key }) => {
    const menu = document.querySelector("details.menu[open]");
    if (key === "Escape" && menu) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  });
}
