"use strict";
// Speaker notes in a window of their own: an empty window that this page fills and styles.
// It inherits the page's content policy, which allows the copied style sheets by their hash.
const notesWindow = (() => {
  let other = null; // the notes window
  let watch = 0; // the timer that checks whether the window was closed
  let told = () => {}; // called with true when the window opens, with false when it closes

  const isOpen = () => Boolean(other && !other.closed);

  function open(press, onChange) {
    other = window.open("", "", "popup,width=760,height=720");
    if (!isOpen()) return false;
    const page = other.document;
    page.documentElement.lang = document.documentElement.lang;
    page.documentElement.className = "notes-window";
    page.title = text.notes_title;
    page.head.append(...[...document.querySelectorAll("style")].map((style) => page.importNode(style, true)));
    page.body.append(page.createElement("main"));
    page.addEventListener("keydown", press);
    told = onChange;
    told(true);
    watch = setInterval(() => isOpen() || close(), 300);
    return true;
  }

  function close() {
    clearInterval(watch);
    if (isOpen()) other.close();
    other = null;
    told(false);
  }

  function line(name, words, kind = "") {
    const element = other.document.createElement(name);
    element.textContent = words;
    element.className = kind;
    return element;
  }

  function write(title, count, next, notes) {
    if (!isOpen()) return;
    const copies = notes.map((node) => other.document.importNode(node, true));
    for (const copy of copies) copy.querySelectorAll("button").forEach((button) => button.remove());
    const coming = next ? [line("p", fill(text.notes_next, { title: next }), "next")] : [];
    const main = other.document.querySelector("main");
    main.replaceChildren(line("p", count, "where"), line("h1", title), ...copies, ...coming);
    other.scrollTo(0, 0);
  }

  return { open, close, write, isOpen };
})();
