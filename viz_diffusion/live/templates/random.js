"use strict";
// Standard normal noise by seed: the numbers of torch.randn on a CPU.
//
//   const noise = new NoiseStream(seed, n)        seed 0 .. 2**32-1; n floats a draw, a multiple of 16
//   noise.draw(k) -> Float32Array                 draw k = 0, 1, 2, ...; any order, the same k gives the same array
//
// Draw k is what the (k+1)th torch.randn(C, H, W, generator=g) gives after g.manual_seed(seed), as
// viz_diffusion.diffusion.samplers.ImageNoise draws it: draw 0 is x_T, draw k + 1 the noise that step k adds. They
// agree to the last bit or the one before it (logarithm and sine are not rounded alike everywhere).
//
// MT19937 (Matsumoto & Nishimura 1998) gives 32-bit words, Box & Muller (1958) make normal numbers of them.

class NoiseStream {
  constructor(seed, n) {
    this.seed = seed;
    this.n = n;
    this.draws = [];
    this.state = new Uint32Array(624);
    this.state[0] = seed;
    for (let i = 1; i < 624; i++) {
      const before = this.state[i - 1];
      this.state[i] = Math.imul(1812433253, before ^ (before >>> 30)) + i;
    }
    this.next = 624;
  }

  draw(k) {
    while (this.draws.length <= k) this.draws.push(this.normal());
    return this.draws[k];
  }

  word() {
    if (this.next === 624) this.twist();
    let word = this.state[this.next++];
    word ^= word >>> 11;
    word ^= (word << 7) & 0x9d2c5680;
    word ^= (word << 15) & 0xefc60000;
    return (word ^ (word >>> 18)) >>> 0;
  }

  twist() {
    const { state } = this;
    for (let i = 0; i < 624; i++) {
      const joined = (state[i] & 0x80000000) | (state[(i + 1) % 624] & 0x7fffffff);
      state[i] = state[(i + 397) % 624] ^ (joined >>> 1) ^ (joined & 1 ? 0x9908b0df : 0);
    }
    this.next = 0;
  }

  // n uniform numbers of 24 bits; then of each 16 the first eight become radii, the others angles. Rounded to float32
  // where torch does.
  normal() {
    const { fround, sqrt, log, cos, sin, PI } = Math;
    const out = new Float32Array(this.n);
    for (let i = 0; i < this.n; i++) out[i] = (this.word() & 0xffffff) * 2 ** -24;
    for (let block = 0; block < this.n; block += 16) {
      for (let i = block; i < block + 8; i++) {
        const radius = fround(sqrt(fround(-2 * fround(log(fround(1 - out[i]))))));
        const angle = fround(fround(2 * PI) * out[i + 8]);
        out[i] = radius * cos(angle);
        out[i + 8] = radius * sin(angle);
      }
    }
    return out;
  }
}
