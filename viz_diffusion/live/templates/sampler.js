"use strict";
// Schedule and samplers: viz_diffusion/diffusion/{schedule, timesteps, parameterizations, samplers, ode_samplers}.py.
//
//   const schedule = new NoiseSchedule({ name, scaling, alphas_cumprod })
//       scaling: "variance_preserving" or "flow"; all functions take a timestep t, and t = -1 for the finished image
//   schedule.alphaBar(t), .snr(t), .signalScale(t), .noiseScale(t)        a and b of x_t = a x_0 + b ε
//   schedule.addNoise(x0, noise, t) -> x_t
//   schedule.length                                                       T
//
//   spacedTimesteps(T, steps) -> [t, ...] falling, from T-1; 1 <= steps <= T ("trailing")
//
//   const sampler = new Sampler(denoiser, schedule, predictionType)
//       predictionType: what the network was trained for: "epsilon", "v_prediction", "sample" or "flow"
//   sampler.predict(x, t, inputs) -> { t, x, eps, epsCond, epsUncond, x0Raw, x0 }, all Float32Array
//       inputs: { label, guidance, told }
//           label: a number, or num_labels + 1 weights (a mixture), see Denoiser; the null label is denoiser.nullLabel
//           guidance: 1 is none, one evaluation; any other makes two, and epsCond, epsUncond are not null
//           told: null, or { t, where: "everywhere" | "embedding" }: the timestep that the network gets in place of the
//               true one, in all places or in its time embedding only
//       x0 is x0Raw clipped to [-1, 1]
//   sampler.predictLabels(x, t, inputs) -> [prediction, ...] for labels 0 .. num_labels, the last without a label;
//       inputs.label is not used; num_labels + 1 evaluations, with guidance too
//   sampler.advance(prediction, tNext, { method, eta, variance, noise }) -> x at tNext (-1: the finished image)
//       method "ddpm": variance "beta" or "beta_tilde"; "ddim": eta 0 .. 1, where 1 is ddpm with beta_tilde; "euler"
//       noise: the fresh noise, is used where the method adds any
//   sampler.methods -> those that this process allows, the preferred one first
//   sampler.evaluations                                                   how many forward passes were made so far
//
//   rms(x), distance(x, y)                                                root mean square of x, of x - y
//
// Pictures are Float32Array(C*S*S); factors and sums are of double precision.

class NoiseSchedule {
  constructor({ name, scaling, alphas_cumprod: alphasCumprod }) {
    this.name = name;
    this.scaling = scaling;
    this.alphasCumprod = Float64Array.from(alphasCumprod);
    this.length = alphasCumprod.length;
  }

  alphaBar(t) {
    return t < 0 ? 1 : this.alphasCumprod[t];
  }

  snr(t) {
    return this.alphaBar(t) / (1 - this.alphaBar(t));
  }

  signalScale(t) {
    const signal = Math.sqrt(this.alphaBar(t));
    return this.scaling === "flow" ? signal / (signal + Math.sqrt(1 - this.alphaBar(t))) : signal;
  }

  noiseScale(t) {
    const noise = Math.sqrt(1 - this.alphaBar(t));
    return this.scaling === "flow" ? noise / (Math.sqrt(this.alphaBar(t)) + noise) : noise;
  }

  addNoise(x0, noise, t) {
    return combined(this.signalScale(t), x0, this.noiseScale(t), noise);
  }
}

// Strides of T/steps, rounded as NumPy rounds: halves to the even number.
function spacedTimesteps(T, steps) {
  const rounded = (value) => {
    const up = Math.round(value);
    return up - value === 0.5 && up % 2 ? up - 1 : up;
  };
  return Array.from({ length: steps }, (_, i) => rounded(((steps - i) * T) / steps) - 1);
}

class Sampler {
  constructor(denoiser, schedule, predictionType) {
    this.denoiser = denoiser;
    this.schedule = schedule;
    this.predictionType = predictionType;
    this.methods = schedule.scaling === "flow" ? ["euler"] : ["ddim", "ddpm", "euler"];
    this.evaluations = 0;
  }

  predict(x, t, { label, guidance = 1, told = null }) {
    const conditional = this.evaluate(x, t, label, told);
    if (guidance === 1) return this.found(x, t, conditional, null, 1);
    return this.found(x, t, conditional, this.evaluate(x, t, this.denoiser.nullLabel, told), guidance);
  }

  predictLabels(x, t, { guidance = 1, told = null }) {
    const unconditional = this.evaluate(x, t, this.denoiser.nullLabel, told);
    const labels = Array.from({ length: this.denoiser.numLabels }, (_, label) => label);
    const found = labels.map((label) =>
      this.found(x, t, this.evaluate(x, t, label, told), guidance === 1 ? null : unconditional, guidance),
    );
    return [...found, this.found(x, t, unconditional, null, 1)];
  }

  // One forward pass: what the network predicts, as { kind, values }.
  evaluate(x, t, label, told) {
    this.evaluations++;
    const given = told?.where === "everywhere" ? told.t : t;
    const embedded = told ? told.t : t;
    if (this.predictionType !== "flow") {
      return { kind: this.predictionType, values: this.denoiser.forward(x, given, label, embedded) };
    }
    // a flow-matching network gets the state of its own process with the same SNR, x / (a + b), and T σ - 1 as its time
    const a = this.schedule.signalScale(given), b = this.schedule.noiseScale(given);
    const own = this.schedule.scaling === "flow" ? x : x.map((value) => value / (a + b));
    const times = [given, embedded].map((one) => this.flowTime(one));
    const values = this.denoiser.forward(own, times[0], label, times[1]);
    if (this.schedule.scaling === "flow") return { kind: "flow", values };
    return { kind: "epsilon", values: toX0AndEps(values, x, "flow", a, b)[1] };
  }

  flowTime(t) {
    const a = this.schedule.signalScale(t), b = this.schedule.noiseScale(t);
    return Math.fround(this.schedule.length * (b / (a + b)) - 1);
  }

  // Guidance mixes the predictions as they are: ε_∅ + s (ε_y - ε_∅).
  found(x, t, conditional, unconditional, guidance) {
    const a = this.schedule.signalScale(t), b = this.schedule.noiseScale(t);
    const { kind, values } = conditional;
    const eps = ({ values: some }) => toX0AndEps(some, x, kind, a, b)[1];
    const mixed = unconditional
      ? values.map((value, i) => unconditional.values[i] + guidance * (value - unconditional.values[i]))
      : values;
    const [x0Raw, mixedEps] = toX0AndEps(mixed, x, kind, a, b);
    return {
      t,
      x,
      eps: mixedEps,
      epsCond: unconditional && eps(conditional),
      epsUncond: unconditional && eps(unconditional),
      x0Raw,
      x0: x0Raw.map((value) => Math.min(1, Math.max(-1, value))),
    };
  }

  advance({ t, x, x0 }, tNext, { method, eta = 0, variance = "beta", noise = null }) {
    if (method === "euler") return this.eulerStep(t, x, x0, tNext);
    const share = this.schedule.alphaBar(t), shareNext = this.schedule.alphaBar(tNext);
    const beta = 1 - share / shareNext;
    const posteriorVariance = ((1 - shareNext) / (1 - share)) * beta;
    if (method === "ddpm") {
      // x_{t-1} = μ̃_t(x_t, x̂_0) + σ_t z (Ho et al. 2020, eq. 7)
      const ofX0 = (Math.sqrt(shareNext) * beta) / (1 - share);
      const ofX = (Math.sqrt(1 - beta) * (1 - shareNext)) / (1 - share);
      const sigma = Math.sqrt(variance === "beta" ? beta : posteriorVariance);
      return withNoise(combined(ofX0, x0, ofX, x), tNext < 0 ? 0 : sigma, noise);
    }
    // √ᾱ_{t-1} x̂_0 + √(1-ᾱ_{t-1}-σ_t²) ε̂ + σ_t z (Song et al. 2021, eq. 12), with the ε̂ that the clipped x̂_0 implies
    const sigma = eta * Math.sqrt(posteriorVariance);
    const direction = combined(1 / Math.sqrt(1 - share), x, -Math.sqrt(share) / Math.sqrt(1 - share), x0);
    const ofDirection = Math.sqrt(Math.max(0, 1 - shareNext - sigma * sigma));
    return withNoise(combined(Math.sqrt(shareNext), x0, ofDirection, direction), tNext < 0 ? 0 : sigma, noise);
  }

  // x' = x + (σ' - σ) (ε̂ - x̂_0) in x_σ = x_t / (a + b), σ = b / (a + b) (Lipman et al. 2023)
  eulerStep(t, x, x0, tNext) {
    const { schedule } = this;
    const a = schedule.signalScale(t), b = schedule.noiseScale(t);
    const aNext = schedule.signalScale(tNext), bNext = schedule.noiseScale(tNext);
    const step = bNext / (aNext + bNext) - b / (a + b);
    const direction = combined(1 / b, x, -a / b - 1, x0);
    return combined((aNext + bNext) / (a + b), x, (aNext + bNext) * step, direction);
  }
}

// (x̂_0, ε̂) that a prediction p = α ε + β x_0 implies at x_t = a x_0 + b ε (parameterizations.py).
function toX0AndEps(prediction, x, kind, a, b) {
  const power = Math.hypot(a, b);
  const [alpha, beta] = { epsilon: [1, 0], sample: [0, 1], v_prediction: [a / power, -b / power], flow: [1, -1] }[kind];
  const determinant = a * alpha - b * beta;
  const x0 = kind === "sample" ? prediction : combined(alpha / determinant, x, -b / determinant, prediction);
  const eps = kind === "epsilon" ? prediction : combined(-beta / determinant, x, a / determinant, prediction);
  return [x0, eps];
}

function combined(first, x, second, y) {
  return x.map((value, i) => first * value + second * y[i]);
}

function withNoise(x, sigma, noise) {
  return sigma > 0 ? combined(1, x, sigma, noise) : x;
}

function rms(x) {
  return Math.sqrt(x.reduce((sum, value) => sum + value * value, 0) / x.length);
}

function distance(x, y) {
  return rms(x.map((value, i) => value - y[i]));
}
