"use strict";
// Opens the engine and starts the lab; where that fails, one sentence says why.
(() => {
  let spokenLater = null;

  function hear(what) {
    if (what === "runs") branchList.draw();
    if (what === "rewound") announceLine(text.rewound);
    if (what === "nothing_left") announceLine(text.nothing_left);
    controls.show();
    drawingBoard.showHold();
    view.soon();
    if (what !== "state" || !lab.isPlaying()) branchListSoon();
    clearTimeout(spokenLater);
    if (!lab.isPlaying() && (what === "state" || what === "playing")) spokenLater = setTimeout(() => announce(view.spoken()), 700);
  }

  function announceLine(words) {
    byId("notice").textContent = words;
    announce(words);
    setTimeout(() => byId("notice").textContent === words && (byId("notice").textContent = ""), 6000);
  }

  let listDue = false;
  function branchListSoon() {
    if (listDue) return;
    listDue = true;
    setTimeout(() => {
      listDue = false;
      branchList.drawStates();
    }, 120);
  }

  // Keys: space plays, arrows step; letters belong to lecturer mode.
  function press(event) {
    if (event.defaultPrevented || labLecture.press(event)) return event.preventDefault();
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("button, input, select, textarea, summary, a")) return;
    if (event.key === " ") controls.toggle();
    else if (event.key === "ArrowRight") lab.step();
    else if (event.key === "ArrowLeft") lab.seek(Math.max(0, lab.at - 1));
    else if (event.key === "Home") lab.seek(0);
    else if (event.key === "End") lab.finish();
    else return;
    event.preventDefault();
  }

  function readAddress() {
    const parts = new URLSearchParams(location.hash.slice(1));
    if (parts.get("task")) tasks.open(parts.get("task"), false);
    else if (location.hash.includes("=")) exchange.apply(parts); // else it names a place in the page
  }

  async function start() {
    engine = await openEngine();
    settings.remember(engine.sampler);
    if (engine.kernels.kind !== "wasm") byId("slow").hidden = false;
    const { label, told, ...chosen } = settings.first();
    lab.restart(facts.defaults.seed, facts.defaults.steps, chosen);
    for (const part of [controls, drawingBoard, exchange, tasks, labLecture]) part.listen();
    manyView.listen();
    lab.listen(hear);
    hear("runs");
    document.addEventListener("keydown", press);
    addEventListener("hashchange", readAddress);
    new ResizeObserver(film.resized).observe(byId("film").parentElement);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", film.resized);
    readAddress();
    document.documentElement.classList.add("ready");
  }

  // Every pixel of an image gets a whole number of the screen's: sizes are multiples of the image's side.
  function fitStyles() {
    const { style } = document.documentElement;
    style.setProperty("--side", SIDE + "px");
    style.setProperty("--cell", SIDE * Math.max(1, Math.round(56 / SIDE)) + "px");
    style.setProperty("--labels", facts.class_names.length + 1);
  }

  document.documentElement.classList.add("js");
  fitStyles();
  start().catch((error) => {
    byId("lab").hidden = true;
    byId("failed").hidden = false;
    byId("failed").textContent = text[`failed_${error.key}`] ?? fill(text.failed, { why: error.message });
  });
})();
