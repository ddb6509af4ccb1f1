"use strict";
// Changes of a state by hand: viz_diffusion/diffusion/state_edits.py, with the same names. All are pure functions of
// Float32Array(C*S*S) pictures; `schedule` and t as in sampler.js.
//
//   paint(x, x0, coverage, ink, schedule, t) -> x_t + a coverage (ink - x̂_0)
//       the state whose predicted x_0 would be `ink` (1 white, -1 black) where coverage is 1, with the noise as it is.
//       x and x0 are those from before the stroke, however often it is called while the stroke grows
//   hold(x, mask, known, noise, schedule, t) -> x_t, where mask is 1 replaced by a known + b noise
//   renoise(x, noise, schedule, tNext, t) -> x at tNext, noised up to t (RePaint, Lugmayr et al. 2022, section 4.2)
//   schedule.addNoise(drawing, noise, t) begins from a drawing (SDEdit, Meng et al. 2022)
//
//   strokeCoverage(S, points, width) -> Float32Array(S*S) in 0 .. 1: what a line through points [[x, y], ...] with a
//       round brush covers; in pixels, (0, 0) is the upper left corner, width the brush's diameter
//   mergedCoverage(a, b) -> the larger of both, pixel by pixel; for the parts of one stroke
//   halfMask("upper" | "lower" | "left" | "right", S) -> Float32Array(S*S) of 0 and 1
//   inkMask(drawing, S) -> the same, 1 where the drawing's mean over channels is above -0.2, one pixel wider
//   READY_STROKES = { bar: points, slash, ring, dot }    in units of the picture: 0 .. 1
//   readyStroke(name, S) -> points in pixels
//
// coverage and mask are of one channel, and are used for all.

function paint(x, x0, coverage, ink, schedule, t) {
  const a = schedule.signalScale(t);
  return x.map((value, i) => value + a * coverage[i % coverage.length] * (ink - x0[i]));
}

function hold(x, mask, known, noise, schedule, t) {
  const held = schedule.addNoise(known, noise, t);
  return x.map((value, i) => (mask[i % mask.length] ? held[i] : value));
}

// q(x_t | x_s), s < t: x_t = (a_t/a_s) x_s + √(b_t² - (a_t b_s/a_s)²) z
function renoise(x, noise, schedule, tNext, t) {
  const kept = schedule.signalScale(t) / schedule.signalScale(tNext);
  const added = Math.sqrt(schedule.noiseScale(t) ** 2 - (kept * schedule.noiseScale(tNext)) ** 2);
  return combined(kept, x, added, noise);
}

function strokeCoverage(S, points, width) {
  const coverage = new Float32Array(S * S);
  points.forEach((end, place) => {
    const [ax, ay] = points[Math.max(0, place - 1)], [bx, by] = end;
    const length2 = (bx - ax) ** 2 + (by - ay) ** 2;
    for (let y = 0; y < S; y++) {
      for (let x = 0; x < S; x++) {
        // the distance of the pixel's middle from the segment; the brush's edge is one pixel soft
        const along = length2 ? ((x + 0.5 - ax) * (bx - ax) + (y + 0.5 - ay) * (by - ay)) / length2 : 0;
        const s = Math.min(1, Math.max(0, along));
        const apart = Math.hypot(x + 0.5 - ax - s * (bx - ax), y + 0.5 - ay - s * (by - ay));
        const covered = Math.min(1, Math.max(0, width / 2 + 0.5 - apart));
        if (covered > coverage[y * S + x]) coverage[y * S + x] = covered;
      }
    }
  });
  return coverage;
}

function mergedCoverage(a, b) {
  return a.map((value, i) => Math.max(value, b[i]));
}

function halfMask(half, S) {
  const inside = {
    upper: (x, y) => y < S / 2,
    lower: (x, y) => y >= S / 2,
    left: (x) => x < S / 2,
    right: (x) => x >= S / 2,
  }[half];
  return Float32Array.from({ length: S * S }, (_, i) => (inside(i % S, Math.floor(i / S)) ? 1 : 0));
}

function inkMask(drawing, S) {
  const channels = drawing.length / (S * S);
  const ink = (x, y) => {
    let sum = 0;
    for (let c = 0; c < channels; c++) sum += drawing[c * S * S + y * S + x];
    return sum / channels > -0.2;
  };
  return Float32Array.from({ length: S * S }, (_, i) => {
    const x = i % S, y = Math.floor(i / S);
    for (let v = Math.max(0, y - 1); v <= Math.min(S - 1, y + 1); v++) {
      for (let u = Math.max(0, x - 1); u <= Math.min(S - 1, x + 1); u++) if (ink(u, v)) return 1;
    }
    return 0;
  });
}

const READY_STROKES = {
  bar: [[0.25, 0.5], [0.75, 0.5]],
  slash: [[0.7, 0.2], [0.35, 0.8]],
  ring: Array.from({ length: 25 }, (_, i) => [
    0.5 + 0.2 * Math.cos((i * Math.PI) / 12),
    0.5 + 0.2 * Math.sin((i * Math.PI) / 12),
  ]),
  dot: [[0.5, 0.5]],
};

function readyStroke(name, S) {
  return READY_STROKES[name].map(([x, y]) => [x * S, y * S]);
}
