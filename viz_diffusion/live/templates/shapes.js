"use strict";
// Ready-made strokes and drawings: for the keyboard, and for a quick try.
const shapes = (() => {
  const arc = (x, y, radius, from = 0, to = 2) =>
    Array.from({ length: 33 }, (_, i) => {
      const angle = Math.PI * (from + ((to - from) * i) / 32);
      return [x + radius * Math.cos(angle), y + radius * Math.sin(angle)];
    });

  // Lines through points, in shares of the image.
  const LINES = {
    bar: [[[0.25, 0.5], [0.75, 0.5]]],
    upright: [[[0.5, 0.2], [0.5, 0.8]]],
    slash: [[[0.7, 0.24], [0.3, 0.76]]],
    dot: [[[0.5, 0.5]]],
    ring: [arc(0.5, 0.5, 0.25)],
    house: [[[0.28, 0.8], [0.28, 0.42], [0.5, 0.18], [0.72, 0.42], [0.72, 0.8], [0.28, 0.8]]],
    cross: [[[0.28, 0.28], [0.72, 0.72]], [[0.72, 0.28], [0.28, 0.72]]],
    wave: [Array.from({ length: 29 }, (_, i) => [0.2 + (0.6 * i) / 28, 0.5 - 0.18 * Math.sin((i / 28) * 2 * Math.PI)])],
    face: [arc(0.5, 0.5, 0.32), [[0.39, 0.42]], [[0.61, 0.42]], arc(0.5, 0.5, 0.17, 0.15, 0.85)],
  };

  // What a shape covers, drawn with a round brush of this width in pixels of 28.
  function coverage(name, width) {
    const parts = LINES[name].map((line) => line.map(([x, y]) => [x * SIDE, y * SIDE]));
    return parts.map((points) => strokeCoverage(SIDE, points, (width * SIDE) / 28)).reduce(mergedCoverage);
  }

  // Ink of value 1, or -1 for the eraser, laid on a drawing.
  const laid = (drawing, cover, ink) => drawing.map((value, i) => value + cover[i % cover.length] * (ink - value));

  return { coverage, laid, names: Object.keys(LINES) };
})();
