// Plays recorded frames. Reads the JSON in #ui-data; draws on canvases; fetches nothing.
(() => {
  "use strict";
  const byId = (id) => document.getElementById("ui-" + id);
  const { runs, curve, text } = JSON.parse(byId("data").textContent);
  const fill = (words, values) => words.replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);
  const calm = matchMedia("(prefers-reduced-motion: reduce)");

  const FIELDS = ["x_t", "x0_pred", "eps_pred"];
  const SECONDS = 10; // one whole run at speed 1
  const SAVED_SCALE = 32; // a saved frame has 28 * 32 pixels a side
  const canvases = Object.fromEntries(FIELDS.map((field) => [field, byId(field)]));
  const scrubber = byId("scrubber");

  let run = runs[0];
  let frame = 0; // 0 .. S; S is the finished picture
  let position = 0; // the same with a fraction, while playing
  let playing = false;
  let lastTime = 0;
  let spoken = ""; // the frame in words
  let wanted = 0; // the run asked for last

  // --- numbers ---
  const steps = () => run.timesteps.length;
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

  function draw(canvas, field, index) {
    const { height, width } = run;
    const columns = run.sprites[field].columns;
    const brush = canvas.getContext("2d");
    brush.imageSmoothingEnabled = false;
    brush.drawImage(
      run.images[field],
      (index % columns) * width, Math.floor(index / columns) * height, width, height,
      0, 0, canvas.width, canvas.height,
    );
  }

  // A canvas gets a whole number of screen pixels for each pixel of the frame, as many as its box holds.
  function fit(canvas) {
    const dense = window.devicePixelRatio || 1;
    const box = canvas.parentElement.getBoundingClientRect();
    const side = Math.min(box.width, box.height) * dense;
    const scale = Math.max(1, Math.floor(side / Math.max(run.width, run.height) + 0.01));
    canvas.width = run.width * scale;
    canvas.height = run.height * scale;
    canvas.style.width = canvas.width / dense + "px";
    canvas.style.height = canvas.height / dense + "px";
    canvas.parentElement.parentElement.style.setProperty("--drawn", canvas.height / dense + "px");
  }

  function fitAll() {
    Object.values(canvases).forEach(fit);
    if (run.images) show(frame);
  }

  // --- one frame everywhere ---
  function show(index) {
    frame = Math.max(0, Math.min(steps(), index));
    const done = frame === steps();
    const seen = Math.min(frame, steps() - 1); // the last step the model looked at
    draw(canvases.x_t, "x_t", frame);
    draw(canvases.x0_pred, "x0_pred", seen);
    if (run.images.eps_pred) draw(canvases.eps_pred, "eps_pred", seen);

    const share = run.share[seen];
    const left = done ? 0 : run.left[frame];
    const snr = decibels(share);
    byId("left").textContent = left;
    byId("t").textContent = done ? text.finished : run.timesteps[frame];
    byId("share").textContent = done ? "–" : percent(share);
    byId("snr").textContent = done ? "–" : spellDecibels(snr);
    byId("picture-name").textContent = done ? text.picture_done : text.picture_now;
    byId("guess-name").textContent = done ? text.guess_last : text.guess_now;
    byId("noise-name").textContent = done ? text.noise_last : text.noise_seen;
    scrubber.value = frame;
    spoken = done ? text.value_finished : fill(text.value, {
      left, t: run.timesteps[frame], signal: percent(share), snr: spellDecibels(snr),
    });
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
  }

  // A screen reader hears the frame when it rests, not sixty times a second.
  const speak = () => scrubber.setAttribute("aria-valuetext", spoken);

  function seek(index) {
    pause();
    show(index);
  }

  // --- time ---
  function tick(now) {
    if (!playing) return;
    const passed = Math.min(now - lastTime, 100) / 1000; // a hidden tab does not jump ahead
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

  // --- choosing a run ---
  async function choose(index) {
    wanted = index;
    await load(runs[index]);
    if (wanted !== index) return;
    const left = frame === steps() ? 0 : run.left[frame];
    run = runs[index];
    const near = run.left.findIndex((n) => n <= left);
    frame = left === 0 ? steps() : near < 0 ? steps() - 1 : near;
    position = frame;
    scrubber.max = steps();
    byId("noise-absent").hidden = Boolean(run.images.eps_pred);
    canvases.eps_pred.hidden = !run.images.eps_pred;
    const total = Math.max(run.left[0], steps());
    byId("frames").textContent = fill(total === steps() ? text.frames : text.frames_some, {
      digit: run.digit, frames: steps(), total,
    });
    fitAll();
  }

  // --- copying and saving ---
  function say(words) {
    byId("said").textContent = words;
  }

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
    button.textContent = words;
    say(words);
    setTimeout(() => {
      button.textContent = before;
      say("");
    }, 2000);
  }

  function save() {
    const copy = document.createElement("canvas");
    copy.width = run.width * SAVED_SCALE;
    copy.height = run.height * SAVED_SCALE;
    draw(copy, "x_t", frame);
    const link = document.createElement("a");
    const left = frame === steps() ? 0 : run.left[frame];
    link.download = `digit-${run.digit}-steps-left-${String(left).padStart(4, "0")}.png`;
    link.href = copy.toDataURL("image/png");
    link.click();
  }

  // --- enlarging a picture ---
  function enlarge(figure) {
    const source = figure.querySelector("img");
    const [image, words] = [byId("zoom").querySelector("img"), byId("zoom").querySelector("p")];
    image.src = source.src;
    image.alt = source.alt;
    image.width = source.getAttribute("width");
    image.height = source.getAttribute("height");
    words.textContent = figure.querySelector("figcaption").textContent;
    byId("zoom").showModal();
  }

  // --- the page around the player ---
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

  function listen() {
    byId("play").addEventListener("click", toggle);
    canvases.x_t.addEventListener("click", toggle);
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
    for (const button of document.querySelectorAll("button.copy")) {
      button.addEventListener("click", () => copy(button));
    }
    for (const figure of document.querySelectorAll("figure.picture")) {
      figure.querySelector("button").addEventListener("click", () => enlarge(figure));
      figure.querySelector("img").addEventListener("click", () => enlarge(figure));
    }
    byId("zoom").addEventListener("click", (event) => event.target === byId("zoom") && byId("zoom").close());
    addEventListener("hashchange", openTarget);
    addEventListener("beforeprint", () => {
      for (const details of document.querySelectorAll("details")) details.open = true;
    });
    new ResizeObserver(fitAll).observe(byId("player"));
    const watcher = new IntersectionObserver(markChapter, { rootMargin: "-20% 0px -60% 0px" });
    document.querySelectorAll(".chapter").forEach((section) => watcher.observe(section));
  }

  async function start() {
    const checked = document.querySelector("input[name=digit]:checked");
    await choose(checked ? Number(checked.value) : 0);
    listen();
    openTarget();
    if (!calm.matches) play();
  }

  // Where the frames cannot be decoded, the page falls back to what it shows without a script.
  start().catch(() => document.documentElement.classList.remove("js"));
})();
