"use strict";
// The pictures of "many": eight ends of one state, and the votes of sixteen seeds with and without the change.
const manyView = (() => {
  const best = (shares) => shares.indexOf(Math.max(...shares));
  const names = (counts) => counts[0][0] === null ? "" :  counts.map(([label, count]) => fill(text.tally_part, { name: wordFor.label(label), count })).join(text.comma);

  function cells(count) {
    return Array.from({ length: count }, () => make("li", {}, pictures.thumbnail(null, "end"), make("span", { textContent: "–" })));
  }

  function put(cell, image) {
    pictures.draw(cell.querySelector("canvas"), image);
    if (!engine.classifier) return null;
    const shares = engine.classifier.probabilities(image);
    cell.lastChild.textContent = wordFor.label(best(shares));
    return best(shares);
  }

  function finish(button, words) {
    button.disabled = false;
    announce(words);
  }

  function forkEight() {
    if (lab.state().t < 0) return lab.tell("nothing_left");
    lab.stop();
    const button = byId("fork");
    const row = cells(many.FORKS);
    const labels = [];
    const { t } = lab.state();
    byId("eight").replaceChildren(...row);
    button.disabled = true;
    byId("eight-result").textContent = fill(text.fork_running, { t });
    jobs.start("fork", many.finishEightTimes(lab.current, lab.at, (k, image) => {
      labels.push(put(row[k], image));
      if (labels.length < many.FORKS) return;
      const words = engine.classifier ? fill(text.fork_result, { t, tally: names(many.tally(labels)) }) : "";
      byId("eight-result").textContent = words;
      finish(button, words);
    }));
  }

  // The run without the change: the one it is compared with, or else the one it comes from.
  const without = () => lab.other ?? branches.find(lab.current.parent);

  function startVote() {
    lab.stop();
    const button = byId("vote");
    const runs = [without(), lab.current].filter(Boolean);
    const rows = runs.map(() => cells(many.SEEDS));
    const labels = runs.map(() => []);
    byId("votes").replaceChildren(...runs.map((branch, row) => lane(branch, rows[row])));
    button.disabled = true;
    jobs.start("vote", many.vote(runs, (row, seed, image) => {
      labels[row].push(put(rows[row][seed], image));
      byId("votes").children[row].querySelector(".result").textContent = names(many.tally(labels[row]));
      if (labels.every((one) => one.length === many.SEEDS)) finish(button, said(runs, labels));
    }));
  }

  function lane(branch, row) {
    const list = make("ol", { className: "ends" }, ...row);
    list.setAttribute("aria-label", branch.name);
    return make("div", { className: "vote" }, make("h4", { textContent: branch.name }), make("p", { className: "result", textContent: "–" }), list);
  }

  const said = (runs, labels) =>
    runs.map(({ name }, row) => fill(text.vote_said, { name, tally: names(many.tally(labels[row])) })).join(" ");

  function listen() {
    byId("fork").addEventListener("click", forkEight);
    byId("vote").addEventListener("click", startVote);
    byId("eight").replaceChildren(...cells(many.FORKS));
  }

  return { listen };
})();
