"use strict";
// Lecturer mode of the lab: it fills the screen in large type; a pen and a pointer above everything.
const labLecture = (() => {
  const root = document.documentElement;
  const pen = lecturePen({
    canvas: byId("ink"),
    dot: byId("pointer"),
    penButton: byId("lecture-pen"),
    pointerButton: byId("lecture-pointer"),
    wipeButton: byId("lecture-wipe"),
  });
  let before = null; // what had the focus

  const isOpen = () => root.classList.contains("lecturing");

  function show(open) {
    root.classList.toggle("lecturing", open);
    byId("lecture").setAttribute("aria-pressed", String(open));
    byId("lecture-bar").hidden = !open;
    announce(open ? text.lecture_on : text.lecture_off);
    lab.tell("state");
  }

  function open() {
    before = document.activeElement;
    show(true);
    root.requestFullscreen?.().catch(() => {}); // without permission the lab fills the page only
    scrollTo({ top: 0, behavior: "instant" });
    byId("lecture-pen").focus({ preventScroll: true });
  }

  function leave() {
    if (!isOpen()) return;
    pen.putAway();
    show(false);
    if (document.fullscreenElement) document.exitFullscreen().catch(() => {});
    (before?.isConnected && before !== document.body ? before : byId("lecture")).focus({ preventScroll: true });
  }

  // Returns whether the key was used.
  function press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return false;
    const { key, target } = event;
    if (target.matches("input:not([type=range], [type=radio], [type=checkbox]), textarea, select")) return false;
    const letter = key.toLowerCase();
    if (letter === "l") isOpen() ? leave() : open();
    else if (!isOpen()) return false;
    else if (letter === "p") pen.choose("pen");
    else if (letter === "o") pen.choose("pointer");
    else if (letter === "x") pen.wipe();
    else if (key === "Escape") leave();
    else if (key === "PageDown" || key === "PageUp") tasks.turn(key === "PageDown" ? 1 : -1);
    else return false;
    return true;
  }

  function listen() {
    byId("lecture").addEventListener("click", () => (isOpen() ? leave() : open()));
    byId("lecture-leave").addEventListener("click", leave);
    document.addEventListener("fullscreenchange", () => document.fullscreenElement || leave());
  }

  return { listen, press };
})();
