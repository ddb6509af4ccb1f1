"use strict";
// A GIF file of grey or coloured frames: GIF89a with one palette for all frames, compressed by LZW.
const gif = (() => {
  // Writes codes of growing width, the lowest bit first, in blocks of at most 255 bytes.
  function compress(pixels, bits) {
    const clear = 1 << bits;
    const bytes = [];
    let [held, count] = [0, 0];
    let width = bits + 1;
    let next = clear + 2;
    let table = new Map();
    const put = (code) => {
      held |= code << count;
      for (count += width; count >= 8; count -= 8, held >>>= 8) bytes.push(held & 255);
    };
    put(clear);
    let prefix = pixels[0];
    for (let i = 1; i < pixels.length; i++) {
      const key = prefix * 256 + pixels[i];
      if (table.has(key)) {
        prefix = table.get(key);
        continue;
      }
      put(prefix);
      table.set(key, next);
      if (next === 1 << width && width < 12) width += 1;
      next += 1;
      if (next > 4095) {
        put(clear);
        [table, width, next] = [new Map(), bits + 1, clear + 2];
      }
      prefix = pixels[i];
    }
    put(prefix);
    put(clear + 1);
    if (count > 0) bytes.push(held & 255);
    return bytes;
  }

  const short = (value) => [value & 255, value >> 8];

  // frames: [{ pixels: Uint8Array of palette indices, delay: in hundredths of a second }]; palette: 256 colours [r, g, b].
  function encode(width, height, palette, frames) {
    const parts = [
      [...new TextEncoder().encode("GIF89a"), ...short(width), ...short(height), 0xf7, 0, 0, ...palette.flat()],
      [0x21, 0xff, 11, ...new TextEncoder().encode("NETSCAPE2.0"), 3, 1, 0, 0, 0], // repeats for ever
    ];
    for (const { pixels, delay } of frames) {
      parts.push([0x21, 0xf9, 4, 0, ...short(delay), 0, 0, 0x2c, 0, 0, 0, 0, ...short(width), ...short(height), 0, 8]);
      const data = compress(pixels, 8);
      for (let i = 0; i < data.length; i += 255) parts.push([Math.min(255, data.length - i), ...data.slice(i, i + 255)]);
      parts.push([0]);
    }
    parts.push([0x3b]);
    return new Blob(parts.map((part) => Uint8Array.from(part)), { type: "image/gif" });
  }

  return { encode };
})();
