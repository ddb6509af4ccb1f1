"use strict";
// The classifier: viz_diffusion/evaluation/classifier.py, which is independent of the denoiser.
//
//   const classifier = new Classifier(kernels, tensors, temperature)
//       tensors: of readSafetensors; temperature: calibrates the probabilities
//   classifier.logits(images) -> Float32Array(K)  images: one image, Float32Array(C*S*S), planes; is clipped to [-1, 1]
//   classifier.probabilities(image) -> Float64Array(K), their sum is 1
//   classifier.numLabels

class Classifier {
  // convolution and batch norm, by their places in "features", and the stride
  static LAYERS = [[0, 1, 2], [3, 4, 1], [6, 7, 2], [9, 10, 1], [12, 13, 1]];

  constructor(kernels, tensors, temperature = 1) {
    this.kernels = kernels;
    this.temperature = temperature;
    this.layers = Classifier.LAYERS.map(([convolution, norm, stride]) => {
      const { shape, data } = tensors[`features.${convolution}.weight`];
      const [factor, offset] = foldedNorm(tensors, `features.${norm}`);
      const scaled = data.map((value, i) => value * factor[Math.floor((i * shape[0]) / data.length)]);
      const weight = kernels.keep(arranged("", shape, scaled));
      return { weight, bias: kernels.keep(offset), stride, cin: shape[1], cout: shape[0] };
    });
    const { shape, data } = tensors["head.1.weight"];
    [this.numLabels, this.width] = shape;
    this.head = { weight: kernels.keep(data), bias: kernels.keep(tensors["head.1.bias"].data) };
  }

  logits(image) {
    const { kernels } = this;
    kernels.begin();
    const C = this.layers[0].cin;
    let side = Math.round(Math.sqrt(image.length / C));
    let h = kernels.allocate(image.length);
    const pixels = kernels.floats(h, image.length);
    for (let i = 0; i < image.length; i++) {
      pixels[(i % (side * side)) * C + Math.floor(i / (side * side))] = Math.min(1, Math.max(-1, image[i]));
    }
    for (const [place, { weight, bias, stride, cin, cout }] of this.layers.entries()) {
      const bordered = kernels.allocate((side + 2) ** 2 * cin);
      kernels.pad(bordered, h, side, side, cin, 1, place ? 1 : 0); // ReLU of the layer before
      const row = (side + 2) * cin;
      side = Math.floor((side - 1) / stride) + 1;
      h = kernels.allocate(side * side * cout);
      kernels.conv(h, bordered, weight, bias, 0, side, side, cin, cout, 3, stride, row);
    }
    const largest = kernels.allocate(this.width), features = kernels.allocate(this.width);
    kernels.maximum(largest, h, side * side, this.width);
    kernels.pad(features, largest, 1, 1, this.width, 0, 1);
    const out = kernels.allocate(this.numLabels);
    kernels.linear(out, features, this.head.weight, this.head.bias, this.width, this.numLabels);
    return kernels.floats(out, this.numLabels).slice();
  }

  probabilities(image) {
    const logits = Float64Array.from(this.logits(image), (value) => value / this.temperature);
    const most = Math.max(...logits);
    const powers = logits.map((value) => Math.exp(value - most));
    const sum = powers.reduce((all, value) => all + value, 0);
    return powers.map((value) => value / sum);
  }
}

// Batch norm (epsilon 1e-5) as a factor and an offset of each channel.
function foldedNorm(tensors, name) {
  const [weight, bias, mean, variance] = ["weight", "bias", "running_mean", "running_var"].map(
    (part) => tensors[`${name}.${part}`].data,
  );
  const factor = weight.map((value, c) => value / Math.sqrt(variance[c] + 1e-5));
  return [factor, bias.map((value, c) => value - mean[c] * factor[c])];
}
