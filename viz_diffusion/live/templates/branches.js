"use strict";
// The list of runs. Each entry names one Branch of the engine, where it leaves its parent, and what it shows.
//
// An entry: { id, name, parent, fork, run }; `fork` is the index of its first own state, 0 for a run from the start.
// A state:  { t, x, x0, eps, settings, hold, strokes }; the finished image has t = -1, eps and settings null.
const branches = (() => {
  const list = [];
  const views = new WeakMap(); // step or finished image -> state
  let made = 0;

  function add(run, parent = null, fork = 0) {
    made += 1;
    const entry = { id: made, name: newName(), parent: parent && parent.id, fork, run };
    list.push(entry);
    return entry;
  }

  function newName() {
    for (let number = 1; ; number++) {
      const name = fill(text.run_name, { number });
      if (list.every((entry) => entry.name !== name)) return name;
    }
  }

  const find = (id) => list.find((entry) => entry.id === id) ?? null;

  // The runs that began with it become runs of their own, from the start.
  function remove(entry) {
    for (const child of list) if (child.parent === entry.id) Object.assign(child, { parent: null, fork: 0 });
    list.splice(list.indexOf(entry), 1);
  }

  // Removes all runs but those that were given a name, before the lab is set up anew.
  function clear() {
    for (const entry of [...list]) if (!entry.named) remove(entry);
  }

  function view(step) {
    if (!views.has(step)) {
      const { t, x, settings, hold, strokes, prediction } = step;
      views.set(step, { t, x, x0: prediction.x0, eps: prediction.eps, settings, hold, strokes });
    }
    return views.get(step);
  }

  function finishedView(image) {
    if (!views.has(image)) views.set(image, { t: -1, x: image, x0: image, eps: null, settings: null, hold: null, strokes: [] });
    return views.get(image);
  }

  function states({ run }) {
    const all = run.steps.map(view);
    if (run.finished) all.push(finishedView(run.finished));
    return all;
  }

  const count = ({ run }) => run.steps.length + (run.finished ? 1 : 0);
  const state = ({ run }, index) => (index < run.steps.length ? view(run.steps[index]) : finishedView(run.finished));
  const last = (entry) => state(entry, count(entry) - 1);

  // Whether a change at `index` may be made in place: the state is the entry's own, and nothing was computed after it.
  const isOpen = (entry, index) => entry.fork === index && count(entry) === index + 1;

  // The index of the state whose timestep is nearest to t; the later one of two.
  function nearest({ run }, t) {
    let best = 0;
    const at = (k) => (k < run.steps.length ? run.steps[k].t : -1);
    for (let k = 1; k < run.steps.length + (run.finished ? 1 : 0); k++) {
      if (Math.abs(at(k) - t) <= Math.abs(at(best) - t)) best = k;
    }
    return best;
  }

  // What was changed, in order: [{ t, settings, hold, strokes }], the first at the start of the run.
  function recipe({ run }) {
    const found = [];
    let before = null;
    for (const { t, settings, hold: held, strokes } of run.steps) {
      const same = before && before.hold === held && sameSettings(before.settings, settings);
      if (!same || strokes.length) found.push({ t, settings, hold: held, strokes });
      before = { settings, hold: held };
    }
    return found;
  }

  // The timestep that the network is given follows from `clock`, so it is no change by itself.
  const sameSettings = (a, b) => JSON.stringify({ ...a, told: null }) === JSON.stringify({ ...b, told: null });

  return { list, add, find, remove, clear, states, state, count, last, isOpen, nearest, recipe };
})();
