"use strict";
// The list of runs: each with its picture, its name, what was changed, and buttons to show, compare or remove it.
const branchList = (() => {
  const rows = new Map(); // entry -> its elements

  function row(entry) {
    if (rows.has(entry)) return rows.get(entry);
    const name = make("input", { value: entry.name, type: "text", maxLength: 40 });
    name.setAttribute("aria-label", text.rename);
    name.addEventListener("change", () => {
      entry.name = name.value.trim() || entry.name;
      entry.named = true;
      name.value = entry.name;
      lab.tell("runs");
    });
    const parts = {
      entry,
      name,
      picture: pictures.thumbnail(null),
      words: make("span", { className: "what" }),
      show: button(text.show, () => lab.show(entry)),
      compare: button(text.compare, () => lab.compare(lab.other === entry ? null : entry)),
      remove: button(text.remove, () => lab.remove(entry)),
    };
    const buttons = make("span", { className: "buttons" }, parts.show, parts.compare, parts.remove);
    parts.element = make("li", {}, parts.picture, make("span", { className: "named" }, name, parts.words), buttons);
    rows.set(entry, parts);
    return parts;
  }

  function button(words, act) {
    const element = make("button", { type: "button", textContent: words });
    element.addEventListener("click", act);
    return element;
  }

  // "from Run 1 at t = 599: label 5 → 3"
  function describe(entry) {
    const { seed, steps, start } = { seed: entry.run.seed, steps: entry.steps, start: entry.run.start };
    const parent = branches.find(entry.parent);
    const first = entry.run.steps[entry.fork];
    if (!parent) {
      const label = wordFor.label(first.settings.base);
      const words = entry.fromFile ? text.from_file : start ? text.from_drawing : text.from_noise;
      return fill(words, { label, seed, steps, t: first.t });
    }
    const before = parent.run.steps[entry.fork];
    const changed = changes(before, first).join(text.comma) || text.no_change;
    return fill(text.from_run, { name: parent.name, t: first.t, changes: changed });
  }

  function changes(before, step) {
    const [a, b] = [before?.settings ?? {}, step.settings];
    const found = [];
    const arrow = (name, from, to) => found.push(fill(text.change, { name, from, to }));
    if (a.base !== b.base) arrow(text.change_label, wordFor.label(a.base), wordFor.label(b.base));
    if (a.share !== b.share || (b.share && a.second !== b.second)) {
      found.push(fill(text.share_some, { label: wordFor.label(b.second), share: wordFor.percent(b.share) }));
    }
    if (a.guidance !== b.guidance) arrow(text.change_guidance, a.guidance, b.guidance);
    if (a.method !== b.method) arrow(text.change_method, a.method?.toUpperCase(), b.method.toUpperCase());
    if (a.eta !== b.eta) arrow(text.change_eta, a.eta, b.eta);
    const given = settings.given(step.t, b);
    const elsewhere = a.where !== b.where && given !== step.t;
    if (before && (elsewhere || settings.given(step.t, a) !== given)) {
      found.push(fill(b.where === "embedding" ? text.change_embedded : text.change_given, { given, t: step.t }));
    }
    if (before?.hold !== step.hold) found.push(step.hold ? text[`hold_${step.hold.name}`] ?? text.hold_part : text.hold_nothing);
    if (step.strokes.length > (before?.strokes.length ?? 0)) found.push(text.change_stroke);
    return found;
  }

  function draw() {
    const list = byId("runs");
    for (const entry of rows.keys()) if (!branches.list.includes(entry)) rows.delete(entry);
    const wanted = branches.list.map((entry) => row(entry).element);
    if (wanted.length !== list.children.length || wanted.some((one, i) => one !== list.children[i])) list.replaceChildren(...wanted);
    drawStates();
  }

  // Pictures, words and buttons; the elements stay, so that the focus does.
  function drawStates() {
    for (const entry of branches.list) {
      const parts = row(entry);
      pictures.draw(parts.picture, branches.last(entry).x0);
      parts.words.textContent = describe(entry);
      parts.show.setAttribute("aria-pressed", String(entry === lab.current));
      parts.compare.setAttribute("aria-pressed", String(entry === lab.other));
      parts.compare.disabled = entry === lab.current;
      parts.remove.disabled = branches.list.length === 1;
      for (const name of ["show", "compare", "remove"]) parts[name].setAttribute("aria-label", fill(text[`${name}_run`], { name: entry.name }));
    }
    byId("lane-now").textContent = lab.current.name;
    byId("lane-before").textContent = lab.other ? lab.other.name : text.no_other;
    byId("before-name").textContent = lab.other ? fill(text.of_run, { name: lab.other.name }) : text.of_none;
  }

  return { draw, drawStates, describe };
})();
