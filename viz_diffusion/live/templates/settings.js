"use strict";
// What the network and the sampler are given: a run's settings as the controls show them, and as the engine takes them.
//
// Beside those of sampler.js the settings hold { base, second, share, clock, offset, frozen }: label `base` mixed with
// label `second` by `share`, and the timestep that the network is given: "shifted", "frozen" or "reversed", and `where`:
// "everywhere" or in the time "embedding" only.
const settings = (() => {
  const classes = facts.class_names.length;
  const another = facts.defaults.label === classes - 1 ? 0 : classes - 1; // than the first label
  const FIRST = { second: facts.defaults.label < 8 && classes > 8 ? 8 : another, share: 0, clock: "shifted", offset: 0, frozen: 500, where: "everywhere", variance: "beta" };

  const first = () => complete({ ...FIRST, base: facts.defaults.label, guidance: facts.defaults.guidance, eta: 0, method: null });

  function label({ base, second, share }) {
    if (share === 0 || second === base) return base;
    const weights = new Array(engine.denoiser.nullLabel + 1).fill(0);
    weights[base] = 1 - share;
    weights[second] = share;
    return weights;
  }

  function given(t, { clock, offset, frozen }) {
    const lastTimestep = engine.sampler.schedule.length - 1;
    if (clock === "frozen") return frozen;
    if (clock === "reversed") return lastTimestep - t;
    return Math.min(lastTimestep, Math.max(0, t + offset));
  }

  function told(t, chosen) {
    const shown = given(t, chosen);
    return shown === t ? null : { t: shown, where: chosen.where };
  }

  // All settings for a step at timestep t.
  function complete(chosen, t = engine.sampler.schedule.length - 1) {
    const method = chosen.method ?? engine.sampler.methods[0];
    return { ...chosen, method, label: label(chosen), told: told(t, chosen) };
  }

  // The next step has its own timestep, and with a wrong clock another wrong one.
  function tellTime(run) {
    const { present } = run;
    if (!present) return;
    const wanted = told(present.t, present.settings);
    if (wanted?.t !== present.settings.told?.t) run.change({ told: wanted });
  }

  // A branch from a file, made by this page or by another program: what the controls show is filled in.
  function fromFile(run) {
    for (const step of run.steps) {
      const base = typeof step.settings.label === "number" ? step.settings.label : facts.defaults.label;
      step.settings = { ...FIRST, base, where: step.settings.told?.where ?? FIRST.where, ...step.settings };
    }
    const { length } = engine.sampler.schedule;
    const [first, second] = run.timesteps;
    return second === undefined ? 1 : Math.round(length / (first - second)); // steps of a whole run
  }

  // Keeps what the network predicted for an image, so that a slider costs no evaluation that was made before.
  function remember(sampler) {
    const known = new WeakMap(); // image -> Map of key -> prediction
    const evaluate = sampler.evaluate.bind(sampler);
    sampler.evaluate = (x, t, chosenLabel, timestep) => {
      if (!known.has(x)) known.set(x, new Map());
      const answers = known.get(x);
      const key = `${t} ${chosenLabel} ${timestep ? timestep.t + timestep.where : ""}`;
      if (!answers.has(key)) answers.set(key, evaluate(x, t, chosenLabel, timestep));
      return answers.get(key);
    };
  }

  return { first, complete, given, tellTime, fromFile, remember };
})();
