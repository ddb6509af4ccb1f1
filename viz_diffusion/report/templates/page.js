"use strict";
// The page around the player: copying, enlarging, contents, printing; starts all other scripts.
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
    if (byId("lecture")?.hidden === false) return; // the figure fills the slide already
    const source = figure.querySelector("img");
    const [image, words] = [byId("zoom").querySelector("img"), byId("zoom").querySelector("p")];
    image.src = source.src;
    image.alt = source.alt;
    image.width = source.getAttribute("width");
    image.height = source.getAttribute("height");
    words.replaceChildren(...terms.plain(figure.querySelector("figcaption")).childNodes);
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

  // Opens all details for printing and closes them again afterwards; those of exercises are hidden on paper.
  function openForPrint() {
    const closed = [...document.querySelectorAll("details:not([open])")];
    for (const details of closed) details.open = true;
    addEventListener("afterprint", () => closed.forEach((details) => (details.open = false)), { once: true });
  }

  // Marks the edges at which a wide table continues; a formula wider than its column can be scrolled by keyboard too.
  function hintScroll(box) {
    const hidden = box.scrollWidth - box.clientWidth;
    box.classList.toggle("wide", hidden > 1);
    box.classList.toggle("more-before", box.scrollLeft > 1);
    box.classList.toggle("more-after", hidden - box.scrollLeft > 1);
    if (!box.matches(".shown")) return;
    if (hidden > 0) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
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
    for (const box of document.querySelectorAll(".scroll, .shown")) {
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
    terms.start();
    if (byId("lecture")) lecture.start();
    listen();
    openTarget();
    if (!calm.matches) player.play();
  }

  // If the frames cannot be decoded, the page is shown as without JavaScript.
  start().catch(() => document.documentElement.classList.remove("js"));
})();
