"use strict";
// Shows the present state: pictures, numbers, the classifier's bars, what each label would make of it.
const view = (() => {
  const LABEL_BUDGET = 45; // milliseconds of a frame for the labels ...
  const HURRIED_BUDGET = 5; // ... and while the run is played, or a slider dragged
  let fresh = null; // the state whose labels are being drawn
  let place = 0; // the label that is drawn next: they take turns, so that a dragged slider reaches all of them
  let left = 0; // how many are still to be drawn for this state
  let changed = -Infinity; // when the state changed last
  let hurried = false;
  let drawn = null; // a request for the next frame

  const labels = () => Array.from({ length: engine.denoiser.nullLabel + 1 }, (_, label) => label);
  const narrow = matchMedia("(max-width: 63.99rem)");
  const evaluated = new WeakMap(); // image -> the classifier's probabilities

  function soon() {
    drawn ??= requestAnimationFrame(() => {
      drawn = null;
      draw();
    });
  }

  function draw() {
    const state = lab.state();
    const compared = comparedState(state);
    pictures.draw(byId("x_t"), state.x);
    pictures.draw(byId("x0"), state.x0);
    if (state.eps) pictures.draw(byId("eps"), state.eps, true);
    byId("before-empty").hidden = Boolean(compared);
    byId("before").hidden = !compared;
    if (compared) pictures.draw(byId("before"), compared.x0);
    if (narrow.matches) drawMini(state, compared);
    drawNumbers(state, compared);
    drawBars(state);
    film.draw();
    drawLabels(state);
  }

  // On narrow screens the controls are below the pictures, so these stay in view above them.
  function drawMini(state, compared) {
    pictures.draw(byId("mini-x_t"), state.x);
    pictures.draw(byId("mini-x0"), state.x0);
    byId("mini-before").hidden = !compared;
    if (compared) pictures.draw(byId("mini-before"), compared.x0);
  }

  // The compared run at the same timestep, or the nearest that it has.
  function comparedState({ t }) {
    if (!lab.other) return null;
    return branches.state(lab.other, branches.nearest(lab.other, t));
  }

  function drawNumbers(state, compared) {
    const { schedule } = engine.sampler;
    const done = state.t < 0;
    const given = done ? null : settings.given(state.t, state.settings);
    byId("t").textContent = done ? text.finished : given === state.t ? String(state.t) : fill(text.t_given, { t: state.t, given });
    byId("signal").textContent = done ? "100%" : wordFor.percent(schedule.alphaBar(state.t));
    byId("snr").textContent = done ? "∞" : wordFor.decibels(schedule.snr(state.t));
    byId("norm").textContent = done ? "–" : wordFor.number(rms(state.eps) * Math.sqrt(state.eps.length), 2);
    byId("apart").textContent = compared ? wordFor.number(distance(state.x0, compared.x0), 3) : "–";
    byId("left").textContent = String(lab.current.run.timesteps.length - lab.at);
  }

  function probabilities(image) {
    if (!engine.classifier) return null;
    if (!evaluated.has(image)) evaluated.set(image, engine.classifier.probabilities(image));
    return evaluated.get(image);
  }

  function drawBars({ x0 }) {
    const shares = probabilities(x0);
    byId("bars-figure").hidden = !shares;
    if (!shares) return;
    const best = shares.indexOf(Math.max(...shares));
    [...byId("bars").children].forEach((bar, label) => {
      bar.style.setProperty("--share", shares[label].toFixed(3));
      bar.classList.toggle("best", label === best);
    });
    byId("reads").textContent = fill(text.classified, { label: wordFor.label(best), share: wordFor.percent(shares[best]) });
  }

  // --- what each label would make of the present state ---
  // Of a finished image there is no prediction; its last one stays.
  const labelled = (shown) => (shown.t < 0 ? branches.state(lab.current, lab.at - 1) : shown);
  const isComplete = () => drawn === null && fresh === labelled(lab.state()) && left === 0;

  function drawLabels(shown) {
    const state = labelled(shown);
    if (fresh === state) return;
    if (lab.isPlaying() && (lab.isHurrying() || lab.at % 5)) return;
    const now = performance.now();
    hurried = now - changed < 150;
    changed = now;
    fresh = state;
    left = labels().length;
    cancelAnimationFrame(drawLabels.next);
    moreLabels();
  }

  // Stale work is dropped when the state is a newer one.
  function moreLabels() {
    const end = performance.now() + (hurried || lab.isPlaying() ? HURRIED_BUDGET : LABEL_BUDGET);
    const inputs = { ...fresh.settings };
    const all = labels();
    while (left > 0 && performance.now() < end) {
      const { x0 } = engine.sampler.predict(fresh.x, fresh.t, { ...inputs, label: all[place], guidance: all[place] === all.at(-1) ? 1 : inputs.guidance });
      pictures.draw(byId(`label-${all[place]}`), x0);
      place = (place + 1) % all.length;
      left -= 1;
    }
    if (left > 0) drawLabels.next = requestAnimationFrame(moreLabels);
  }

  // One sentence for screen readers.
  function spoken() {
    const state = lab.state();
    const compared = comparedState(state);
    const shares = probabilities(state.x0);
    const best = shares ? shares.indexOf(Math.max(...shares)) : null;
    const parts = [
      state.t < 0 ? text.spoken_finished : fill(text.spoken_state, { t: state.t, signal: byId("signal").textContent }),
      shares ? byId("reads").textContent : "",
      compared ? fill(text.spoken_apart, { name: lab.other.name, apart: byId("apart").textContent }) : "",
    ];
    return best === null ? parts[0] : parts.filter(Boolean).join(" ");
  }

  return { soon, spoken, isComplete };
})();
