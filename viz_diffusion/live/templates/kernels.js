"use strict";
// The network's arithmetic: kernels.c as WebAssembly, or the same functions in JavaScript where that does not run.
//
//   const kernels = await loadKernels(bytes)      bytes: Uint8Array of kernels.wasm
//   kernels.kind                                  "wasm" or "javascript"
//   kernels.reason                                why it is JavaScript, as the browser says it; else ""
//   kernels.keep(data) -> pointer                 copies a Float32Array into the memory, for good
//   kernels.begin()                               frees everything that allocate() gave
//   kernels.allocate(n) -> pointer                room for n floats until the next begin()
//   kernels.floats(pointer, n) -> Float32Array    a view of the memory, valid until the next keep() or allocate()
//   kernels.silu(...), linear, conv, norm, attention, pad, concatenate, unfold, maximum: see kernels.c
//
// Pointers are byte offsets, 0 stands for none. Knows nothing about networks.

class Kernels {
  // functions: those of kernels.c by name. memory: { buffer, grow(pages) }. base: the first free byte.
  constructor(kind, functions, memory, base, reason = "") {
    Object.assign(this, functions);
    this.kind = kind;
    this.reason = reason;
    this.memory = memory;
    this.kept = this.top = (base + 63) & ~63;
  }

  begin() {
    this.top = this.kept;
  }

  allocate(n) {
    const pointer = this.top;
    this.top += (4 * n + 63) & ~63;
    const missing = this.top - this.memory.buffer.byteLength;
    if (missing > 0) this.memory.grow(Math.ceil(missing / 65536));
    return pointer;
  }

  keep(data) {
    this.begin();
    const pointer = this.allocate(data.length);
    this.floats(pointer, data.length).set(data);
    this.kept = this.top;
    return pointer;
  }

  floats(pointer, n) {
    return new Float32Array(this.memory.buffer, pointer, n);
  }
}

async function loadKernels(bytes) {
  try {
    const { instance } = await WebAssembly.instantiate(bytes, {});
    const { memory, __heap_base, ...functions } = instance.exports;
    return new Kernels("wasm", functions, memory, __heap_base.value);
  } catch (error) {
    // no WebAssembly, none with SIMD, or a policy that forbids it
    return javascriptKernels(String(error.message || error));
  }
}

// kernels.c again, function by function. Sums are of double precision.
function javascriptKernels(reason = "") {
  let F = new Float32Array(1 << 20);
  const memory = {
    buffer: F.buffer,
    grow(pages) {
      const larger = new Float32Array(F.length + Math.max(F.length / 2, pages * 16384));
      larger.set(F);
      F = larger;
      memory.buffer = F.buffer;
    },
  };
  const siluOf = (x) => x / (1 + Math.exp(-x));

  function silu(out, input, n) {
    for (let i = 0; i < n; i++) F[(out >> 2) + i] = siluOf(F[(input >> 2) + i]);
  }

  function dot(a, b, n) {
    let sum = 0;
    for (let i = 0; i < n; i++) sum += F[a + i] * F[b + i];
    return sum;
  }

  function linear(out, input, weight, bias, n, rows) {
    for (let r = 0; r < rows; r++) F[(out >> 2) + r] = dot(input >> 2, (weight >> 2) + r * n, n) + F[(bias >> 2) + r];
  }

  function conv(out, input, weight, bias, add, H, W, cin, cout, kernel, stride, row) {
    [out, input, weight, bias, add] = [out >> 2, input >> 2, weight >> 2, bias >> 2, add >> 2];
    for (let y = 0; y < H; y++) {
      for (let x = 0; x < W; x += 2) {
        // two neighbouring pixels, 4 channels each; at the end of an odd row twice the same pixel
        const from = input + y * stride * row + x * stride * cin;
        const step = x + 1 < W ? stride * cin : 0;
        const to = out + (y * W + x) * cout;
        const apart = step && cout;
        for (let c = 0; c < cout; c += 4) {
          let a0 = F[bias + c], a1 = F[bias + c + 1], a2 = F[bias + c + 2], a3 = F[bias + c + 3];
          let b0 = a0, b1 = a1, b2 = a2, b3 = a3;
          let w = weight + c * kernel * kernel * cin;
          for (let i = 0; i < kernel; i++) {
            const end = from + i * row + kernel * cin;
            for (let p = from + i * row; p < end; p++, w += 4) {
              const u = F[p], v = F[p + step], w0 = F[w], w1 = F[w + 1], w2 = F[w + 2], w3 = F[w + 3];
              a0 += u * w0; a1 += u * w1; a2 += u * w2; a3 += u * w3;
              b0 += v * w0; b1 += v * w1; b2 += v * w2; b3 += v * w3;
            }
          }
          const first = to + c, second = first + apart;
          F[first] = a0; F[first + 1] = a1; F[first + 2] = a2; F[first + 3] = a3;
          F[second] = b0; F[second + 1] = b1; F[second + 2] = b2; F[second + 3] = b3;
        }
      }
    }
    if (add) for (let i = 0; i < H * W * cout; i++) F[out + i] += F[add + i];
  }

  function norm(out, input, weight, bias, scale, shift, H, W, C, border, act) {
    [out, input, weight, bias, scale, shift] = [out, input, weight, bias, scale, shift].map((p) => p >> 2);
    const size = C / 8, n = H * W;
    const factor = new Float64Array(C), offset = new Float64Array(C);
    for (let g = 0; g < C; g += size) {
      let sum = 0, squares = 0;
      for (let i = 0; i < n; i++) for (let c = g; c < g + size; c++) sum += F[input + i * C + c];
      const mean = sum / (n * size);
      for (let i = 0; i < n; i++) for (let c = g; c < g + size; c++) squares += (F[input + i * C + c] - mean) ** 2;
      const inverse = 1 / Math.sqrt(squares / (n * size) + 1e-5);
      for (let c = g; c < g + size; c++) {
        const f = F[weight + c] * inverse, o = F[bias + c] - mean * f;
        factor[c] = scale ? f * (1 + F[scale + c]) : f;
        offset[c] = scale ? o * (1 + F[scale + c]) + F[shift + c] : o;
      }
    }
    const row = (W + 2 * border) * C;
    if (border) F.fill(0, out, out + row * (H + 2 * border));
    out += border * (row + C);
    for (let y = 0; y < H; y++, out += row) {
      for (let i = 0; i < W * C; i++, input++) {
        const h = F[input] * factor[i % C] + offset[i % C];
        F[out + i] = act ? siluOf(h) : h;
      }
    }
  }

  function attention(out, qkv, n, heads, d) {
    [out, qkv] = [out >> 2, qkv >> 2];
    const C = heads * d, share = new Float64Array(n);
    for (let h = 0; h < heads; h++) {
      const k = qkv + C + h * d, v = qkv + 2 * C + h * d;
      for (let i = 0; i < n; i++) {
        let most = -Infinity, sum = 0;
        for (let j = 0; j < n; j++) {
          share[j] = dot(qkv + i * 3 * C + h * d, k + j * 3 * C, d) / Math.sqrt(d);
          most = Math.max(most, share[j]);
        }
        for (let j = 0; j < n; j++) sum += share[j] = Math.exp(share[j] - most);
        for (let c = 0; c < d; c++) {
          let s = 0;
          for (let j = 0; j < n; j++) s += share[j] * F[v + j * 3 * C + c];
          F[out + i * C + h * d + c] = s / sum;
        }
      }
    }
  }

  function pad(out, input, H, W, C, border, act) {
    [out, input] = [out >> 2, input >> 2];
    const row = (W + 2 * border) * C;
    F.fill(0, out, out + row * (H + 2 * border));
    out += border * (row + C);
    for (let y = 0; y < H; y++, out += row) {
      for (let i = 0; i < W * C; i++, input++) F[out + i] = act ? Math.max(0, F[input]) : F[input];
    }
  }

  function concatenate(out, a, b, n, ca, cb) {
    [out, a, b] = [out >> 2, a >> 2, b >> 2];
    for (let i = 0; i < n; i++) {
      for (let c = 0; c < ca; c++) F[out++] = F[a++];
      for (let c = 0; c < cb; c++) F[out++] = F[b++];
    }
  }

  function unfold(out, input, H, W, C) {
    [out, input] = [out >> 2, input >> 2];
    for (let y = 0; y < H; y++) {
      for (let x = 0; x < W; x++) {
        for (let q = 0; q < 4; q++, input += C) {
          F.copyWithin(out + ((2 * y + (q >> 1)) * 2 * W + 2 * x + (q & 1)) * C, input, input + C);
        }
      }
    }
  }

  function maximum(out, input, n, C) {
    [out, input] = [out >> 2, input >> 2];
    for (let c = 0; c < C; c++) {
      F[out + c] = F[input + c];
      for (let i = 1; i < n; i++) F[out + c] = Math.max(F[out + c], F[input + i * C + c]);
    }
  }

  const functions = { silu, linear, conv, norm, attention, pad, concatenate, unfold, maximum };
  return new Kernels("javascript", functions, memory, 64, reason);
}
