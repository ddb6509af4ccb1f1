"use strict";
// Guided tasks: predict, try it, then see what the lesson measured. A link with #task=NAME opens one.
const tasks = (() => {
  let current = null;
  const chosen = new Map(); // task -> the predicted answer

  const find = (name) => taskList.find((task) => task.name === name) ?? null;

  function open(name, focus = true) {
    current = find(name);
    // Lecturer mode shows, of the parts beneath the board, those in which the task is tried.
    document.querySelectorAll(".more .part").forEach((part) => {
      part.classList.toggle("for-task", Boolean(current?.places.some((place) => part.contains(byId(place)))));
    });
    byId("task").hidden = !current;
    byId("task-choice").value = current ? current.name : "";
    document.documentElement.classList.toggle("in-task", Boolean(current));
    if (!current) return;
    const number = taskList.indexOf(current) + 1;
    byId("task-count").textContent = fill(text.task_count, { number, count: taskList.length });
    byId("task-title").innerHTML = current.title; // words of the catalogue with their symbols typeset, in all of these
    byId("task-question").innerHTML = current.question;
    byId("task-options").replaceChildren(...current.options.map(option));
    byId("task-try").innerHTML = current.try;
    byId("task-measured").textContent = "";
    byId("task-places").replaceChildren(...current.places.map(wayTo));
    byId("task-back").disabled = number === 1;
    byId("task-next").disabled = number === taskList.length;
    showAnswer(false);
    showPrediction();
    setUp();
    if (focus) byId("task-title").focus({ preventScroll: true });
    announce(fill(text.task_said, { number, count: taskList.length, title: byId("task-title").textContent }));
  }

  function option(words, index) {
    const input = make("input", { type: "radio", name: "prediction", value: index, checked: chosen.get(current) === index });
    input.addEventListener("change", () => {
      chosen.set(current, index);
      showPrediction();
    });
    return make("label", {}, input, make("span", { innerHTML: words }));
  }

  function showPrediction() {
    byId("task-reveal").disabled = !chosen.has(current);
    byId("task-hint").hidden = chosen.has(current);
  }

  // Puts the lab into the state that the task begins with.
  const setUp = () => exchange.apply(new URLSearchParams(current.scene));

  function showAnswer(shown) {
    byId("task-answer").hidden = !shown;
    byId("task-reveal").setAttribute("aria-expanded", String(shown));
    if (!shown) return;
    const right = chosen.get(current) === current.answer;
    byId("task-verdict").innerHTML = fill(right ? text.task_right : text.task_wrong, { answer: current.options[current.answer] });
    byId("task-verdict").className = right ? "verdict holds" : "verdict fails";
    byId("task-measured").innerHTML = current.measured;
    announce(byId("task-answer").textContent);
  }

  const turn = (by) => {
    const place = current ? taskList.indexOf(current) + by : 0;
    if (taskList[place]) go(taskList[place].name);
  };

  function go(name) {
    history.replaceState(null, "", name ? `#task=${name}` : "#");
    open(name);
  }

  // A button that leads to a control; on wide screens not to those beside the pictures.
  function wayTo(name) {
    const control = byId(name);
    const label = control.labels?.[0];
    const words = (label?.querySelector(":scope > span") ?? label ?? control).innerHTML; // with its symbols typeset
    const button = make("button", { type: "button", innerHTML: fill(text.task_go, { name: words }) });
    button.classList.toggle("narrow", Boolean(control.closest(".setup, .controls fieldset:not(.hands)")));
    button.addEventListener("click", () => {
      control.scrollIntoView({ block: "center", behavior: calm.matches ? "instant" : "smooth" });
      control.focus({ preventScroll: true });
    });
    return button;
  }

  function listen() {
    byId("task-choice").addEventListener("change", () => go(byId("task-choice").value));
    byId("task-back").addEventListener("click", () => turn(-1));
    byId("task-next").addEventListener("click", () => turn(1));
    byId("task-leave").addEventListener("click", () => go(""));
    byId("task-again").addEventListener("click", setUp);
    byId("task-reveal").addEventListener("click", () => showAnswer(byId("task-answer").hidden));
  }

  return { listen, open, turn, isOpen: () => current !== null };
})();
