"use strict";
// A branch as a file, and back. `vizdiff trajectory --from FILE` reads the same file (viz_diffusion/live/saved_branch.py).
//
//   branchToObject(branch, facts) -> object       plain JSON values; facts: engine.facts. With branch.copyAt(k) it is the
//                                                 state at step k
//   branchFromObject(engine, object) -> iterator  makes the branch again, one step an iteration, so that a page can draw
//                                                 in between; the branch is the value returned:
//                                                 `const branch = runToEnd(branchFromObject(engine, object))`
//   runToEnd(iterator) -> its returned value
//
// What is written is how the branch came about, not its states: seeds, timesteps, and at each step where something was
// changed the settings, what is held and the strokes; pictures and coverages as base64 of little-endian float32. The last
// state is there too, so that a reader can compare. Throws LiveError: "state_unreadable", "state_of_other_weights".

const STATE_FORMAT = "vizdiff live branch";

function branchToObject(branch, facts) {
  const arrays = [];
  const stored = (array) => {
    const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
    const text = base64Of(bytes);
    if (!arrays.includes(text)) arrays.push(text);
    return arrays.indexOf(text);
  };
  const plain = (settings) => ({
    ...settings,
    label: typeof settings.label === "number" ? settings.label : Array.from(settings.label),
  });
  const changes = [];
  let before = {};
  branch.steps.forEach(({ settings, hold: held, strokes }, at) => {
    const change = {
      at,
      settings: plain(settings),
      hold: held && { mask: stored(held.mask), known: stored(held.known), rounds: held.rounds },
      strokes: strokes.map((one) => ({ ink: one.ink, coverage: stored(one.coverage), settings: plain(one.settings) })),
    };
    const now = JSON.stringify([change.settings, change.hold]);
    if (now !== before || strokes.length) changes.push(change);
    before = now;
  });
  return {
    format: STATE_FORMAT,
    format_version: 1,
    run: facts.run,
    weights_sha256: facts.weights_sha256,
    schedule: branch.sampler.schedule.name,
    image_shape: [facts.model.in_channels, facts.model.image_size, facts.model.image_size],
    seed: branch.seed,
    noises: branch.noises,
    timesteps: branch.timesteps,
    start: branch.start && { drawing: stored(branch.start.drawing) },
    steps_made: branch.steps.length,
    finished: branch.finished !== null,
    changes,
    last_state: stored(branch.finished ?? branch.present.x),
    arrays,
  };
}

function* branchFromObject(engine, object) {
  const unreadable = (why) => new LiveError("state_unreadable", `This is no saved state of the live page: ${why}.`);
  if (object?.format !== STATE_FORMAT || object.format_version !== 1) throw unreadable("its format is another one");
  if (object.weights_sha256 !== engine.facts.weights_sha256) {
    throw new LiveError("state_of_other_weights", `This state was made with the weights of the run ${object.run}.`);
  }
  try {
    return yield* remade(engine, object);
  } catch (error) {
    throw error instanceof LiveError ? error : unreadable(error.message);
  }
}

function* remade(engine, object) {
  const sampler = [engine.sampler, engine.otherSampler].find((one) => one?.schedule.name === object.schedule);
  if (!sampler) throw new Error(`the schedule ${object.schedule} is not in this page`);
  const { size, config } = engine.denoiser;
  const array = (index, length) => {
    const bytes = bytesOf(object.arrays[index]);
    if (bytes.length !== 4 * length) throw new Error("a picture has another size");
    return new Float32Array(bytes.buffer);
  };
  const mask = (index) => array(index, config.image_size ** 2);
  const apply = (branch, { settings, hold: held, strokes }) => {
    if (held || branch.present.hold) {
      branch.hold(held && { mask: mask(held.mask), known: array(held.known, size), rounds: held.rounds });
    }
    for (const one of strokes) {
      branch.change(one.settings);
      branch.beginStroke(one.ink);
      branch.stroke(mask(one.coverage));
    }
    branch.change(settings);
  };
  const changes = new Map(object.changes.map((change) => [change.at, change]));
  const { seed, timesteps, noises } = object;
  const start = object.start && { drawing: array(object.start.drawing, size) };
  const branch = new Branch(sampler, { seed, timesteps, start, settings: changes.get(0).settings });
  branch.noises = noises;
  apply(branch, changes.get(0));
  for (let k = 1; k < object.steps_made; k++) {
    yield k;
    branch.step();
    if (changes.has(k)) apply(branch, changes.get(k));
  }
  if (object.finished) branch.step();
  return branch;
}

function runToEnd(iterator) {
  for (;;) {
    const { done, value } = iterator.next();
    if (done) return value;
  }
}
