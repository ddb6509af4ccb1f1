"use strict";
// Long computations in pieces: a generator is run for some milliseconds in each frame of the page.
const jobs = (() => {
  const BUDGET = 22; // milliseconds
  const WAITED = 60; // ... of what the reader waits for
  const running = new Map(); // name -> generator

  // Runs a generator to its end. A new one of the same name takes the place of one that is still running.
  function start(name, generator) {
    const idle = running.size === 0;
    running.set(name, generator);
    if (idle) requestAnimationFrame(work);
  }

  function work() {
    const end = performance.now() + (running.has("link") ? WAITED : BUDGET);
    for (const [name, generator] of running) {
      let done = false;
      while (!done && performance.now() < end) ({ done } = generator.next());
      if (done && running.get(name) === generator) running.delete(name);
    }
    if (running.size) requestAnimationFrame(work);
  }

  return { start, cancel: (name) => running.delete(name), isRunning: (name) => running.has(name) };
})();
