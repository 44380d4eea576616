/** Says what a piece of the chart stands for, under the pointer. Its title says the same to whoever has none. */

const tip = document.createElement("p");
tip.className = "tip";
tip.hidden = true;
document.body.append(tip);

/** The browser's own tooltip would come a second later, on top of ours. */
for (const title of document.querySelectorAll(".usage-chart rect > title")) title.remove();

document.addEventListener("pointermove", ({ target, clientX, clientY }) => {
  const words = target.dataset?.tip;
  tip.hidden = !words;
  if (!words) return;
  tip.textContent = words;
  const room = document.documentElement.clientWidth - tip.offsetWidth - 8;
  tip.style.left = `${Math.max(8, Math.min(room, clientX - tip.offsetWidth / 2))}px`;
  tip.style.top = `${clientY + 18}px`;
});
