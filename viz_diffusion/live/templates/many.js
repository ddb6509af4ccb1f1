"use strict";
// The same for many: one state finished eight times, and one change tried on sixteen seeds. Knows nothing of the page.
const many = (() => {
  const FORKS = 8;
  const FORK_SEED = 1000; // seeds of the fresh noise: 1000 to 1007
  const SEEDS = 16;
  const VOTE_STEPS = 20;
  const MOST_STEPS = 50;

  // Finishes the state at an index with fresh noise at every step; yields after each step, calls found(k, image).
  function* finishEightTimes({ run }, index, found) {
    const { t } = run.steps[index];
    for (let k = 0; k < FORKS; k++) {
      const copy = run.copyAt(index, FORK_SEED + k);
      if (run.timesteps.length - index > MOST_STEPS) copy.respace(spaced(MOST_STEPS).filter((one) => one < t));
      const { methods } = copy.sampler;
      copy.change({ eta: 1, method: methods.includes("ddim") ? "ddim" : methods[0] });
      while (!copy.finished) {
        copy.step();
        settings.tellTime(copy);
        yield;
      }
      found(k, copy.finished);
    }
  }

  const spaced = (steps) => spacedTimesteps(engine.sampler.schedule.length, steps);

  // Runs the same changes on another seed, in few steps: each from its timestep on.
  function* replay(entry, seed, found) {
    const recipe = branches.recipe(entry);
    const { start, timesteps } = entry.run;
    const below = spaced(VOTE_STEPS).filter((t) => !start || t <= timesteps[0]);
    const run = engine.newBranch({ seed, timesteps: below, start, ...recipe[0].settings });
    let place = -1;
    while (!run.finished) {
      const strokes = [];
      while (place + 1 < recipe.length && recipe[place + 1].t >= run.present.t) strokes.push(...recipe[(place += 1)].strokes);
      repeat(run, recipe[place], strokes);
      yield;
      run.step();
    }
    found(run.finished);
  }

  function repeat(run, { settings: wanted, hold: held }, strokes) {
    run.change(settings.complete(wanted, run.present.t));
    if (held !== run.present.hold) run.hold(held);
    for (const { ink, coverage } of strokes) {
      run.beginStroke(ink);
      run.stroke(coverage);
    }
  }

  function* vote(entries, found) {
    for (let seed = 0; seed < SEEDS; seed++) {
      for (const [row, entry] of entries.entries()) yield* replay(entry, seed, (image) => found(row, seed, image));
    }
  }

  // [label, count], the most frequent first.
  function tally(labels) {
    const counts = new Map();
    for (const label of labels) counts.set(label, (counts.get(label) ?? 0) + 1);
    return [...counts].sort((a, b) => b[1] - a[1] || a[0] - b[0]);
  }

  return { FORKS, SEEDS, finishEightTimes, vote, tally, repeat };
})();
