
"use strict";
for (const person of document.querySelectorAll(".person")) {
  const bands = [...person.querySelectorAll(".band")];
  const stretches = [...person.querySelectorAll(".stretch")];
  const status = person.querySelector("[role=status]");
  const select = (chosen, tell) => {
    bands.forEach((band, index) => {
      band.setAttribute("tabindex", index === chosen ? "0" : "-1");
      if (index === chosen) band.setAttribute("aria-current", "true");
      else band.removeAttribute("aria-current");
    });
    stretches.forEach((stretch, index) => { stretch.hidden = index !== chosen; });
    if (tell) status.textContent = "Shown: " + bands[chosen].getAttribute("aria-label");
  };
  if (!bands.length) continue;
  bands.forEach((band, index) => {
    band.addEventListener("click", (event) => {
      event.preventDefault();
      select(index, true);
    });
    band.addEventListener("keydown", (event) => {
      const last = bands.length - 1;
      const next = {
        ArrowLeft: index - 1, ArrowUp: index - 1, ArrowRight: index + 1, ArrowDown: index + 1,
        Home: 0, End: last, Enter: index, " ": index,
      }[event.key];
      if (next === undefined) return;
      event.preventDefault();
      const chosen = Math.min(Math.max(next, 0), last);
      select(chosen, true);
      bands[chosen].focus();
    });
  });
  select(bands.findIndex((band) => band.hasAttribute("aria-current")), false);
}
