"use strict";
// The lab: which run is current, which one it is compared with, which state is shown; changes, steps, playing.
// Knows nothing about the page; tells its listeners what happened: "runs", "state", "playing", "rewound".
const lab = (() => {
  const BUDGET = { played: 20, finished: 45 }; // milliseconds of network evaluations in one frame of the page
  const SECONDS = 6; // of a whole run that is played
  const listeners = [];
  let current = null;
  let other = null;
  let at = 0; // index of the state that is shown
  let goal = 0; // index up to which the run is computed, frame by frame
  let paced = false; // played, rather than finished at once
  let due = 0; // steps that are due, as a fraction, while it is played
  let lastTime = 0;
  let running = false;

  const tell = (what) => listeners.forEach((listener) => listener(what));
  const state = () => branches.state(current, at);
  const lastIndex = () => current.run.timesteps.length;
  const seed = () => current.run.seed;
  const wholeSteps = () => current.steps;

  // The settings that the controls show: those of the state, or of the last step of a finished run.
  const shownSettings = () => state().settings ?? branches.state(current, at - 1).settings;
  const shownHold = () => (state().settings ? state().hold : branches.state(current, at - 1).hold);

  // --- runs ---
  function begin(run, steps, compared) {
    stop();
    current = branches.add(run);
    current.steps = steps;
    other = compared;
    at = goal = 0;
    tell("runs");
  }

  // A run from the noise of a seed; a run of which no step was made gives way to it.
  function restart(newSeed, steps, chosen, compared = null) {
    const untouched = current && !current.named && current.parent === null && branches.count(current) === 1 ? current : null;
    if (untouched && branches.list.includes(untouched)) branches.remove(untouched);
    const run = engine.newBranch({ seed: newSeed, steps, ...settings.complete(chosen) });
    begin(run, steps, compared === untouched ? null : compared);
  }

  // A run from a drawing with the noise of the timestep nearest below t (SDEdit).
  function startFrom(drawing, t, chosen = shownSettings()) {
    const before = current;
    const run = engine.branchFromDrawing(drawing, t, { seed: seed(), steps: wholeSteps(), ...chosen });
    settings.tellTime(run);
    begin(run, wholeSteps(), before);
  }

  // A run that was made again from a file.
  function take(run, steps) {
    begin(run, steps, current);
    current.fromFile = true;
    at = goal = branches.count(current) - 1;
    tell("runs");
  }

  function show(entry, index = branches.count(entry) - 1) {
    stop();
    if (other === entry) other = null;
    current = entry;
    at = goal = Math.min(index, branches.count(entry) - 1);
    tell("runs");
  }

  function compare(entry) {
    other = entry === current ? null : entry;
    tell("runs");
  }

  // Current and compared run change places.
  function swap() {
    const index = branches.nearest(other, state().t);
    const before = current;
    show(other, index);
    compare(before);
  }

  function remove(entry) {
    if (branches.list.length === 1) return;
    branches.remove(entry);
    if (other === entry) other = null;
    if (current === entry) show(branches.list[branches.list.length - 1]);
    else tell("runs");
  }

  // --- changes ---
  // The engine's branch to change at the state that is shown: a new one, unless nothing follows the state.
  function open() {
    if (branches.isOpen(current, at)) return current.run;
    const before = current;
    current = branches.add(before.run.copyAt(at), before, at);
    current.steps = before.steps;
    other = before;
    tell("runs");
    return current.run;
  }

  // A change of a finished run is made at its start.
  function rewind() {
    if (state().t >= 0) return;
    stop();
    at = goal = 0;
    tell("rewound");
  }

  function change(patch) {
    const shown = shownSettings();
    if (Object.entries(patch).every(([name, value]) => shown[name] === value)) return;
    rewind();
    const run = open();
    run.change(settings.complete({ ...run.present.settings, ...patch }, run.present.t));
    tell("state");
  }

  function hold(held) {
    if (!held && !shownHold()) return;
    rewind();
    open().hold(held);
    tell("state");
  }

  // A stroke on predicted x₀ of the state that is shown; then stroke(coverage) as it grows.
  function beginStroke(ink) {
    if (state().t < 0) return false;
    stop();
    open().beginStroke(ink);
    return true;
  }

  function stroke(coverage) {
    current.run.stroke(coverage);
    tell("state");
  }

  // --- steps ---
  function extend(entry) {
    entry.run.step();
    settings.tellTime(entry.run);
  }

  function forward() {
    if (at === branches.count(current) - 1) extend(current);
    at += 1;
    while (other && !other.run.finished && branches.last(other).t > state().t) extend(other); // keeps up
  }

  function step() {
    stop();
    if (at >= lastIndex()) return;
    forward();
    goal = at;
    tell("state");
  }

  function seek(index) {
    stop();
    if (index >= branches.count(current)) return runTo(index, false);
    at = goal = Math.max(0, index);
    tell("state");
  }

  function runTo(index, slowly) {
    if (at >= lastIndex()) at = current.fork < lastIndex() ? current.fork : 0; // once more
    goal = Math.min(index, lastIndex());
    paced = slowly;
    due = 1;
    lastTime = performance.now();
    running = true;
    requestAnimationFrame(tick);
    tell("playing");
  }

  function tick(now) {
    if (!running) return;
    if (paced) due += (Math.max(0, now - lastTime) / 1000) * (lastIndex() / SECONDS);
    lastTime = now;
    const end = performance.now() + (paced ? BUDGET.played : BUDGET.finished);
    while (at < goal && (!paced || due >= 1) && performance.now() < end) {
      forward();
      due -= 1;
    }
    due = Math.min(due, 2);
    if (at < goal) requestAnimationFrame(tick);
    else stop();
    tell("state");
  }

  function stop() {
    if (!running) return;
    running = false;
    goal = at;
    tell("playing");
  }

  return {
    listen: (listener) => listeners.push(listener),
    get current() { return current; },
    get other() { return other; },
    get at() { return at; },
    play: () => running || runTo(lastIndex(), true),
    finish: () => (running && !paced) || (stop(), runTo(lastIndex(), false)),
    isPlaying: () => running,
    isHurrying: () => running && !paced,
    state, seed, wholeSteps, forward, shownSettings, shownHold, restart, startFrom, take, show, compare, swap, remove, change, hold, beginStroke, stroke, step, seek, stop, tell,
  };
})();
