"use strict";
// The denoiser: viz_diffusion/diffusion/unet.py layer by layer, with the same names.
//
//   const denoiser = new Denoiser(kernels, tensors, config, alphasCumprod)
//       tensors: of readSafetensors; config: "model" of the run's config.json; alphasCumprod: of its schedule, or null
//   denoiser.forward(x, t, label, embedded = t) -> Float32Array
//       x: Float32Array(C*S*S), planes as in PyTorch; t: the timestep, a fraction in flow matching;
//       label: a number 0 .. num_labels, where num_labels is the null label, or an array of num_labels + 1 weights, one
//       for each label and the null label, by which their embeddings are mixed;
//       embedded: the timestep that the time embedding gets, while the last line keeps t
//   denoiser.nullLabel, .numLabels, .size (floats of an image), .config
//   denoiser.tap = (name, map) => ...             is called with each layer's output as it is made: name as in PyTorch,
//       map() -> Float32Array(C*H*W), planes; conv2 and attention's out hold the sum with the residual already
//
// What forward returns is what the network was trained to predict: ε, x_0, v or the velocity (sampler.js converts it).

class Denoiser {
  constructor(kernels, tensors, config, alphasCumprod) {
    this.kernels = kernels;
    this.config = config;
    this.alphasCumprod = alphasCumprod;
    this.nullLabel = this.numLabels = config.num_labels;
    this.size = config.in_channels * config.image_size ** 2;
    this.tap = null;
    this.time = null; // the embedding of the last timestep
    this.parameters = {};
    for (const [name, { shape, data }] of Object.entries(tensors)) {
      this.parameters[name] = kernels.keep(arranged(name, shape, data));
    }
    this.labelEmbedding = tensors["label_emb.weight"].data;
  }

  forward(x, t, label, embedded = t) {
    const { channels, num_blocks: numBlocks, num_mid_blocks: numMidBlocks = 2 } = this.config;
    const [outer, inner] = channels;
    this.kernels.begin();
    this.activatedEmbedding = this.silu(this.embed(embedded, label), this.config.embedding_dim);
    let h = this.conv("conv_in", this.padded(this.pixelUnshuffle(x)), outer);
    const skips = [];
    for (let i = 0; i < numBlocks; i++) skips.push((h = this.residualBlock(`down_outer.${i}`, h, outer)));
    h = this.conv("downsample", this.padded(h), inner, { stride: 2 });
    for (let i = 0; i < numBlocks; i++) skips.push((h = this.residualBlock(`down_inner.${i}`, h, inner)));
    h = this.residualBlock("mid1", h, inner);
    h = this.attentionBlock("mid_attention", h);
    h = this.residualBlock("mid2", h, inner);
    for (let i = 0; i < numMidBlocks - 2; i++) h = this.residualBlock(`mid_more.${i}`, h, inner);
    for (let i = 0; i < numBlocks; i++) h = this.residualBlock(`up_inner.${i}`, this.concatenated(h, skips.pop()), inner);
    h = this.upsample(h, outer);
    for (let i = 0; i < numBlocks; i++) h = this.residualBlock(`up_outer.${i}`, this.concatenated(h, skips.pop()), outer);
    h = this.norm("norm_out", h, { border: 1, act: 1 });
    h = this.conv("conv_out", h, 4 * this.config.in_channels);
    return this.lastLine(x, this.pixelShuffle(h), t);
  }

  // The sum of the time and the label embedding.
  embed(t, label) {
    const { embedding_dim: width, time_dim: timeDim, use_time: useTime = true } = this.config;
    const sum = new Float32Array(width);
    const weights = typeof label === "number" ? { [label]: 1 } : label;
    for (const [row, weight] of Object.entries(weights)) {
      if (weight) for (let i = 0; i < width; i++) sum[i] += weight * this.labelEmbedding[row * width + i];
    }
    if (useTime) {
      // the same for all labels at one timestep
      if (this.time?.t !== t) this.time = { t, embedding: this.embedTime(t, timeDim, width) };
      for (let i = 0; i < width; i++) sum[i] += this.time.embedding[i];
    }
    return this.copied(sum);
  }

  embedTime(t, timeDim, width) {
    const code = this.copied(timeCode(t, timeDim));
    const hidden = this.silu(this.linear("time_mlp.1", code, timeDim, width), width);
    return this.kernels.floats(this.linear("time_mlp.3", hidden, width, width), width).slice();
  }

  residualBlock(name, x, channels) {
    let h = this.conv(`${name}.conv1`, this.norm(`${name}.norm1`, x, { border: 1, act: 1 }), channels);
    const scale = this.linear(`${name}.condition`, this.activatedEmbedding, this.config.embedding_dim, 2 * channels);
    const shift = scale + 4 * channels;
    h = this.norm(`${name}.norm2`, h, { scale, shift, border: 1, act: 1 });
    const shortcut = x.C === channels ? x : this.conv(`${name}.shortcut`, x, channels, { kernel: 1 });
    return this.tapped(name, this.conv(`${name}.conv2`, h, channels, { add: shortcut.pointer }));
  }

  attentionBlock(name, x) {
    const heads = this.config.num_heads;
    const qkv = this.conv(`${name}.qkv`, this.norm(`${name}.norm`, x), 3 * x.C, { kernel: 1 });
    const h = this.map(x.H, x.W, x.C);
    this.kernels.attention(h.pointer, qkv.pointer, x.H * x.W, heads, x.C / heads);
    return this.tapped(name, this.conv(`${name}.out`, h, x.C, { kernel: 1, add: x.pointer }));
  }

  // A transposed convolution of kernel 2 and stride 2 is a 1x1 convolution to the four pixels that each pixel becomes.
  upsample(x, channels) {
    const four = this.conv("upsample", x, 4 * channels, { kernel: 1, tap: false });
    const out = this.map(2 * x.H, 2 * x.W, channels);
    this.kernels.unfold(out.pointer, four.pointer, x.H, x.W, channels);
    return this.tapped("upsample", out);
  }

  // What the layers' output h means; float32 factors, as in PyTorch.
  lastLine(x, h, t) {
    const { schedule, num_train_timesteps: total } = this.config;
    if (schedule === null) return h;
    let ofX, ofH;
    if (schedule === "flow") {
      // ε̂ - x̂_0 = (2σ - 1)/r² x + h/r, r² = (1-σ)² + σ²
      const sigma = (t + 1) / total;
      const power = (1 - sigma) ** 2 + sigma ** 2;
      [ofX, ofH] = [(2 * sigma - 1) / power, 1 / Math.sqrt(power)];
    } else {
      // ε̂ = √(1-ᾱ) x_t + √ᾱ F(x_t, t, y)
      [ofX, ofH] = [Math.sqrt(1 - this.alphasCumprod[t]), Math.sqrt(this.alphasCumprod[t])].map(Math.fround);
    }
    return h.map((value, i) => ofX * x[i] + ofH * value);
  }

  // --- layers on feature maps { pointer, H, W, C } ---

  map(H, W, C) {
    return { pointer: this.kernels.allocate(H * W * C), H, W, C };
  }

  copied(data) {
    const pointer = this.kernels.allocate(data.length);
    this.kernels.floats(pointer, data.length).set(data);
    return pointer;
  }

  silu(x, n) {
    const out = this.kernels.allocate(n);
    this.kernels.silu(out, x, n);
    return out;
  }

  linear(name, x, n, rows) {
    const out = this.kernels.allocate(rows);
    this.kernels.linear(out, x, this.parameters[`${name}.weight`], this.parameters[`${name}.bias`], n, rows);
    return out;
  }

  norm(name, x, { scale = 0, shift = 0, border = 0, act = 0 } = {}) {
    const out = this.map(x.H + 2 * border, x.W + 2 * border, x.C);
    const weight = this.parameters[`${name}.weight`], bias = this.parameters[`${name}.bias`];
    this.kernels.norm(out.pointer, x.pointer, weight, bias, scale, shift, x.H, x.W, x.C, border, act);
    return out;
  }

  padded(x) {
    const out = this.map(x.H + 2, x.W + 2, x.C);
    this.kernels.pad(out.pointer, x.pointer, x.H, x.W, x.C, 1, 0);
    return out;
  }

  // x has its border already where the kernel is 3.
  conv(name, x, channels, { kernel = 3, stride = 1, add = 0, tap = true } = {}) {
    const out = this.map(Math.floor((x.H - kernel) / stride) + 1, Math.floor((x.W - kernel) / stride) + 1, channels);
    const weight = this.parameters[`${name}.weight`], bias = this.parameters[`${name}.bias`];
    const { H, W } = out;
    this.kernels.conv(out.pointer, x.pointer, weight, bias, add, H, W, x.C, channels, kernel, stride, x.W * x.C);
    return tap ? this.tapped(name, out) : out;
  }

  concatenated(a, b) {
    const out = this.map(a.H, a.W, a.C + b.C);
    this.kernels.concatenate(out.pointer, a.pointer, b.pointer, a.H * a.W, a.C, b.C);
    return out;
  }

  // Fold each 2x2 pixels into channels: channel 4c + 2i + j is row i, column j of channel c.
  pixelUnshuffle(x) {
    const { in_channels: C, image_size: S } = this.config;
    const out = this.map(S / 2, S / 2, 4 * C);
    const to = this.kernels.floats(out.pointer, this.size);
    for (let i = 0; i < this.size; i++) to[foldedIndex(i, C, S)] = x[i];
    return out;
  }

  pixelShuffle(h) {
    const { in_channels: C, image_size: S } = this.config;
    const from = this.kernels.floats(h.pointer, this.size);
    const out = new Float32Array(this.size);
    for (let i = 0; i < this.size; i++) out[i] = from[foldedIndex(i, C, S)];
    return out;
  }

  tapped(name, map) {
    if (this.tap) this.tap(name, () => planes(this.kernels.floats(map.pointer, map.H * map.W * map.C), map));
    return map;
  }
}

// Where pixel i of planes (C, S, S) lies in the folded map (S/2, S/2, 4C).
function foldedIndex(i, C, S) {
  const c = Math.floor(i / (S * S)), y = Math.floor(i / S) % S, x = i % S;
  return ((y >> 1) * (S / 2) + (x >> 1)) * 4 * C + 4 * c + 2 * (y & 1) + (x & 1);
}

// (H, W, C) to (C, H, W)
function planes(data, { H, W, C }) {
  return Float32Array.from(data, (_, i) => data[(i % (H * W)) * C + Math.floor(i / (H * W))]);
}

// cat(sin, cos) of t 10000^(-k/half), in float32 as PyTorch computes it.
function timeCode(t, width) {
  const { fround, exp, log } = Math;
  const half = width / 2;
  const code = new Float32Array(width);
  for (let k = 0; k < half; k++) {
    const frequency = fround(exp(fround(fround(-log(10000)) * fround(k / half))));
    const angle = fround(fround(t) * frequency);
    code[k] = Math.sin(angle);
    code[half + k] = Math.cos(angle);
  }
  return code;
}

// A tensor as the kernels want it. Weights of a convolution (out, in, K, K) become (out / 4, K, K, in, 4); those of the
// transposed one (in, out, 2, 2) those of a 1x1 convolution to (2, 2, out) channels, with a bias for each.
function arranged(name, shape, data) {
  if (name === "upsample.bias") return Float32Array.from({ length: 4 * shape[0] }, (_, i) => data[i % shape[0]]);
  if (shape.length !== 4) return data;
  const transposed = name === "upsample.weight";
  const [first, second, height, width] = shape;
  const taps = height * width;
  const out = new Float32Array(data.length);
  for (let a = 0; a < first; a++) {
    for (let b = 0; b < second; b++) {
      for (let k = 0; k < taps; k++) {
        const row = transposed ? a : k * second + b; // which input of a channel, of `rows`
        const channel = transposed ? k * second + b : a;
        const rows = transposed ? first : taps * second;
        out[((channel >> 2) * rows + row) * 4 + (channel & 3)] = data[(a * second + b) * taps + k];
      }
    }
  }
  return out;
}
