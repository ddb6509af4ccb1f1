"use strict";
// The film: a lane of predicted x₀ for the current run, one for the compared run, their distance; one time axis.
// A click shows a state; the slider below the film does the same for the keyboard.
const film = (() => {
  const canvas = byId("film");
  const GAP = 6; // pixels between the lanes
  const DISTANCE = 34; // height of the curve of distances
  const REACH = 7; // pixels around a mark that a click may be away from it
  let layout = null; // { width, size, places, step }
  let width = 0; // of the canvas on the page

  const total = () => engine.sampler.schedule.length; // T
  const fraction = (t) => (total() - 1 - t) / total(); // 0 at t = T-1, 1 for the finished image
  const timestepAt = (place) => total() - 1 - (place / (layout.places - 1)) * total();
  const left = (t) => fraction(t) * (layout.places - 1) * layout.step;
  const leftOfPlace = (t) => Math.round(fraction(t) * (layout.places - 1)) * layout.step;

  function measure() {
    width ||= canvas.clientWidth;
    const size = width < 30 * SIDE ? (width < 18 * SIDE ? 1.5 * SIDE : 2 * SIDE) : width < 60 * SIDE ? 2 * SIDE : 3 * SIDE;
    const places = Math.max(2, Math.floor((width + 2) / (size + 2)));
    layout = { width, size, places, step: (width - size) / (places - 1) };
    canvas.parentElement.style.setProperty("--frame", size + "px");
  }

  // The state that stands at a place of the film, or null where a run has none near.
  function stateAt(entry, states, place) {
    const t = timestepAt(place);
    const state = states[branches.nearest(entry, t)];
    const { timesteps } = entry.run;
    const apart = Math.max(total() / (layout.places - 1), timesteps.length > 1 ? timesteps[0] - timesteps[1] : 0);
    return Math.abs(state.t - t) <= apart / 2 + 1 ? state : null;
  }

  const COLOURS = ["wash", "mark", "line", "accent"];
  const measured = new WeakMap(); // state -> the state it was compared with last, and their distance
  let known = null; // the style sheet's colours, until it changes

  function colours() {
    const style = getComputedStyle(canvas);
    known ??= Object.fromEntries(COLOURS.map((name) => [name, style.getPropertyValue("--" + name).trim()]));
    return known;
  }

  function draw() {
    measure();
    if (width === 0) return;
    const { size } = layout;
    const dense = window.devicePixelRatio || 1;
    const height = 2 * size + 2 * GAP + DISTANCE;
    const [wide, high] = [Math.round(width * dense), Math.round(height * dense)];
    if (canvas.width !== wide || canvas.height !== high) {
      canvas.style.height = height + "px"; // setting a size clears the canvas
      Object.assign(canvas, { width: wide, height: high });
    }
    const pen = canvas.getContext("2d");
    const colour = colours();
    pen.setTransform(dense, 0, 0, dense, 0, 0);
    pen.clearRect(0, 0, width, height);
    drawLane(pen, colour, lab.current, 0);
    drawLane(pen, colour, lab.other, size + GAP);
    drawDistance(pen, colour, 2 * (size + GAP));
    drawCursor(pen, colour, height);
  }

  function drawLane(pen, colour, entry, y) {
    const { size, places, step } = layout;
    const states = entry ? branches.states(entry) : [];
    for (let place = 0; place < places; place++) {
      const state = entry && stateAt(entry, states, place);
      pen.fillStyle = state ? "#000" : colour.wash;
      pen.fillRect(place * step, y, size, size);
      if (!state) continue;
      const shared = entry === lab.current && states.indexOf(state) < entry.fork;
      pen.globalAlpha = shared ? 0.5 : 1;
      pictures.place(pen, state.x0, place * step, y, size);
      pen.globalAlpha = 1;
    }
    if (entry) drawMarks(pen, colour, entry, states, y);
  }

  // Where a run leaves its parent, and where it was painted on.
  function drawMarks(pen, colour, entry, states, y) {
    const { size } = layout;
    pen.fillStyle = colour.mark;
    if (entry.parent !== null) pen.fillRect(leftOfPlace(states[entry.fork].t) - 2, y, 4, size);
    for (const { strokes, t } of states) if (strokes.length) pen.fillRect(leftOfPlace(t) + size / 2 - 6, y + size - 5, 12, 5);
  }

  function drawDistance(pen, colour, y) {
    const { size, places, step } = layout;
    pen.fillStyle = colour.line;
    pen.fillRect(size / 2, y + DISTANCE - 1, (places - 1) * step, 1);
    if (!lab.other) return;
    pen.strokeStyle = colour.mark;
    pen.lineWidth = 2;
    pen.beginPath();
    for (const [t, value] of distances()) pen.lineTo(left(t) + size / 2, y + DISTANCE - 2 - Math.min(1, value) * (DISTANCE - 5));
    pen.stroke();
  }

  function drawCursor(pen, colour, height) {
    const { size } = layout;
    const x = left(lab.state().t);
    pen.strokeStyle = colour.accent;
    pen.lineWidth = 3;
    pen.strokeRect(leftOfPlace(lab.state().t) + 1.5, 1.5, size - 3, size - 3);
    pen.lineWidth = 1;
    pen.beginPath();
    pen.moveTo(x + size / 2, size);
    pen.lineTo(x + size / 2, height);
    pen.stroke();
  }

  // [t, RMS of predicted x₀ of the current minus that of the compared run], where both have a state at t.
  function distances() {
    const theirs = new Map(branches.states(lab.other).map((state) => [state.t, state]));
    return branches.states(lab.current)
      .filter(({ t }) => theirs.has(t))
      .map((state) => [state.t, apart(state, theirs.get(state.t))]);
  }

  function apart(state, their) {
    if (state === their) return 0;
    if (measured.get(state)?.their !== their) measured.set(state, { their, value: distance(state.x0, their.x0) });
    return measured.get(state).value;
  }

  function choose(event) {
    if (!layout) return;
    const box = canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const place = Math.min(layout.places - 1, Math.max(0, Math.floor(x / layout.step)));
    if (lab.other && y > layout.size + GAP / 2 && y < 2 * layout.size + GAP) lab.swap();
    lab.seek(markAt(x) ?? indexAt(timestepAt(place)));
  }

  // The index of the state where the current run leaves its parent, if its mark is at x.
  function markAt(x) {
    const { parent, fork, run } = lab.current;
    return parent !== null && Math.abs(leftOfPlace(run.steps[fork].t) - x) <= REACH ? fork : null;
  }

  // The index of the state nearest to t, whether it is computed already or not.
  function indexAt(t) {
    const all = [...lab.current.run.timesteps, -1];
    return all.reduce((best, one, k) => (Math.abs(one - t) <= Math.abs(all[best] - t) ? k : best), 0);
  }

  function resized() {
    width = 0;
    known = null;
    draw();
  }

  canvas.addEventListener("click", choose);
  return { draw, resized, distances };
})();
