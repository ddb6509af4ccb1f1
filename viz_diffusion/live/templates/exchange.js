"use strict";
// In and out: a link that holds seed, label and changes; pictures and a film as files.
const exchange = (() => {
  const NUMBERS = { base: "label", second: "second", share: "share", guidance: "guidance", offset: "offset", frozen: "frozen", eta: "eta" };
  const CHOICES = {
    clock: () => ["shifted", "frozen", "reversed"],
    where: () => ["everywhere", "embedding"],
    method: () => engine.sampler.methods,
    variance: () => ["beta", "beta_tilde"],
  };
  const GIF_FRAMES = 80;
  const GIF_SCALE = 5;

  // --- links ---
  // #seed=1&steps=50&label=5&guidance=1.5&change=599,label,8&at=299; strokes, drawings and held pixels stay out of it.
  // `until` computes further than to the state that is shown, `at`.
  function link() {
    const { run, steps } = lab.current;
    const recipe = branches.recipe(lab.current);
    const parts = new URLSearchParams({ seed: run.seed, steps });
    const first = settings.first();
    for (const [name, value] of differences(first, recipe[0].settings)) parts.set(name, value);
    parts.set("label", recipe[0].settings.base);
    recipe.slice(1).forEach((entry, i) => {
      for (const [name, value] of differences(recipe[i].settings, entry.settings)) parts.append("change", `${entry.t},${name},${value}`);
    });
    parts.set("at", lab.state().t);
    return `${location.href.split("#")[0]}#${parts}`;
  }

  function differences(before, after) {
    const found = Object.entries(NUMBERS).filter(([name]) => before[name] !== after[name]).map(([name, key]) => [key, after[name]]);
    for (const name of Object.keys(CHOICES)) if (before[name] !== after[name]) found.push([name, after[name]]);
    return found;
  }

  // A setting from a link; null where it is none. Values out of range are brought into it.
  function setting(key, value) {
    if (key in CHOICES) return CHOICES[key]().includes(value) ? { [key]: value } : null;
    const name = Object.keys(NUMBERS).find((one) => NUMBERS[one] === key);
    const lastTimestep = engine.sampler.schedule.length - 1;
    const limits = {
      base: [0, engine.denoiser.nullLabel], second: [0, engine.denoiser.nullLabel], share: [0, 1], guidance: [0, 8],
      offset: [-lastTimestep, lastTimestep], frozen: [0, lastTimestep], eta: [0, 1],
    }[name];
    const number = Number(value);
    if (!limits || value.trim() === "" || !Number.isFinite(number)) return null;
    const within = Math.min(limits[1], Math.max(limits[0], number));
    return { [name]: ["share", "guidance", "eta"].includes(name) ? within : Math.round(within) };
  }

  const whole = (value, low, high, otherwise) =>
    value?.trim() && Number.isFinite(Number(value)) ? Math.round(Math.min(high, Math.max(low, Number(value)))) : otherwise;

  // Sets the lab up as a link says; yields while it computes. Runs with a name of their own stay.
  function* carryOut(parts) {
    branches.clear();
    const chosen = settings.first();
    for (const [key, value] of parts) Object.assign(chosen, setting(key, value) ?? {});
    const steps = whole(parts.get("steps"), 1, engine.sampler.schedule.length, facts.defaults.steps);
    const { label, told, ...own } = chosen;
    lab.restart(whole(parts.get("seed"), 0, 2 ** 32 - 1, facts.defaults.seed), steps, own);
    const changes = parts.getAll("change").map((one) => one.split(",")).filter((one) => one.length === 3);
    for (const [t, key, value] of changes.sort((a, b) => b[0] - a[0])) {
      const patch = setting(key, value);
      if (!patch || !Number.isFinite(Number(t))) continue;
      yield* reach(Number(t));
      lab.change(patch);
    }
    const lastTimestep = engine.sampler.schedule.length - 1;
    const at = whole(parts.get("at"), -1, lastTimestep, lastTimestep);
    yield* reach(Math.min(at, whole(parts.get("until"), -1, lastTimestep, at)));
    lab.seek(branches.nearest(lab.current, at));
    lab.tell("runs");
  }

  // Steps to the first state at or below timestep t.
  function* reach(t) {
    const words = t < 0 ? text.computing_end : text.computing;
    while (lab.state().t > t) {
      byId("notice").textContent = fill(words, { t, now: lab.state().t });
      lab.forward();
      yield;
    }
    byId("notice").textContent = "";
    lab.tell("state");
  }

  const apply = (parts) => jobs.start("link", carryOut(parts));

  async function copyLink() {
    const words = link();
    history.replaceState(null, "", words);
    let done = true;
    try {
      await navigator.clipboard.writeText(words);
    } catch {
      byId("link").hidden = false;
      byId("link").value = words;
      byId("link").select();
      done = document.execCommand("copy");
    }
    say(done ? text.link_copied : text.link_shown);
  }

  function say(words) {
    byId("exchange-said").textContent = words;
    announce(words);
  }

  // --- files ---
  function download(blob, name) {
    const address = URL.createObjectURL(blob);
    make("a", { href: address, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10000);
    say(fill(text.saved, { name }));
  }

  const fileName = (ending) => `live-seed-${lab.seed()}-${lab.current.name.replace(/[^\p{L}\p{N}]+/gu, "-")}.${ending}`;

  function savePng() {
    const source = byId("film");
    const copy = make("canvas", { width: source.width, height: source.height });
    const pen = copy.getContext("2d");
    pen.fillStyle = getComputedStyle(document.body).backgroundColor;
    pen.fillRect(0, 0, copy.width, copy.height);
    pen.drawImage(source, 0, 0);
    copy.toBlob((blob) => download(blob, fileName("png")));
  }

  // x_t, predicted x₀ and, where a run is compared, its predicted x₀, side by side.
  function saveGif() {
    const states = branches.states(lab.current);
    const every = Math.max(1, Math.ceil(states.length / GIF_FRAMES));
    const shown = states.filter((_, k) => k % every === 0 || k === states.length - 1);
    const columns = lab.other ? 3 : 2;
    const frames = shown.map((state, k) => {
      const images = [state.x, state.x0];
      if (lab.other) images.push(branches.state(lab.other, branches.nearest(lab.other, state.t)).x0);
      return { pixels: greys(images, columns), delay: k === shown.length - 1 ? 200 : 8 };
    });
    const palette = Array.from({ length: 256 }, (_, grey) => [grey, grey, grey]);
    download(gif.encode(columns * SIDE * GIF_SCALE, SIDE * GIF_SCALE, palette, frames), fileName("gif"));
  }

  function greys(images, columns) {
    const width = columns * SIDE * GIF_SCALE;
    const out = new Uint8Array(width * SIDE * GIF_SCALE);
    for (let y = 0; y < SIDE * GIF_SCALE; y++) {
      for (let x = 0; x < width; x++) {
        const column = Math.floor(x / (SIDE * GIF_SCALE));
        const place = Math.floor(y / GIF_SCALE) * SIDE + Math.floor((x % (SIDE * GIF_SCALE)) / GIF_SCALE);
        out[y * width + x] = Math.round((Math.min(1, Math.max(-1, images[column][place])) + 1) * 127.5);
      }
    }
    return out;
  }

  function saveBranch(run, name) {
    const blob = new Blob([JSON.stringify(branchToObject(run, facts))], { type: "application/json" });
    download(blob, name);
  }

  // Makes the branch of a file again, in pieces, and shows it beside the run that was current.
  function* read(object) {
    const run = yield* branchFromObject(engine, object);
    lab.take(run, settings.fromFile(run));
    say(text.loaded);
  }

  async function load() {
    const [file] = byId("load").files;
    byId("load").value = "";
    if (!file) return;
    try {
      const object = JSON.parse(await file.text());
      jobs.start("file", caught(read(object)));
    } catch {
      say(fill(text.failed_state_unreadable, { name: file.name }));
    }
  }

  // A generator whose error becomes a sentence.
  function* caught(generator) {
    try {
      yield* generator;
    } catch (error) {
      say(text[`failed_${error.key}`] ?? text.failed_state_unreadable);
    }
  }

  function listen() {
    byId("save-state").addEventListener("click", () => saveBranch(lab.current.run.copyAt(lab.at), fileName(`t-${lab.state().t}.json`)));
    byId("save-run").addEventListener("click", () => saveBranch(lab.current.run, fileName("json")));
    byId("load").addEventListener("change", load);
    byId("copy-link").addEventListener("click", copyLink);
    byId("save-png").addEventListener("click", savePng);
    byId("save-gif").addEventListener("click", saveGif);
  }

  return { listen, apply, link, download, fileName, say };
})();
