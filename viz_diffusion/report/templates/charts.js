"use strict";
// Links the charts to the player: a marker on each line follows the scrubber; dragging on a chart moves the scrubber.
const linkedCharts = (() => {
  const at = (axes, left, value) => {
    const inside = Math.min(Math.max(value, axes.low), axes.high);
    const x = axes.left + axes.width * (1 - left / axes.steps);
    return [x, axes.top + (axes.height * (axes.high - inside)) / (axes.high - axes.low)];
  };

  // A chart has one value for each frame of the recording, and none for other runs.
  const follows = (chart) => Boolean(chart.lines) && player.run === runs[0];

  function place(figure, chart) {
    const on = follows(chart) && !player.done;
    const dots = figure.querySelectorAll(".dot");
    const stem = figure.querySelector(".stem");
    for (const mark of [...dots, stem]) mark.setAttribute("visibility", on ? "visible" : "hidden");
    figure.classList.toggle("follows", follows(chart));
    figure.querySelector(".glance").hidden = !follows(chart);
    if (!follows(chart)) return;
    player.drawOn(figure.querySelector("canvas"));
    const now = [fill(text.chart_left, { left: player.left })];
    if (on) {
      chart.lines.forEach(({ name, values }, index) => {
        const value = values[player.frame];
        const [x, y] = at(chart.axes, player.left, value);
        dots[index].setAttribute("transform", `translate(${x} ${y})`);
        stem.setAttribute("x1", x);
        stem.setAttribute("x2", x);
        now.push(fill(text.chart_value, { name, value: value.toFixed(chart.decimals).replace("-", "−") }));
      });
    }
    figure.querySelector(".now").replaceChildren(...now.map((words) => {
      const part = document.createElement("span");
      part.textContent = words;
      return part;
    }));
  }

  // Returns the steps left at the pointer; null if the chart has no size.
  function leftUnder(svg, axes, event) {
    const matrix = svg.getScreenCTM();
    if (!matrix) return null;
    const { x } = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix.inverse());
    return axes.steps * (1 - Math.min(Math.max((x - axes.left) / axes.width, 0), 1));
  }

  function draggable(svg, move) {
    svg.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      svg.setPointerCapture(event.pointerId);
      move(event);
    });
    svg.addEventListener("pointermove", (event) => svg.hasPointerCapture(event.pointerId) && move(event));
  }

  function start() {
    const figures = [...document.querySelectorAll("figure.chart")];
    const seen = new Set(); // the visible charts; only their markers are moved
    const watcher = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        if (!isIntersecting) seen.delete(target);
        else if (seen.add(target)) place(target, charts[figures.indexOf(target)]);
      }
    }, { rootMargin: "200px" });
    figures.forEach((figure, index) => {
      const chart = charts[index];
      watcher.observe(figure);
      draggable(figure.querySelector("svg"), (event) => {
        const left = leftUnder(event.currentTarget, chart.axes, event);
        if (left === null || !follows(chart)) return;
        player.seek(left < 0.5 ? runs[0].left.length : player.nearest(runs[0].left, left));
      });
      place(figure, chart);
    });
    player.onShow(() => seen.forEach((figure) => place(figure, charts[figures.indexOf(figure)])));
    draggable(document.querySelector(".curve svg"), (event) => {
      const left = leftUnder(event.currentTarget, curve, event);
      const { timesteps } = player.run;
      if (left !== null) player.seek(left < 0.5 ? timesteps.length : player.nearest(timesteps, left - 1));
    });
  }

  return { start };
})();
