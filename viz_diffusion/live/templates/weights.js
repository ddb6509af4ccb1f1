"use strict";
// Weights: from base64 in the page to named float32 tensors.
//
//   bytesOf(text) -> Uint8Array                   base64, decoded
//   base64Of(bytes) -> string
//   readSafetensors(bytes) -> { name: { shape: [n, ...], data: Float32Array } }
//   await checkSha256(bytes, sha256)              throws where the bytes are others; where the browser has no
//                                                 SHA-256 it returns without a check
//   new LiveError(key, message)                   what all modules throw for bad input: .key for the page's texts,
//                                                 .message one English sentence
//
// Keys thrown here: "weights_damaged".

class LiveError extends Error {
  constructor(key, message) {
    super(message);
    this.key = key;
  }
}

function bytesOf(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

function base64Of(bytes) {
  let binary = "";
  for (let i = 0; i < bytes.length; i += 8192) binary += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return btoa(binary);
}

// The format of 🤗 safetensors: 8 bytes of length, a JSON header, then the numbers. F16 and F32 are read, integers
// (counters of training) are left out.
function readSafetensors(bytes) {
  const damaged = (why) => new LiveError("weights_damaged", `The weights in this file are damaged: ${why}.`);
  if (bytes.length < 8) throw damaged(`${bytes.length} bytes are too few`);
  const start = 8 + Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  if (start > bytes.length) throw damaged("the header is cut off");
  let header;
  try {
    header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, start)));
  } catch {
    throw damaged("the header is not JSON");
  }
  const tensors = {};
  for (const [name, { dtype, shape, data_offsets: offsets }] of Object.entries(header)) {
    const size = { F16: 2, F32: 4 }[dtype];
    if (!size) continue;
    const [from, to] = offsets;
    const count = shape.reduce((product, n) => product * n, 1);
    if (start + to > bytes.length || to - from !== size * count) throw damaged(`${name} is cut off`);
    const raw = bytes.buffer.slice(bytes.byteOffset + start + from, bytes.byteOffset + start + to);
    tensors[name] = { shape, data: dtype === "F16" ? float32Of(new Uint16Array(raw)) : new Float32Array(raw) };
  }
  return tensors;
}

// float16 to float32, exactly. Both hold sign, exponent and fraction, float32 with 3 more bits of exponent (its zero
// lies at 127 instead of 15) and 13 more of fraction.
function float32Of(halves) {
  const bits = new Uint32Array(halves.length);
  const floats = new Float32Array(bits.buffer);
  for (let i = 0; i < halves.length; i++) {
    const sign = halves[i] >> 15;
    const rest = halves[i] & 0x7fff;
    if (rest >= 0x7c00) floats[i] = rest > 0x7c00 ? NaN : sign ? -Infinity : Infinity;
    else if (rest >= 0x0400) bits[i] = ((sign << 31) | ((rest << 13) + ((127 - 15) << 23))) >>> 0;
    else floats[i] = (sign ? -1 : 1) * rest * 2 ** -24; // zero and the numbers without a leading one
  }
  return floats;
}

async function checkSha256(bytes, sha256) {
  if (!globalThis.crypto?.subtle) return;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const found = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (found === sha256) return;
  throw new LiveError("weights_damaged", `The weights in this file are damaged: their SHA-256 is ${found.slice(0, 8)}….`);
}
