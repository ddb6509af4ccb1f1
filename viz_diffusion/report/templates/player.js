"use strict";
// Plays the frames of one run or of two runs side by side. Reads the JSON in #ui-data; loads nothing else.
const byId = (id) => document.getElementById("ui-" + id);
const { runs, digits, curve, charts, text } = JSON.parse(byId("data").textContent);
const announce = (words) => (byId(byId("lecture")?.hidden === false ? "lecture-said" : "said").textContent = words);
// In English the singular stands after the number 1; other languages have no such words.
const fill = (words, values) =>
  words.replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all).replace(/(?<![\w.,−])1 (step|frame)s\b/g, "1 $1");

const player = (() => {
  const FIELDS = ["x_t", "x0_pred", "eps_pred"];
  const SECONDS = 10; // duration of a whole run at speed 1
  const SAVED_SIDE = 896; // largest side of a saved frame in pixels; a frame is enlarged by a whole factor
  const canvases = Object.fromEntries(FIELDS.map((field) => [field, byId(field)]));
  const second = { x_t: byId("x_t-2"), x0_pred: byId("x0_pred-2") };
  const brushes = new Map();
  const scrubber = byId("scrubber");
  const listeners = [];

  let run = runs[0];
  let beside = null; // the second run, or null
  let frame = 0; // 0 .. S; S is the finished image
  let position = 0; // the frame as a fraction, while playing
  let playing = false;
  let lastTime = 0;
  let spoken = ""; // the description of the frame for screen readers
  let wanted = 0; // index of the run chosen last
  let wantedBeside = ""; // index of the second run chosen last

  // --- numbers ---
  const stepsOf = (some) => some.timesteps.length;
  const steps = () => stepsOf(run);
  const leftAt = (some, index) => (index === stepsOf(some) ? 0 : some.left[index]);
  const signed = (number) => number.toFixed(1).replace("-", "−");

  function percent(share) {
    const value = 100 * share;
    if (value > 0 && value < 0.01) return "<0.01%";
    if (value === 0 || value === 100) return value + "%";
    return value.toFixed(value < 1 || value > 99 ? 2 : value < 10 ? 1 : 0) + "%";
  }

  function decibels(share) {
    if (share <= 0) return -Infinity;
    return share >= 1 ? Infinity : 10 * Math.log10(share / (1 - share));
  }

  const spellDecibels = (value) =>
    fill(text.decibel, { value: Number.isFinite(value) ? signed(value) : value > 0 ? "∞" : "−∞" });

  // Returns the index of the kept frame whose number (falling) is nearest.
  function nearest(numbers, wish) {
    let best = 0;
    while (best + 1 < numbers.length && Math.abs(numbers[best + 1] - wish) <= Math.abs(numbers[best] - wish)) best++;
    return best;
  }

  // Returns the frame of one run with the same share of steps left as a frame of another run.
  function matching(some, other, index) {
    if (index === stepsOf(other)) return stepsOf(some);
    return nearest(some.left, (other.left[index] / other.total) * some.total);
  }

  // --- pictures ---
  async function load(chosen) {
    if (chosen.images) return;
    const images = {};
    for (const field of FIELDS) {
      const sprite = chosen.sprites[field];
      if (!sprite) continue;
      images[field] = new Image();
      images[field].src = sprite.uri;
      await images[field].decode();
    }
    chosen.images = images;
  }

  function draw(canvas, some, field, index) {
    const { height, width } = some;
    const columns = some.sprites[field].columns;
    if (!brushes.has(canvas)) brushes.set(canvas, canvas.getContext("2d"));
    const brush = brushes.get(canvas);
    brush.imageSmoothingEnabled = false;
    brush.drawImage(
      some.images[field],
      (index % columns) * width, Math.floor(index / columns) * height, width, height,
      0, 0, canvas.width, canvas.height,
    );
  }

  // Each pixel of a frame gets a whole number of screen pixels, as many as fit into the box; a frame larger than its
  // box is scaled down smoothly.
  function fit(canvas, some) {
    const dense = window.devicePixelRatio || 1;
    const box = canvas.parentElement.getBoundingClientRect();
    const side = Math.min(box.width, box.height) * dense;
    const room = side / Math.max(some.width, some.height);
    const scale = Math.max(1, Math.floor(room + 0.01));
    const shown = (room < 0.99 ? room : scale) / dense;
    canvas.width = some.width * scale;
    canvas.height = some.height * scale;
    canvas.style.width = some.width * shown + "px";
    canvas.style.height = some.height * shown + "px";
    canvas.style.imageRendering = room < 0.99 ? "auto" : "";
    canvas.parentElement.parentElement.style.setProperty("--drawn", some.height * shown + "px");
  }

  function fitAll() {
    Object.values(canvases).forEach((canvas) => fit(canvas, run));
    if (beside) Object.values(second).forEach((canvas) => fit(canvas, beside));
    if (run.images) show(frame);
  }

  // --- showing a frame ---
  function show(index) {
    frame = Math.max(0, Math.min(steps(), index));
    const done = frame === steps();
    const seen = Math.min(frame, steps() - 1); // the last step that the network evaluated
    draw(canvases.x_t, run, "x_t", frame);
    draw(canvases.x0_pred, run, "x0_pred", seen);
    if (run.images.eps_pred) draw(canvases.eps_pred, run, "eps_pred", seen);

    const share = run.share[seen];
    const left = leftAt(run, frame);
    const snr = decibels(share);
    byId("left").textContent = left;
    byId("t").textContent = done ? text.finished : run.timesteps[frame];
    byId("share").textContent = done ? "–" : percent(share);
    byId("snr").textContent = done ? "–" : spellDecibels(snr);
    if (!beside) byId("picture-name").textContent = done ? text.picture_done : text.picture_now;
    byId("guess-name").textContent = done ? text.guess_last : text.guess_now;
    byId("noise-name").textContent = done ? text.noise_last : text.noise_seen;
    scrubber.value = frame;
    spoken = done ? text.value_finished : fill(text.value, {
      left, t: run.timesteps[frame], signal: percent(share), snr: spellDecibels(snr),
    });
    if (beside) showBeside();
    if (!playing) speak();
    scrubber.style.setProperty("--done", (100 * frame) / steps() + "%");

    const x = curve.left + curve.width * (1 - (run.timesteps[seen] + 1) / curve.steps);
    const inside = Math.min(Math.max(snr, curve.low), curve.high);
    const y = curve.top + (curve.height * (curve.high - inside)) / (curve.high - curve.low);
    byId("dot").setAttribute("cx", x);
    byId("dot").setAttribute("cy", y);
    byId("dot").classList.toggle("over", done);
    byId("stem").setAttribute("x1", x);
    byId("stem").setAttribute("x2", x);
    for (const listener of listeners) listener();
  }

  function showBeside() {
    const index = matching(beside, run, frame);
    const done = index === stepsOf(beside);
    draw(second.x_t, beside, "x_t", index);
    draw(second.x0_pred, beside, "x0_pred", Math.min(index, stepsOf(beside) - 1));
    const left = leftAt(beside, index);
    byId("left-2").textContent = left;
    byId("t-2").textContent = done ? text.finished : beside.timesteps[index];
    byId("guess-name-2").textContent = done ? text.guess_last : guessed(beside);
    spoken = fill(text.value_beside, { value: spoken, name: differences(beside, run), left });
  }

  function guessed(some) {
    if (some.space === run.space) return text.guess_now;
    return some.space === "latent" ? text.guess_latent : text.guess_pixel;
  }

  // Screen readers get the frame only when the player has stopped, not sixty times a second.
  const speak = () => scrubber.setAttribute("aria-valuetext", spoken);

  function seek(index) {
    pause();
    show(index);
  }

  // --- time ---
  function tick(now) {
    if (!playing) return;
    const passed = Math.min(now - lastTime, 100) / 1000; // time in a hidden tab does not count
    lastTime = now;
    position += (passed * steps() * Number(byId("speed").value)) / SECONDS;
    if (Math.floor(position) !== frame) show(Math.floor(position));
    if (frame >= steps()) pause();
    else requestAnimationFrame(tick);
  }

  function setPlaying(value) {
    playing = value;
    byId("play").classList.toggle("playing", value);
    byId("play-name").textContent = value ? text.pause : text.play;
    if (!value) speak();
  }

  const pause = () => setPlaying(false);

  function play() {
    if (frame >= steps()) show(0);
    position = frame;
    setPlaying(true);
    requestAnimationFrame((now) => {
      lastTime = now;
      tick(now);
    });
  }

  const toggle = () => (playing ? pause() : play());

  // --- choosing runs ---
  function refresh(index) {
    frame = position = index;
    scrubber.max = steps();
    byId("noise-absent").hidden = Boolean(run.images.eps_pred);
    canvases.eps_pred.hidden = !run.images.eps_pred;
    byId("frames").title = byId("frames").textContent = fill(run.total === steps() ? text.frames : text.frames_some, {
      digit: run.digit, frames: steps(), total: run.total,
    });
    for (const option of byId("compare").options) {
      option.disabled = option.value !== "" && runs[option.value] === run;
    }
    byId("player").classList.toggle("comparing", Boolean(beside));
    if (beside) {
      const parts = describe(beside, run, true);
      byId("both").textContent = fill(beside.note ? text.both_network : text.both, { parts, note: beside.note });
      byId("picture-name").textContent = differences(run, beside);
      byId("picture-name-2").textContent = differences(beside, run);
    }
    fitAll();
  }

  async function choose(index) {
    wanted = index;
    await load(runs[index]);
    if (wanted !== index) return;
    const moment = matching(runs[index], run, frame);
    run = runs[index];
    if (beside === run || isAlone(beside)) {
      if (isAlone(beside)) announce(fill(text.comparison_over, beside));
      beside = null;
      wantedBeside = byId("compare").value = "";
    }
    refresh(moment);
  }

  // Runs with another sampler, guidance or network exist only for the recorded digit; with another digit, two settings would differ.
  const isAlone = (some) => runs.indexOf(some) >= digits;

  async function compare(value) {
    wantedBeside = value;
    const chosen = value === "" ? null : runs[value];
    const back = isAlone(chosen) && run !== runs[0];
    for (const needed of [chosen, back && runs[0]]) if (needed) await load(needed);
    if (wantedBeside !== value) return;
    let moment = frame;
    if (back) {
      wanted = 0;
      moment = matching(runs[0], run, frame);
      run = runs[0];
      document.querySelector("input[name=digit][value='0']").checked = true;
      announce(fill(text.only_recorded, run));
    }
    beside = chosen === run ? null : chosen;
    refresh(moment);
  }

  // Describes what two runs have in common, or how they differ.
  function describe(some, other, alike) {
    if (!alike && some.space !== other.space) return some.space === "latent" ? text.part_latent : text.part_pixel;
    const parts = [
      [some.digit === other.digit, text.part_digit],
      [some.sampler === other.sampler && some.total === other.total, text.part_sampler],
      [some.guidance === other.guidance, text.part_guidance],
    ].filter(([same]) => same === alike);
    return parts.map(([, words]) => fill(words, { ...some, steps: some.total })).join(", ");
  }

  const differences = (some, other) => describe(some, other, false);

  function save() {
    const copy = document.createElement("canvas");
    const scale = Math.max(1, Math.floor(SAVED_SIDE / Math.max(run.width, run.height)));
    copy.width = run.width * scale;
    copy.height = run.height * scale;
    draw(copy, run, "x_t", frame);
    const link = document.createElement("a");
    link.download = `${run.digit === null ? "picture" : typeof run.digit === "number" ? `digit-${run.digit}` : run.digit.replace(/[^\p{L}\p{N}_-]+/gu, "_")}-steps-left-${String(leftAt(run, frame)).padStart(4, "0")}.png`;
    link.href = copy.toDataURL("image/png");
    link.click();
  }

  function listen() {
    byId("play").addEventListener("click", toggle);
    for (const canvas of [canvases.x_t, second.x_t]) canvas.addEventListener("click", toggle);
    scrubber.addEventListener("input", () => seek(Number(scrubber.value)));
    scrubber.addEventListener("keydown", (event) => {
      if (event.key !== " ") return;
      event.preventDefault();
      toggle();
    });
    byId("save").addEventListener("click", save);
    for (const radio of document.querySelectorAll("input[name=digit]")) {
      radio.addEventListener("change", () => choose(Number(radio.value)));
    }
    byId("compare").addEventListener("change", () => compare(byId("compare").value));
    new ResizeObserver(fitAll).observe(byId("player"));
  }

  async function start() {
    const checked = document.querySelector("input[name=digit]:checked");
    run = runs[checked ? Number(checked.value) : 0];
    await choose(runs.indexOf(run));
    await compare(byId("compare").value); // browsers keep the choices when the page is reloaded
    listen();
  }

  return {
    start, play, pause, toggle, seek, nearest,
    onShow: (listener) => listeners.push(listener),
    drawOn: (canvas) => draw(canvas, run, "x_t", frame),
    get run() { return run; },
    get frame() { return frame; },
    get left() { return leftAt(run, frame); },
    get done() { return frame === steps(); },
  };
})();
