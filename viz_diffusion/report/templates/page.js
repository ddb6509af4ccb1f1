"use strict";
// The page around the player: copying, enlarging, contents, printing; and what starts it all.
(() => {
  const calm = matchMedia("(prefers-reduced-motion: reduce)");

  async function copy(button) {
    const code = button.closest(".command").querySelector("code");
    let done = true;
    try {
      await navigator.clipboard.writeText(code.textContent);
    } catch {
      getSelection().selectAllChildren(code);
      done = document.execCommand("copy");
    }
    const words = done ? text.copied : text.copy_failed;
    const before = (button.dataset.name ??= button.textContent);
    announce((button.textContent = words));
    setTimeout(() => {
      button.textContent = before;
      announce("");
    }, 2000);
  }

  function enlarge(figure) {
    if (!byId("lecture").hidden) return; // it already fills the slide
    const source = figure.querySelector("img");
    const [image, words] = [byId("zoom").querySelector("img"), byId("zoom").querySelector("p")];
    image.src = source.src;
    image.alt = source.alt;
    image.width = source.getAttribute("width");
    image.height = source.getAttribute("height");
    words.replaceChildren(...figure.querySelector("figcaption").cloneNode(true).childNodes);
    byId("zoom").showModal();
  }

  function openTarget() {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const fold = target && target.querySelector("details.fold");
    if (fold) fold.open = true;
  }

  function markChapter(entries) {
    for (const entry of entries) entry.target.inView = entry.isIntersecting;
    const current = [...document.querySelectorAll(".chapter")].find((section) => section.inView);
    for (const link of document.querySelectorAll(".contents a")) {
      if (current && link.hash === "#" + current.id) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  }

  // Paper shows everything, answers too; afterwards what was closed is closed again.
  function openForPrint() {
    const closed = [...document.querySelectorAll("details:not([open])")];
    for (const details of closed) details.open = true;
    addEventListener("afterprint", () => closed.forEach((details) => (details.open = false)), { once: true });
  }

  // A table wider than its room shows at which edge it goes on.
  function hintScroll(box) {
    const hidden = box.scrollWidth - box.clientWidth;
    box.classList.toggle("wide", hidden > 1);
    box.classList.toggle("more-before", box.scrollLeft > 1);
    box.classList.toggle("more-after", hidden - box.scrollLeft > 1);
  }

  function listen() {
    document.addEventListener("click", ({ target }) => {
      const button = target.closest("button.copy");
      const figure = target.closest(".picture .enlarge, .picture img")?.closest("figure.picture");
      if (button) copy(button);
      if (figure) enlarge(figure);
      if (target === byId("zoom")) byId("zoom").close();
    });
    const sizes = new ResizeObserver((entries) => entries.forEach(({ target }) => hintScroll(target)));
    for (const box of document.querySelectorAll(".scroll")) {
      sizes.observe(box);
      box.addEventListener("scroll", () => hintScroll(box), { passive: true });
    }
    addEventListener("hashchange", openTarget);
    addEventListener("beforeprint", openForPrint);
    const watcher = new IntersectionObserver(markChapter, { rootMargin: "-20% 0px -60% 0px" });
    document.querySelectorAll(".chapter").forEach((section) => watcher.observe(section));
  }

  async function start() {
    await player.start();
    linkedCharts.start();
    lecture.start();
    listen();
    openTarget();
    if (!calm.matches) player.play();
  }

  // Where the frames cannot be decoded, the page falls back to what it shows without a script.
  start().catch(() => document.documentElement.classList.remove("js"));
})();
