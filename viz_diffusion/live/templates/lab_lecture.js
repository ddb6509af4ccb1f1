"use strict";
// Lecturer mode: the lab fills the screen, in large type; a pen to write on it, and a pointer that all can see.
const labLecture = (() => {
  const root = document.documentElement;
  const canvas = byId("ink");
  const dot = byId("pointer");
  let tool = ""; // "", "pen" or "pointer"
  let last = null;
  let before = null; // what had the focus

  const isOpen = () => root.classList.contains("lecturing");

  function open() {
    before = document.activeElement;
    root.classList.add("lecturing");
    byId("lecture").setAttribute("aria-pressed", "true");
    byId("lecture-bar").hidden = false;
    root.requestFullscreen?.().catch(() => {});
    scrollTo({ top: 0, behavior: "instant" });
    byId("lecture-pen").focus({ preventScroll: true });
    announce(text.lecture_on);
    lab.tell("state");
  }

  function leave() {
    if (!isOpen()) return;
    choose("");
    wipe();
    root.classList.remove("lecturing");
    byId("lecture").setAttribute("aria-pressed", "false");
    byId("lecture-bar").hidden = true;
    if (document.fullscreenElement) document.exitFullscreen().catch(() => {});
    (before?.isConnected && before !== document.body ? before : byId("lecture")).focus({ preventScroll: true });
    announce(text.lecture_off);
    lab.tell("state");
  }

  function choose(name) {
    tool = tool === name ? "" : name;
    canvas.hidden = tool !== "pen" && !canvas.dataset.used;
    canvas.classList.toggle("writes", tool === "pen");
    dot.hidden = tool !== "pointer";
    for (const one of ["pen", "pointer"]) byId(`lecture-${one}`).setAttribute("aria-pressed", String(tool === one));
    if (tool === "pen") fit();
    if (tool) announce(text[`lecture_${tool}_on`]);
  }

  // The size of the window; what was written stays.
  function fit() {
    const dense = window.devicePixelRatio || 1;
    const [width, height] = [innerWidth * dense, innerHeight * dense].map(Math.round);
    if (canvas.width === width && canvas.height === height) return;
    Object.assign(canvas, { width, height });
    delete canvas.dataset.used;
  }

  function wipe() {
    canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
    delete canvas.dataset.used;
    canvas.hidden = tool !== "pen";
  }

  function write(event) {
    const dense = window.devicePixelRatio || 1;
    const pen = canvas.getContext("2d");
    const point = [event.clientX * dense, event.clientY * dense];
    pen.strokeStyle = getComputedStyle(canvas).color;
    pen.lineWidth = 5 * dense;
    pen.lineCap = pen.lineJoin = "round";
    pen.beginPath();
    pen.moveTo(...(last ?? point));
    pen.lineTo(...point);
    pen.stroke();
    canvas.dataset.used = "yes";
    last = point;
  }

  function press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return false;
    const { key, target } = event;
    if (target.matches("input:not([type=range], [type=radio], [type=checkbox]), textarea, select")) return false;
    const letter = key.toLowerCase();
    if (letter === "l") isOpen() ? leave() : open();
    else if (!isOpen()) return false;
    else if (letter === "p") choose("pen");
    else if (letter === "o") choose("pointer");
    else if (letter === "w") wipe();
    else if (key === "Escape") tool ? choose(tool) : leave();
    else if (key === "PageDown" || key === "PageUp") tasks.turn(key === "PageDown" ? 1 : -1);
    else return false;
    return true;
  }

  function listen() {
    byId("lecture").addEventListener("click", () => (isOpen() ? leave() : open()));
    byId("lecture-leave").addEventListener("click", leave);
    byId("lecture-pen").addEventListener("click", () => choose("pen"));
    byId("lecture-pointer").addEventListener("click", () => choose("pointer"));
    byId("lecture-wipe").addEventListener("click", wipe);
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      last = null;
      write(event);
    });
    canvas.addEventListener("pointermove", (event) => canvas.hasPointerCapture(event.pointerId) && write(event));
    addEventListener("pointermove", (event) => {
      if (tool === "pointer") dot.style.translate = `${event.clientX}px ${event.clientY}px`;
    });
    addEventListener("resize", () => tool === "pen" && fit());
    document.addEventListener("fullscreenchange", () => document.fullscreenElement || leave());
  }

  return { listen, press, isOpen };
})();
