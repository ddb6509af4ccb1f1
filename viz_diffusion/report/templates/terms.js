"use strict";
// Terms of the glossary: hovering, focusing or tapping one shows its meaning. Without this script, a term is a link.
const terms = (() => {
  const tip = byId("tip");
  const WAIT = 200; // milliseconds: time to move the pointer from the term to its meaning
  let shown = null; // the link whose meaning is shown
  let tapped = false; // true if the last press was a touch on a link whose meaning was not shown yet
  let timer = 0;

  const termUnder = (target) => (target.closest ? target.closest("a.term") : null);

  function place(link) {
    const lines = [...link.getClientRects()];
    const line = lines.at(-1); // a term may be broken over two lines
    const wide = document.documentElement.clientWidth;
    const left = Math.max(8, Math.min(line.left, wide - tip.offsetWidth - 8));
    const fits = line.bottom + tip.offsetHeight + 8 <= innerHeight || lines[0].top < tip.offsetHeight + 8;
    tip.style.left = `${left + scrollX}px`;
    tip.style.top = `${(fits ? line.bottom : lines[0].top - tip.offsetHeight) + scrollY}px`;
  }

  function show(link) {
    clearTimeout(timer);
    if (shown === link) return;
    const entry = document.querySelector(link.hash).cloneNode(true);
    for (const node of [entry, ...entry.querySelectorAll("[id]")]) node.removeAttribute("id");
    for (const node of entry.querySelectorAll("a")) node.replaceWith(...node.childNodes);
    tip.firstElementChild.replaceChildren(entry);
    if (!tip.matches(":popover-open")) tip.showPopover();
    shown = link;
    place(link);
  }

  function hide() {
    clearTimeout(timer);
    if (!shown) return;
    tip.hidePopover();
    shown = null;
  }

  // A pointer may move on to the meaning, and the meaning stays while its term has the focus.
  function hideSoon() {
    clearTimeout(timer);
    timer = setTimeout(() => shown !== document.activeElement && hide(), WAIT);
  }

  function listen() {
    document.addEventListener("pointerover", ({ target, pointerType }) => {
      if (pointerType === "touch") return;
      const link = termUnder(target);
      if (link) show(link);
      else if (tip.contains(target)) clearTimeout(timer);
      else if (shown) hideSoon();
    });
    document.addEventListener("pointerdown", ({ target, pointerType }) => {
      const link = termUnder(target);
      tapped = pointerType === "touch" && Boolean(link) && link !== shown;
      if (!link && !tip.contains(target)) hide();
    });
    document.addEventListener("click", (event) => {
      const link = termUnder(event.target);
      if (!link) return;
      if (tapped) event.preventDefault(); // the first tap shows the meaning, the second leads to the glossary
      if (tapped) show(link);
      else hide();
      tapped = false;
    });
    document.addEventListener("focusin", ({ target }) => {
      const link = termUnder(target);
      if (link && link.matches(":focus-visible")) show(link);
    });
    document.addEventListener("focusout", ({ target }) => termUnder(target) && hideSoon());
    document.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !shown) return;
      hide();
      event.stopImmediatePropagation(); // Escape closes only the meaning
      event.preventDefault();
    }, true);
    addEventListener("resize", hide);
    addEventListener("beforeprint", hide);
  }

  // Returns a copy of a node in which terms are plain words.
  function plain(node) {
    const copy = node.cloneNode(true);
    for (const link of copy.querySelectorAll("a.term")) link.replaceWith(...link.childNodes);
    return copy;
  }

  function start() {
    if (tip.showPopover) listen();
  }

  return { start, plain };
})();
