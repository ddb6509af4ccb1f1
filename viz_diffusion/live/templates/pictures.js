"use strict";
// Arrays to pixels: greys from -1 black to 1 white, predicted noise from orange (-3) through white to purple (+3).
const pictures = (() => {
  const side = SIDE;
  const scrap = make("canvas", { width: side, height: side });
  const scrapBrush = scrap.getContext("2d");
  const buffer = scrapBrush.createImageData(side, side);

  function fillGrey(values, pixels) {
    const planes = facts.model.in_channels;
    for (let i = 0; i < side * side; i++) {
      for (let c = 0; c < 3; c++) {
        const value = values[planes === 3 ? c * side * side + i : i];
        pixels[4 * i + c] = Math.round((Math.min(1, Math.max(-1, value)) + 1) * 127.5);
      }
      pixels[4 * i + 3] = 255;
    }
  }

  function fillNoise(values, pixels) {
    const top = noiseColours.length - 1;
    for (let i = 0; i < side * side; i++) {
      const place = Math.min(1, Math.max(0, (values[i] / noiseLimit + 1) / 2));
      const colour = noiseColours[Math.round(place * top)];
      pixels.set(colour, 4 * i);
      pixels[4 * i + 3] = 255;
    }
  }

  // Draws into a canvas of one pixel for each value; the style sheet enlarges it by a whole factor.
  function draw(canvas, values, isNoise = false) {
    if (canvas.width !== side) Object.assign(canvas, { width: side, height: side });
    (isNoise ? fillNoise : fillGrey)(values, buffer.data);
    canvas.getContext("2d").putImageData(buffer, 0, 0);
  }

  // Draws into a larger canvas, `size` pixels wide at (x, y).
  function place(brush, values, x, y, size, isNoise = false) {
    (isNoise ? fillNoise : fillGrey)(values, buffer.data);
    scrapBrush.putImageData(buffer, 0, 0);
    brush.imageSmoothingEnabled = size % side !== 0;
    brush.drawImage(scrap, x, y, size, size);
  }

  const thumbnail = (values, className = "") => {
    const canvas = make("canvas", { width: side, height: side, className });
    canvas.setAttribute("aria-hidden", "true");
    if (values) draw(canvas, values);
    return canvas;
  };

  return { draw, place, thumbnail, side };
})();
