"use strict";
// Pen and pointer of lecturer mode: a canvas over the page to write on, and a dot that all can see. Also used by the
// live lab. Knows nothing about slides.
function lecturePen({ canvas, dot, penButton, pointerButton, wipeButton }) {
  let tool = ""; // "", "pen" or "pointer"
  let last = null; // the point that the line has reached
  let written = false;

  // The same tool again puts it away; what was written stays.
  function choose(name) {
    tool = tool === name ? "" : name;
    if (tool === "pen") fit();
    canvas.hidden = tool !== "pen" && !written;
    canvas.classList.toggle("writes", tool === "pen");
    dot.hidden = tool !== "pointer";
    penButton.setAttribute("aria-pressed", String(tool === "pen"));
    pointerButton.setAttribute("aria-pressed", String(tool === "pointer"));
  }

  function wipe() {
    canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
    written = false;
    canvas.hidden = tool !== "pen";
  }

  function putAway() {
    if (tool) choose(tool);
    wipe();
  }

  // A window of another size gets an empty canvas.
  function fit() {
    const dense = window.devicePixelRatio || 1;
    const [width, height] = [innerWidth * dense, innerHeight * dense].map(Math.round);
    if (canvas.width === width && canvas.height === height) return;
    Object.assign(canvas, { width, height });
    written = false;
  }

  function write(event) {
    const dense = window.devicePixelRatio || 1;
    const brush = canvas.getContext("2d");
    const events = event.getCoalescedEvents?.() ?? [];
    brush.strokeStyle = getComputedStyle(canvas).color;
    brush.lineWidth = 5 * dense;
    brush.lineCap = brush.lineJoin = "round";
    for (const { clientX, clientY } of events.length ? events : [event]) {
      const point = [clientX * dense, clientY * dense];
      brush.beginPath();
      brush.moveTo(...(last ?? point));
      brush.lineTo(...point);
      brush.stroke();
      last = point;
    }
    written = true;
  }

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    last = null;
    write(event);
  });
  canvas.addEventListener("pointermove", (event) => canvas.hasPointerCapture(event.pointerId) && write(event));
  addEventListener("pointermove", ({ clientX, clientY }) => {
    if (tool === "pointer") dot.style.translate = `${clientX}px ${clientY}px`;
  });
  addEventListener("resize", () => tool === "pen" && fit());
  penButton.addEventListener("click", () => choose("pen"));
  pointerButton.addEventListener("click", () => choose("pointer"));
  wipeButton.addEventListener("click", wipe);

  return { choose, wipe, putAway, isOut: () => tool !== "" };
}
