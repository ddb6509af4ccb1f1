"use strict";
// The controls beside the pictures: they change the run, and show the settings of the state that is shown.
const controls = (() => {
  const number = (name) => Number(byId(name).value);

  // --- seed, steps ---
  const LARGEST_SEED = 2 ** 32 - 1;
  function newRun(seed, steps, compared) {
    const { label, told, ...chosen } = lab.shownSettings();
    lab.restart(seed, steps, chosen, compared);
  }

  function changeSeed() {
    const seed = Math.min(LARGEST_SEED, Math.max(0, Math.round(number("seed")) || 0));
    if (seed !== lab.seed()) newRun(seed, lab.wholeSteps(), null);
    byId("seed").value = seed;
  }

  // --- painting ---
  const tool = () => document.querySelector("input[name=tool]:checked").value;
  const ink = () => (tool() === "eraser" ? -1 : 1);
  const width = () => number("width");

  function readyStroke() {
    const cover = shapes.coverage(byId("shape").value, width());
    if (!lab.beginStroke(ink())) return lab.tell("nothing_left");
    lab.stroke(cover);
    brush.outline(byId("outline"), cover);
    announce(fill(text.stroke_made, { name: byId("shape").selectedOptions[0].textContent, t: lab.state().t }));
  }

  // --- showing ---
  function setRange(name, value, words) {
    const range = byId(name);
    if (document.activeElement !== range || Number(range.value) !== value) range.value = value;
    byId(name + "-value").textContent = words;
    range.setAttribute("aria-valuetext", words);
  }

  function show() {
    const shown = lab.shownSettings();
    const { t } = lab.state();
    setRange("guidance", shown.guidance, String(shown.guidance));
    showEta(shown);
    const given = t < 0 ? null : settings.given(t, shown);
    const frozen = shown.clock === "frozen";
    byId("offset").disabled = shown.clock === "reversed";
    byId("offset").min = frozen ? 0 : -500;
    byId("offset").max = frozen ? engine.sampler.schedule.length - 1 : 500;
    const words = given === null ? "–" : given === t ? fill(text.given_true, { t }) : fill(text.given_other, { given, t });
    setRange("offset", frozen ? shown.frozen : shown.offset, words);
    byId("clock").value = shown.clock;
    byId("where").value = shown.where;
    byId("where").disabled = facts.model.use_time === false;
    byId("second").value = shown.second;
    setRange("share", shown.share, shown.share === 0 ? text.share_none : fill(text.share_some, { label: wordFor.label(shown.second), share: wordFor.percent(shown.share) }));
    for (const radio of document.querySelectorAll("input[name=label]")) radio.checked = Number(radio.value) === shown.base;
    if (document.activeElement !== byId("seed")) byId("seed").value = lab.seed();
    byId("steps").value = lab.wholeSteps();
    byId("play").classList.toggle("playing", lab.isPlaying());
    byId("play-name").textContent = lab.isPlaying() ? text.pause : text.play;
    showScrubber();
  }

  // DDPM as in the report (variance β) adds a little more noise than η = 1; flow matching adds none.
  function showEta({ method, eta }) {
    const words = { 0: text.eta_none, 1: text.eta_full }[eta] ?? wordFor.number(eta, 2);
    byId("eta").disabled = !engine.sampler.methods.includes("ddim");
    setRange("eta", method === "ddpm" ? 1 : eta, { ddpm: text.eta_ddpm, euler: text.eta_euler }[method] ?? words);
  }

  // Steps that a run from a drawing leaves out, so that the slider has the film's time axis.
  const skipped = () => Math.max(0, lab.wholeSteps() - lab.current.run.timesteps.length);

  function showScrubber() {
    const scrubber = byId("scrubber");
    scrubber.max = lab.wholeSteps();
    scrubber.value = lab.at + skipped();
    scrubber.setAttribute("aria-valuetext", view.spoken());
  }

  // --- listening ---
  function onRange(name, change) {
    byId(name).addEventListener("input", () => change(number(name)));
  }

  function listen() {
    byId("play").addEventListener("click", toggle);
    byId("step").addEventListener("click", lab.step);
    byId("finish").addEventListener("click", lab.finish);
    byId("start").addEventListener("click", () => lab.seek(0));
    onRange("scrubber", (place) => lab.seek(Math.max(0, place - skipped())));
    onRange("guidance", (guidance) => lab.change({ guidance }));
    onRange("eta", (eta) => lab.change({ eta, method: "ddim" }));
    onRange("offset", (value) => lab.change(lab.shownSettings().clock === "frozen" ? { frozen: value } : { offset: value }));
    onRange("share", (share) => lab.change({ share }));
    byId("clock").addEventListener("change", () => lab.change({ clock: byId("clock").value }));
    byId("where").addEventListener("change", () => lab.change({ where: byId("where").value }));
    byId("second").addEventListener("change", () => lab.change({ second: number("second") }));
    byId("reset").addEventListener("click", () => {
      const { share, clock, offset, where, eta, method, guidance } = settings.complete(settings.first());
      lab.change({ share, clock, offset, where, eta, method, guidance });
    });
    for (const radio of document.querySelectorAll("input[name=label]")) {
      radio.addEventListener("change", () => lab.change({ base: Number(radio.value) }));
    }
    byId("seed").addEventListener("change", changeSeed);
    byId("new-seed").addEventListener("click", () => newRun((lab.seed() + 1) % (LARGEST_SEED + 1), lab.wholeSteps(), null));
    byId("steps").addEventListener("change", () => newRun(lab.seed(), number("steps"), lab.current));
    byId("stroke").addEventListener("click", readyStroke);
    brush.attach(byId("x0"), {
      width,
      begin: () => tool() !== "look" && (lab.beginStroke(ink()) || lab.tell("nothing_left")),
      move: (cover) => {
        lab.stroke(cover);
        brush.outline(byId("outline"), cover);
      },
    });
    for (const one of document.querySelectorAll("input[name=tool]")) one.addEventListener("change", showTool);
    if (matchMedia("(pointer: coarse)").matches) document.querySelector("input[name=tool][value=look]").checked = true;
    showTool();
  }

  const showTool = () => byId("x0").classList.toggle("paints", tool() !== "look");
  const toggle = () => (lab.isPlaying() ? lab.stop() : lab.play());

  return { listen, show, toggle, newRun, width };
})();
