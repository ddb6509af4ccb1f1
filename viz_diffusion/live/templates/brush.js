"use strict";
// Painting with mouse, pen or finger on a canvas, and the outline of a stroke, which fades.
const brush = (() => {
  const FADE = 1600; // milliseconds
  const EDGES = [[0, -1, 0, 0, 1, 0], [0, 1, 0, 1, 1, 1], [-1, 0, 0, 0, 0, 1], [1, 0, 1, 0, 1, 1]];

  // begin() is called at the first touch and may refuse with false; move(coverage) with all that is covered so far.
  function attach(canvas, { begin, move, end, width }) {
    let last = null;
    let cover = null;
    let due = false; // whether move() is called in the next frame

    function point(event) {
      const box = canvas.getBoundingClientRect();
      return [((event.clientX - box.left) / box.width) * SIDE, ((event.clientY - box.top) / box.height) * SIDE];
    }

    function add(event) {
      const events = event.getCoalescedEvents?.() ?? [];
      const points = [...(last ? [last] : []), ...(events.length ? events : [event]).map(point)];
      cover = mergedCoverage(cover, strokeCoverage(SIDE, points, (width() * SIDE) / 28));
      last = points[points.length - 1];
      if (due) return;
      due = true;
      requestAnimationFrame(() => {
        due = false;
        if (cover) move(cover);
      });
    }

    function finish() {
      if (!cover) return;
      move(cover);
      end?.(cover);
      cover = null;
    }

    canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || !begin()) return;
      event.preventDefault();
      canvas.setPointerCapture(event.pointerId);
      last = null;
      cover = new Float32Array(SIDE * SIDE);
      add(event);
    });
    canvas.addEventListener("pointermove", (event) => cover && canvas.hasPointerCapture(event.pointerId) && add(event));
    canvas.addEventListener("pointerup", finish);
    canvas.addEventListener("pointercancel", finish);
  }

  // Draws the border of what is covered and lets it fade; under reduced motion it stays as long, and then goes.
  function outline(canvas, cover) {
    const scale = 8;
    Object.assign(canvas, { width: SIDE * scale, height: SIDE * scale });
    const pen = canvas.getContext("2d");
    const inside = (x, y) => x >= 0 && y >= 0 && x < SIDE && y < SIDE && cover[y * SIDE + x] >= 0.5;
    pen.strokeStyle = getComputedStyle(canvas).color;
    pen.lineWidth = 3;
    pen.beginPath();
    for (let y = 0; y < SIDE; y++) {
      for (let x = 0; x < SIDE; x++) {
        if (!inside(x, y)) continue;
        for (const [dx, dy, x0, y0, x1, y1] of EDGES) {
          if (inside(x + dx, y + dy)) continue;
          pen.moveTo((x + x0) * scale, (y + y0) * scale);
          pen.lineTo((x + x1) * scale, (y + y1) * scale);
        }
      }
    }
    pen.stroke();
    canvas.getAnimations().forEach((one) => one.cancel());
    canvas.animate([{ opacity: 1 }, { opacity: 1, offset: 0.4 }, { opacity: calm.matches ? 1 : 0 }], { duration: FADE });
  }

  return { attach, outline };
})();
