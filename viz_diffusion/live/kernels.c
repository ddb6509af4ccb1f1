/* The layers of the denoiser (viz_diffusion/diffusion/unet.py) and of the classifier, for one image at a time.

   A feature map is stored row by row, pixel by pixel, channel by channel: (H, W, C) float32. Pointers are byte offsets
   in the module's memory, which the caller lays out; nothing is allocated here, and no library is used. Sums run in
   lanes of 4 floats, so `cout` of conv and C of norm are multiples of 4; all other sizes are free, up to
   C <= 1024 in norm and n <= 4096 in attention. An output must not overlap an input.

   templates/kernels.js has the same functions in JavaScript. scripts/build_kernels.py compiles this file. */

typedef float v4 __attribute__((vector_size(16)));
typedef float unaligned_v4 __attribute__((vector_size(16), aligned(4)));
typedef int i4 __attribute__((vector_size(16)));

#define EXPORT(name) __attribute__((export_name(#name), visibility("default"))) name
#define INLINE static inline __attribute__((always_inline))

enum {
  TILE = 7,             /* pixels that conv computes together: their sums stay in registers */
  GROUPS = 8,           /* of group norm */
  MOST_CHANNELS = 1024, /* of norm */
  MOST_POSITIONS = 4096 /* of attention */
};

INLINE v4 load(const float *p) { return *(const unaligned_v4 *)p; }
INLINE void store(float *p, v4 x) { *(unaligned_v4 *)p = x; }
INLINE v4 splat(float x) { return (v4){x, x, x, x}; }
INLINE float total(v4 x) { return (x[0] + x[1]) + (x[2] + x[3]); }

/* e^x to about one unit in the last place for |x| <= 87, and e^±87 beyond.
   x = n ln 2 + r, so e^x = 2^n e^r; e^r by the polynomial of Cephes' expf, 2^n by writing n into the exponent bits. */
INLINE v4 exponential(v4 x) {
  x = __builtin_wasm_min_f32x4(__builtin_wasm_max_f32x4(x, splat(-87.0f)), splat(87.0f));
  v4 shifted = x * 1.44269504088896341f + 12582912.0f; /* adding 1.5 * 2^23 rounds to a whole number */
  v4 n = shifted - 12582912.0f;
  v4 r = x - n * 0.693359375f - n * -2.12194440e-4f; /* ln 2 in two parts, the first exact in few bits */
  v4 p = splat(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  return p * (v4)(((i4)shifted - 0x4B400000 + 127) << 23);
}

INLINE v4 silu_of(v4 x) { return x / (1.0f + exponential(-x)); }

/* out = x / (1 + e^-x); n numbers */
void EXPORT(silu)(float *out, const float *in, int n) {
  int i = 0;
  for (; i + 4 <= n; i += 4) store(out + i, silu_of(load(in + i)));
  for (; i < n; i++) out[i] = silu_of(splat(in[i]))[0];
}

INLINE float dot(const float *a, const float *b, int n) {
  v4 s0 = splat(0), s1 = s0, s2 = s0, s3 = s0;
  int i = 0;
  for (; i + 16 <= n; i += 16) {
    s0 += load(a + i) * load(b + i);
    s1 += load(a + i + 4) * load(b + i + 4);
    s2 += load(a + i + 8) * load(b + i + 8);
    s3 += load(a + i + 12) * load(b + i + 12);
  }
  float rest = 0;
  for (; i < n; i++) rest += a[i] * b[i];
  return total((s0 + s1) + (s2 + s3)) + rest;
}

/* out = weight in + bias; weight (rows, n) */
void EXPORT(linear)(float *out, const float *in, const float *weight, const float *bias, int n, int rows) {
  for (int r = 0; r < rows; r++) out[r] = dot(in, weight + r * n, n) + bias[r];
}

/* 4 channels of `count` neighbouring pixels */
INLINE void conv_tile(const int count, float *out, const float *in, const float *weight, const float *bias,
                      const float *add, int cin, int cout, int kernel, int step, int row) {
  v4 sums[TILE];
  for (int p = 0; p < count; p++) sums[p] = add ? load(bias) + load(add + p * cout) : load(bias);
  for (int y = 0; y < kernel; y++, in += row - kernel * cin) {
    for (int c = 0; c < kernel * cin; c++, in++, weight += 4) {
      v4 w = load(weight);
      for (int p = 0; p < count; p++) sums[p] += in[p * step] * w;
    }
  }
  for (int p = 0; p < count; p++) store(out + p * cout, sums[p]);
}

/* out (H, W, cout) = kernel x kernel convolution of in, plus bias and, where it is not null, add (H, W, cout).
   weight (cout / 4, kernel, kernel, cin, 4); the rows of in are `row` floats long and have their border already. */
void EXPORT(conv)(float *out, const float *in, const float *weight, const float *bias, const float *add, int H, int W,
                  int cin, int cout, int kernel, int stride, int row) {
  int step = stride * cin, size = kernel * kernel * cin;
  for (int y = 0; y < H; y++) {
    for (int next = 0; next < W;) {
      /* the last tile of a row may compute pixels of the one before it again */
      int many = W >= TILE, x = many && next > W - TILE ? W - TILE : next;
      const float *from = in + y * stride * row + x * step;
      for (int c = 0; c < cout; c += 4) {
        int at = (y * W + x) * cout + c;
        const float *added = add ? add + at : 0;
        if (many) conv_tile(TILE, out + at, from, weight + c * size, bias + c, added, cin, cout, kernel, step, row);
        else conv_tile(1, out + at, from, weight + c * size, bias + c, added, cin, cout, kernel, step, row);
      }
      next = x + (many ? TILE : 1);
    }
  }
}

/* out (C) = sums over n pixels: of in (n, C), or where mean is not null of the squared distances from it */
INLINE void channel_sums(float *out, const float *in, const float *mean, int n, int C) {
  for (int c = 0; c < C; c += 4) {
    v4 even = splat(0), odd = even, middle = mean ? load(mean + c) : even;
    for (int i = 0; i < n; i++) {
      v4 x = load(in + i * C + c) - middle;
      if (mean) x = x * x;
      if (i % 2) odd += x; else even += x;
    }
    store(out + c, even + odd);
  }
}

/* out = group norm of in in 8 groups, times weight, plus bias; then, where scale is not null, times (1 + scale), plus
   shift (C each); then, where act is 1, silu. out (H + 2 border, W + 2 border, C) has a border of zeros. */
void EXPORT(norm)(float *out, const float *in, const float *weight, const float *bias, const float *scale,
                  const float *shift, int H, int W, int C, int border, int act) {
  int size = C / GROUPS, n = H * W;
  float mean[MOST_CHANNELS], factor[MOST_CHANNELS], offset[MOST_CHANNELS];
  channel_sums(factor, in, 0, n, C);
  for (int g = 0; g < C; g += size) {
    double sum = 0;
    for (int c = g; c < g + size; c++) sum += factor[c];
    for (int c = g; c < g + size; c++) mean[c] = sum / (n * size);
  }
  channel_sums(factor, in, mean, n, C);
  for (int g = 0; g < C; g += size) {
    double squares = 0;
    for (int c = g; c < g + size; c++) squares += factor[c];
    double inverse = 1 / __builtin_sqrt(squares / (n * size) + 1e-5);
    /* all of it is one factor and one offset a channel */
    for (int c = g; c < g + size; c++) {
      double f = weight[c] * inverse, o = bias[c] - mean[c] * f;
      factor[c] = scale ? f * (1 + scale[c]) : f;
      offset[c] = scale ? o * (1 + scale[c]) + shift[c] : o;
    }
  }
  int row = (W + 2 * border) * C;
  if (border)
    for (int i = 0; i < row * (H + 2 * border); i += 4) store(out + i, splat(0));
  out += border * (row + C);
  for (int y = 0; y < H; y++, out += row) {
    for (int i = 0; i < W * C; i += C) {
      for (int c = 0; c < C; c += 4, in += 4) {
        v4 h = load(in) * load(factor + c) + load(offset + c);
        store(out + i + c, act ? silu_of(h) : h);
      }
    }
  }
}

/* out (n, heads, d) = softmax(q k / sqrt(d)) v for every head; qkv (n, 3, heads, d) */
void EXPORT(attention)(float *out, const float *qkv, int n, int heads, int d) {
  float share[MOST_POSITIONS];
  int C = heads * d;
  float scale = 1 / __builtin_sqrtf(d);
  for (int h = 0; h < heads; h++) {
    const float *k = qkv + C + h * d, *v = qkv + 2 * C + h * d;
    for (int i = 0; i < n; i++) {
      const float *q = qkv + i * 3 * C + h * d;
      float *o = out + i * C + h * d;
      float most = -1e30f, sum = 0;
      for (int j = 0; j < n; j++) {
        share[j] = dot(q, k + j * 3 * C, d) * scale;
        if (share[j] > most) most = share[j];
      }
      int j = 0;
      v4 sums = splat(0);
      for (; j + 4 <= n; j += 4) {
        v4 e = exponential(load(share + j) - most);
        store(share + j, e);
        sums += e;
      }
      for (; j < n; j++) sum += share[j] = exponential(splat(share[j] - most))[0];
      float inverse = 1 / (sum + total(sums));
      int c = 0;
      for (; c + 4 <= d; c += 4) {
        v4 s = splat(0);
        for (int j = 0; j < n; j++) s += share[j] * load(v + j * 3 * C + c);
        store(o + c, s * inverse);
      }
      for (; c < d; c++) {
        float s = 0;
        for (int j = 0; j < n; j++) s += share[j] * v[j * 3 * C + c];
        o[c] = s * inverse;
      }
    }
  }
}

/* out (H + 2 border, W + 2 border, C) = in with a border of zeros; where act is 1, negative numbers become 0 */
void EXPORT(pad)(float *out, const float *in, int H, int W, int C, int border, int act) {
  int row = (W + 2 * border) * C;
  for (int i = 0; i < row * (H + 2 * border); i++) out[i] = 0;
  out += border * (row + C);
  for (int y = 0; y < H; y++, out += row)
    for (int i = 0; i < W * C; i++, in++) out[i] = act && *in < 0 ? 0 : *in;
}

/* out (n, ca + cb) = channels of a (n, ca), then those of b (n, cb) */
void EXPORT(concatenate)(float *out, const float *a, const float *b, int n, int ca, int cb) {
  for (int i = 0; i < n; i++) {
    for (int c = 0; c < ca; c++) *out++ = *a++;
    for (int c = 0; c < cb; c++) *out++ = *b++;
  }
}

/* out (2 H, 2 W, C) = in (H, W, 2, 2, C), its four neighbours side by side */
void EXPORT(unfold)(float *out, const float *in, int H, int W, int C) {
  for (int y = 0; y < H; y++)
    for (int x = 0; x < W; x++)
      for (int q = 0; q < 4; q++) {
        float *to = out + ((2 * y + q / 2) * 2 * W + 2 * x + q % 2) * C;
        for (int c = 0; c < C; c++) to[c] = *in++;
      }
}

/* out (C) = the largest of n positions; in (n, C) */
void EXPORT(maximum)(float *out, const float *in, int n, int C) {
  for (int c = 0; c < C; c++) out[c] = in[c];
  for (int i = 1; i < n; i++)
    for (int c = 0; c < C; c++)
      if (in[i * C + c] > out[c]) out[c] = in[i * C + c];
}
