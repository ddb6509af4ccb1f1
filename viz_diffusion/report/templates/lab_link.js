"use strict";
// The link to the live lab beside the page: it opens the lab at the frame that is shown.
(() => {
  const { lab: file } = JSON.parse(byId("data").textContent);
  const link = byId("lab");

  player.onShow(() => {
    const { run, frame, done } = player;
    link.hidden = run.lab === "";
    link.href = `${file}#${run.lab}&at=${done ? -1 : run.timesteps[frame]}`;
  });
})();
