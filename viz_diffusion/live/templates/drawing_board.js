"use strict";
// The reader's own drawing: to begin from it with noise (SDEdit), or to hold a part of it (replacement or RePaint).
const drawingBoard = (() => {
  const ROUNDS = 4; // of RePaint
  const canvas = () => byId("mine");
  let drawing = null; // Float32Array as an image of the network, -1 black to 1 white
  let beforeStroke = null;

  const ink = () => (document.querySelector("input[name=tool]:checked").value === "eraser" ? -1 : 1);
  const show = () => pictures.draw(canvas(), drawing);

  function put(image) {
    drawing = image;
    show();
  }

  function addShape() {
    const list = byId("mine-shape");
    put(shapes.laid(drawing, shapes.coverage(list.value, controls.width()), ink()));
    announce(fill(text.drawing_has, { name: list.selectedOptions[0].textContent }));
  }

  function begin() {
    const t = Number(byId("level").value);
    lab.startFrom(Float32Array.from(drawing), t);
    announce(fill(text.drawing_begun, { t: lab.state().t }));
    lab.finish();
  }

  const masks = {
    upper: () => halfMask("upper", SIDE),
    left: () => halfMask("left", SIDE),
    ink: () => inkMask(drawing, SIDE),
  };

  function hold() {
    const name = document.querySelector("input[name=hold]:checked").value;
    if (name === "nothing") return lab.hold(null);
    const rounds = byId("repaint").checked ? ROUNDS : 1;
    lab.hold({ mask: masks[name](), known: Float32Array.from(drawing), rounds, name });
  }

  // The radios show what the state that is shown holds.
  function showHold() {
    const held = lab.shownHold();
    const wanted = document.querySelector(`input[name=hold][value="${held?.name ?? "nothing"}"]`);
    if (wanted) wanted.checked = true;
  }

  function listen() {
    put(new Float32Array(facts.model.in_channels * SIDE * SIDE).fill(-1));
    put(shapes.laid(drawing, shapes.coverage("house", 2.5), 1));
    byId("mine-add").addEventListener("click", addShape);
    byId("mine-clear").addEventListener("click", () => put(new Float32Array(drawing.length).fill(-1)));
    byId("mine-take").addEventListener("click", () => put(Float32Array.from(lab.state().x0)));
    byId("begin").addEventListener("click", begin);
    byId("level").addEventListener("input", showLevel);
    for (const one of document.querySelectorAll("input[name=hold], #ui-repaint")) one.addEventListener("change", hold);
    brush.attach(canvas(), {
      width: controls.width,
      begin: () => Boolean((beforeStroke = drawing)),
      move: (cover) => put(shapes.laid(beforeStroke, cover, ink())),
    });
    showLevel();
  }

  function showLevel() {
    byId("level-value").textContent = fill(text.level_value, { t: byId("level").value });
  }

  return { listen, showHold, show };
})();
