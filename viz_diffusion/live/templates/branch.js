"use strict";
// A branch: one generation, step by step, with everything that was changed on the way.
//
//   const branch = new Branch(sampler, { seed, timesteps, settings, start })
//       timesteps: falling, of spacedTimesteps; seed: 0 .. 2**32-1
//       settings: { label, guidance, told, method, eta, variance } of the first step, see sampler.js (predict, advance)
//       start: null for the seed's noise; or { drawing }: the drawing, noised to timesteps[0] (SDEdit)
//   branch.present                   the last step made, whose prediction is known; null where the image is finished
//   branch.change(settings)          other settings for the present step and those after it; predicts anew
//   branch.beginStroke(ink)          a stroke on the present state; then, as it grows,
//   branch.stroke(coverage)          adds to what the stroke covers; predicts anew. Covered twice is covered once
//   branch.hold({ mask, known, rounds, name }) or branch.hold(null)
//                                    holds pixels to a known picture from the present step on; rounds: of RePaint,
//                                    1 replaces only; name: for the page's own use
//   branch.step() -> present         makes the next step, with the same settings
//   branch.finish()                  steps to the end; branch.finished is the image, null before that
//   branch.copyAt(k, seed) -> Branch the same up to and including the arrival at step k; with another `seed` step k and
//                                    those after it add that seed's noise (a fork, as ForkedNoise)
//   branch.steps[k]                  { t, settings, hold, strokes, came, arrived, x, prediction }; k = 0 .. last-1
//       came: what step k-1 made; arrived: after holding; x: after strokes, which the network got
//       strokes: [{ ink, coverage, settings }], the settings whose predicted x_0 the stroke is relative to
//   branch.state(k)                  the state that arrives at step k; k = timesteps.length: the finished image
//   branch.timesteps, .seed, .start, .last (steps made so far, at most timesteps.length)
//   branch.respace(timesteps)        other timesteps after the present one; they must fall below it
//
// Step k adds draw k + 1 of the seed's noise, whatever the steps before it used, so that two branches of one seed add
// the same noise at the same step. Steps are never changed in place: branches share those that they have in common.

class Branch {
  constructor(sampler, { seed, timesteps, settings, start = null }) {
    this.sampler = sampler;
    this.timesteps = timesteps;
    this.seed = seed;
    this.start = start;
    this.noises = [{ seed, first: 0 }]; // whose noise is added from step `first` on
    this.streams = new Map();
    this.steps = [];
    this.finished = null;
    const noise = this.stream(seed).draw(0);
    const x = start ? sampler.schedule.addNoise(start.drawing, noise, timesteps[0]) : noise;
    this.arrive(x, { told: null, guidance: 1, eta: 0, variance: "beta", method: sampler.methods[0], ...settings }, null);
  }

  get last() {
    return this.steps.length;
  }

  get present() {
    return this.finished ? null : this.steps[this.steps.length - 1];
  }

  state(k) {
    return k < this.steps.length ? this.steps[k].arrived : k === this.timesteps.length ? this.finished : null;
  }

  change(settings) {
    this.replacePresent({ settings: { ...this.present.settings, ...settings } });
  }

  hold(held) {
    const { came, strokes, settings, t } = this.present;
    const arrived = this.heldState(came, held, this.last - 1);
    let x = arrived;
    for (const { ink, coverage, settings: then } of strokes) {
      x = paint(x, this.sampler.predict(x, t, then).x0, coverage, ink, this.sampler.schedule, t);
    }
    this.replacePresent({ hold: held, arrived, x, settings });
  }

  beginStroke(ink) {
    const { strokes, x, prediction, settings } = this.present;
    const empty = new Float32Array(this.sampler.denoiser.config.image_size ** 2);
    this.growing = { before: strokes, x, x0: prediction.x0, ink, settings, coverage: empty };
  }

  stroke(coverage) {
    const { before, x, x0, ink, settings } = this.growing;
    const all = (this.growing.coverage = mergedCoverage(this.growing.coverage, coverage));
    const painted = paint(x, x0, all, ink, this.sampler.schedule, this.present.t);
    this.replacePresent({ strokes: [...before, { ink, coverage: all, settings }], x: painted });
  }

  step() {
    const k = this.last - 1;
    const { t, settings, hold: held } = this.present;
    const tNext = k + 1 < this.timesteps.length ? this.timesteps[k + 1] : -1;
    let next = this.advanced(this.present.prediction, tNext, k);
    // RePaint: back up to t with fresh noise and down again
    for (let round = 1; held && tNext >= 0 && round < held.rounds; round++) {
      const noise = this.stream(holdSeed(this.seed)).draw(k * (held.rounds - 1) + round - 1);
      const again = renoise(next, noise, this.sampler.schedule, tNext, t);
      const x = hold(again, held.mask, held.known, this.stream(this.seed).draw(0), this.sampler.schedule, t);
      next = this.advanced(this.sampler.predict(x, t, settings), tNext, k);
    }
    if (tNext >= 0) this.arrive(next, settings, held);
    else this.finished = this.heldState(next, held, this.timesteps.length);
    return this.present;
  }

  finish() {
    while (!this.finished) this.step();
    return this.finished;
  }

  copyAt(k, seed = null) {
    const copy = Object.assign(Object.create(Branch.prototype), this);
    copy.steps = this.steps.slice(0, Math.min(k, this.steps.length - 1) + 1);
    copy.finished = null;
    copy.growing = null;
    const first = copy.last - 1;
    if (seed !== null) copy.noises = [...this.noises.filter((noise) => noise.first < first), { seed, first }];
    return copy;
  }

  respace(timesteps) {
    this.timesteps = [...this.timesteps.slice(0, this.last), ...timesteps];
  }

  // --- parts ---

  stream(seed) {
    if (!this.streams.has(seed)) this.streams.set(seed, new NoiseStream(seed, this.sampler.denoiser.size));
    return this.streams.get(seed);
  }

  // The state `came` at the next step, with held pixels, and what the network predicts from it.
  arrive(came, settings, held) {
    const k = this.steps.length;
    const arrived = this.heldState(came, held, k);
    const t = this.timesteps[k];
    const prediction = this.sampler.predict(arrived, t, settings);
    this.steps.push({ t, settings, hold: held, strokes: [], came, arrived, x: arrived, prediction });
  }

  heldState(x, held, k) {
    if (!held) return x;
    const t = k < this.timesteps.length ? this.timesteps[k] : -1;
    return hold(x, held.mask, held.known, this.stream(this.seed).draw(0), this.sampler.schedule, t);
  }

  replacePresent(changes) {
    const step = { ...this.present, ...changes };
    step.prediction = this.sampler.predict(step.x, step.t, step.settings);
    this.steps[this.steps.length - 1] = step;
  }

  advanced(prediction, tNext, k) {
    const { settings } = this.steps[k];
    const noisy = settings.method === "ddpm" || (settings.method === "ddim" && settings.eta > 0);
    const { seed, first } = this.noises.filter((noise) => noise.first <= k).at(-1);
    const noise = noisy && tNext >= 0 ? this.stream(seed).draw(k - first + 1) : null;
    return this.sampler.advance(prediction, tNext, { ...settings, noise });
  }
}

// The seed of RePaint's fresh noise, another one than the branch's.
function holdSeed(seed) {
  return (seed + 2 ** 31) % 2 ** 32;
}
