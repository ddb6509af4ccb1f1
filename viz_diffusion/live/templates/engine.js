"use strict";
// Opens the lab's engine from what page.py wrote into the page.
//
//   const engine = await openEngine()
//   engine.facts          the page's data, JSON: { run, dataset, objective, prediction_type, model, schedules,
//                         class_names, weights_sha256, classifier, version, defaults }
//   engine.kernels        .kind is "wasm" or "javascript"; say the latter in the page: it is about ten times slower
//   engine.denoiser       Denoiser
//   engine.classifier     Classifier, or null where the run's images have none
//   engine.sampler        Sampler on the run's own process (flow matching: Euler on the straight line)
//   engine.otherSampler   for a flow-matching network the one on the run's noise schedule (DDIM, DDPM); else null
//   engine.newBranch({ seed, label, steps, guidance, method, eta, ... }) -> Branch, defaults from engine.facts.defaults
//   engine.branchFromDrawing(drawing, t, options) -> Branch that begins with the drawing noised to the timestep nearest
//                         below or at t
//
// Throws LiveError: "weights_damaged".
//
// All modules are plain scripts that share one scope, in this order: weights.js, kernels.js, random.js, network.js,
// classifier.js, sampler.js, interventions.js, branch.js, state.js, engine.js.

async function openEngine() {
  const text = (id) => document.getElementById(`live-${id}`)?.textContent.trim() ?? "";
  const facts = JSON.parse(text("data"));
  const weights = bytesOf(text("weights"));
  await checkSha256(weights, facts.weights_sha256);
  const kernels = await loadKernels(bytesOf(text("kernels")));
  const classifierWeights = facts.classifier ? bytesOf(text("classifier")) : null;
  return new Engine(facts, kernels, weights, classifierWeights);
}

class Engine {
  constructor(facts, kernels, weights, classifierWeights) {
    this.facts = facts;
    this.kernels = kernels;
    const schedules = facts.schedules.map((one) => new NoiseSchedule(one));
    this.denoiser = new Denoiser(kernels, readSafetensors(weights), facts.model, schedules[0].alphasCumprod);
    this.classifier = classifierWeights
      ? new Classifier(kernels, readSafetensors(classifierWeights), facts.classifier.temperature)
      : null;
    const [sampler, other = null] = schedules.map((one) => new Sampler(this.denoiser, one, facts.prediction_type));
    this.sampler = sampler;
    this.otherSampler = other;
  }

  newBranch({ seed, steps, sampler = this.sampler, timesteps = null, start = null, ...settings } = {}) {
    const { defaults } = this.facts;
    const visited = timesteps ?? spacedTimesteps(sampler.schedule.length, steps ?? defaults.steps);
    const { label, guidance, method, eta } = { ...defaults, ...settings };
    const given = { label, guidance, eta, ...settings, method: sampler.methods.includes(method) ? method : sampler.methods[0] };
    return new Branch(sampler, { seed: seed ?? defaults.seed, timesteps: visited, settings: given, start });
  }

  branchFromDrawing(drawing, t, { steps, sampler = this.sampler, ...options } = {}) {
    const all = spacedTimesteps(sampler.schedule.length, steps ?? this.facts.defaults.steps);
    const timesteps = all.filter((one) => one <= t);
    return this.newBranch({ ...options, sampler, timesteps: timesteps.length ? timesteps : all.slice(-1), start: { drawing } });
  }
}
