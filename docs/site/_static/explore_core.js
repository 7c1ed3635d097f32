/* The numbers of the explorable: one small VAE, exact in two latents. All in nats.
 *
 * log p(x) is a sum over a square of latents, the ELBO an integral over q by the trapezoidal rule,
 * the KL a closed form. Everything is checked against the Python package by a test.
 */
"use strict";

const ExploreCore = (() => {
  const PIXELS = 64;
  const LOG_2PI = Math.log(2 * Math.PI);
  const UNIT_SOFTPLUS = Math.log(Math.E - 1);

  const softplus = (t) => Math.max(t, 0) + Math.log1p(Math.exp(-Math.abs(t)));

  /** log of the mean of exponentials. */
  function logMeanExp(values) {
    return logSumExp(values) - Math.log(values.length);
  }

  function logSumExp(values) {
    let top = -Infinity;
    for (const v of values) top = Math.max(top, v);
    let sum = 0;
    for (const v of values) sum += Math.exp(v - top);
    return top + Math.log(sum);
  }

  /** Numbers from a seed (mulberry32), uniform in (0, 1). */
  function generator(seed) {
    let a = seed >>> 0;
    return () => {
      a = (a + 0x6d2b79f5) >>> 0;
      let t = a;
      t = Math.imul(t ^ (t >>> 15), t | 1);
      t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
      return (((t ^ (t >>> 14)) >>> 0) + 0.5) / 4294967296;
    };
  }

  /** `count` draws of N(0, 1), by Box and Muller. */
  function normals(count, seed) {
    const uniform = generator(seed);
    const out = new Float64Array(count);
    for (let i = 0; i < count; i += 2) {
      const r = Math.sqrt(-2 * Math.log(uniform()));
      const angle = 2 * Math.PI * uniform();
      out[i] = r * Math.cos(angle);
      if (i + 1 < count) out[i + 1] = r * Math.sin(angle);
    }
    return out;
  }

  /** A network with one hidden layer of tanh: {w1 [in, h], b1 [h], w2 [h, out], b2 [out]}. */
  function network(arrays) {
    const [w1, b1, w2, b2] = arrays.map((a) => Float64Array.from(a));
    return { w1, b1, w2, b2 };
  }

  /** Weights as before any training (Glorot's uniform), zero biases. */
  function untrained(inputs, hidden, outputs, seed) {
    const uniform = generator(seed);
    const fill = (rows, columns) => {
      const limit = Math.sqrt(6 / (rows + columns));
      return Float64Array.from({ length: rows * columns }, () => limit * (2 * uniform() - 1));
    };
    return {
      w1: fill(inputs, hidden), b1: new Float64Array(hidden),
      w2: fill(hidden, outputs), b2: new Float64Array(outputs),
    };
  }

  /** Its output, into `out`; the hidden layer into `h`. */
  function run(net, input, h, out) {
    const hidden = net.b1.length;
    const outputs = net.b2.length;
    h.set(net.b1);
    for (let i = 0; i < input.length; i++) {
      const v = input[i];
      if (v !== 0) for (let j = 0, k = i * hidden; j < hidden; j++, k++) h[j] += v * net.w1[k];
    }
    for (let j = 0; j < hidden; j++) h[j] = Math.tanh(h[j]);
    out.set(net.b2);
    for (let j = 0; j < hidden; j++) {
      const v = h[j];
      for (let o = 0, k = j * outputs; o < outputs; o++, k++) out[o] += v * net.w2[k];
    }
    return out;
  }

  class Model {
    constructor(stored) {
      this.minScale = stored.minScale;
      this.encoder = network(stored.encoder);
      this.decoder = network(stored.decoder);
      this.hidden = stored.hidden;
      this._h = new Float64Array(this.hidden);
      this._logits = new Float64Array(PIXELS);
      this._params = new Float64Array(4);
    }

    /** New weights, as before any training. */
    restart(seed = 1) {
      this.encoder = untrained(PIXELS, this.hidden, 4, seed);
      this.decoder = untrained(2, this.hidden, PIXELS, seed + 1);
      this.adam = null;
      this.lattice = null;
    }

    /** The mean of p(x|z): 64 numbers between 0 and 1. */
    decode(z) {
      const logits = run(this.decoder, z, this._h, this._logits);
      return Array.from(logits, (l) => 1 / (1 + Math.exp(-l)));
    }

    /** log p(x|z). */
    logLikelihood(x, z) {
      const logits = run(this.decoder, z, this._h, this._logits);
      let sum = 0;
      for (let d = 0; d < PIXELS; d++) sum += x[d] * logits[d] - softplus(logits[d]);
      return sum;
    }

    /** q(z|x) as the encoder gives it: mean, scales, and an angle of zero. */
    encode(x) {
      const p = run(this.encoder, x, this._h, this._params);
      const scale = (raw) => this.minScale + softplus(raw + UNIT_SOFTPLUS);
      return { mean: [p[0], p[1]], scale: [scale(p[2]), scale(p[3])], angle: 0 };
    }

    /** What does not depend on x, once for all nodes of the square. */
    _nodes() {
      if (this.lattice) return this.lattice;
      const reach = 5, step = 0.1, count = Math.round((2 * reach) / step) + 1;
      const axis = Float64Array.from({ length: count }, (_, i) => -reach + i * step);
      const logits = new Float32Array(count * count * PIXELS);
      const base = new Float64Array(count * count);
      const z = new Float64Array(2);
      for (let n = 0; n < base.length; n++) {
        z[0] = axis[n % count];
        z[1] = axis[Math.floor(n / count)];
        const l = run(this.decoder, z, this._h, this._logits);
        logits.set(l, n * PIXELS);
        let sum = 2 * Math.log(step) - LOG_2PI - 0.5 * (z[0] * z[0] + z[1] * z[1]);
        for (let d = 0; d < PIXELS; d++) sum -= softplus(l[d]);
        base[n] = sum;
      }
      this.lattice = { axis, step, count, logits, base };
      return this.lattice;
    }

    /** {logEvidence, posterior: density at each node, axis, step, count}. */
    evidence(x) {
      const { axis, step, count, logits, base } = this._nodes();
      const on = [];
      for (let d = 0; d < PIXELS; d++) if (x[d]) on.push(d);
      const joint = new Float64Array(base.length);
      for (let n = 0; n < base.length; n++) {
        let sum = base[n];
        const first = n * PIXELS;
        for (const d of on) sum += logits[first + d];
        joint[n] = sum;
      }
      const logEvidence = logSumExp(joint);
      const area = 2 * Math.log(step);
      const posterior = joint.map((v) => Math.exp(v - logEvidence - area));
      return { logEvidence, posterior, axis, step, count };
    }

    /** KL(q || N(0, I)); a rotation does not change it. */
    kl(q) {
      const [a, b] = q.scale;
      const [m, n] = q.mean;
      return 0.5 * (a * a + b * b + m * m + n * n) - 1 - Math.log(a) - Math.log(b);
    }

    /** {reconstruction, kl, elbo}: the expectation by the trapezoidal rule in both directions. */
    elbo(x, q) {
      let sum = 0, total = 0;
      for (const [e, f, weight] of RULE) {
        sum += weight * this.logLikelihood(x, place(q, e, f));
        total += weight;
      }
      const reconstruction = sum / total;
      const kl = this.kl(q);
      return { reconstruction, kl, elbo: reconstruction - kl };
    }

    /** The K-sample bound: a mean over repetitions, with its standard error. */
    iwae(x, q, samples, draws = 1536, seed = 7) {
      const repeats = Math.floor(draws / samples);
      const noise = normals(2 * samples * repeats, seed);
      const logScale = Math.log(q.scale[0]) + Math.log(q.scale[1]);
      const logWeights = new Float64Array(samples);
      let sum = 0, squares = 0;
      for (let r = 0, i = 0; r < repeats; r++) {
        for (let k = 0; k < samples; k++, i += 2) {
          const z = place(q, noise[i], noise[i + 1]);
          const prior = -0.5 * (z[0] * z[0] + z[1] * z[1]);
          const logQ = -0.5 * (noise[i] ** 2 + noise[i + 1] ** 2) - logScale;
          logWeights[k] = this.logLikelihood(x, z) + prior - logQ;
        }
        const one = logMeanExp(logWeights);
        sum += one;
        squares += one * one;
      }
      const estimate = sum / repeats;
      const variance = Math.max(squares / repeats - estimate * estimate, 0);
      return { estimate, standardError: Math.sqrt(variance / Math.max(repeats - 1, 1)) };
    }

    /** q after one step uphill in the ELBO (central differences, Adam's step lengths). */
    improve(x, q, memory) {
      const point = toPoint(q);
      const step = 1e-4;
      memory.t = (memory.t || 0) + 1;
      memory.m = memory.m || new Float64Array(5);
      memory.v = memory.v || new Float64Array(5);
      const rate = 0.05 / Math.sqrt(1 + memory.t / 40);
      const moved = point.map((value, i) => {
        const at = (shift) => this.elbo(x, toQ(point.map((p, j) => (i === j ? p + shift : p)))).elbo;
        const slope = (at(step) - at(-step)) / (2 * step);
        memory.m[i] = 0.9 * memory.m[i] + 0.1 * slope;
        memory.v[i] = 0.99 * memory.v[i] + 0.01 * slope * slope;
        const m = memory.m[i] / (1 - 0.9 ** memory.t);
        const v = memory.v[i] / (1 - 0.99 ** memory.t);
        return value + (rate * m) / (Math.sqrt(v) + 1e-8);
      });
      return toQ(moved);
    }

    /** Some steps of Adam on minus the ELBO of one draw; returns the mean ELBO of the batches. */
    train(data, steps, batch = 50, rate = 3e-3) {
      this.adam = this.adam || { t: 0, uniform: generator(3), moments: new Map() };
      let sum = 0;
      for (let s = 0; s < steps; s++) sum += this._step(data, batch, rate);
      this.lattice = null;
      return sum / steps;
    }

    _step(data, batch, rate) {
      const { adam, encoder, decoder, hidden } = this;
      const zeros = (net) => Object.fromEntries(
        Object.entries(net).map(([name, w]) => [name, new Float64Array(w.length)]));
      const toEncoder = zeros(encoder), toDecoder = zeros(decoder);
      const h1 = new Float64Array(hidden), h2 = new Float64Array(hidden);
      const params = new Float64Array(4), logits = new Float64Array(PIXELS);
      const noise = normals(2 * batch, Math.floor(adam.uniform() * 2 ** 31));
      let total = 0;
      for (let b = 0; b < batch; b++) {
        const x = data[Math.floor(adam.uniform() * data.length)];
        run(encoder, x, h1, params);
        const z = [0, 0], scale = [0, 0];
        for (let i = 0; i < 2; i++) {
          scale[i] = this.minScale + softplus(params[2 + i] + UNIT_SOFTPLUS);
          z[i] = params[i] + scale[i] * noise[2 * b + i];
        }
        run(decoder, z, h2, logits);
        // Gradients of minus the ELBO; the KL in closed form.
        const dLogits = new Float64Array(PIXELS);
        for (let d = 0; d < PIXELS; d++) {
          total += x[d] * logits[d] - softplus(logits[d]);
          dLogits[d] = 1 / (1 + Math.exp(-logits[d])) - x[d];
        }
        total -= this.kl({ mean: [params[0], params[1]], scale });
        const dz = backward(decoder, toDecoder, z, h2, dLogits);
        const dParams = new Float64Array(4);
        for (let i = 0; i < 2; i++) {
          dParams[i] = dz[i] + params[i];
          const dScale = dz[i] * noise[2 * b + i] + scale[i] - 1 / scale[i];
          dParams[2 + i] = dScale / (1 + Math.exp(-(params[2 + i] + UNIT_SOFTPLUS)));
        }
        backward(encoder, toEncoder, x, h1, dParams);
      }
      adam.t += 1;
      for (const [net, gradient] of [[encoder, toEncoder], [decoder, toDecoder]]) {
        for (const name of Object.keys(net)) this._move(net[name], gradient[name], batch, rate);
      }
      return total / batch;
    }

    _move(weights, gradient, batch, rate) {
      const { adam } = this;
      if (!adam.moments.has(weights)) {
        adam.moments.set(weights, [new Float64Array(weights.length), new Float64Array(weights.length)]);
      }
      const [m, v] = adam.moments.get(weights);
      const size = (rate * Math.sqrt(1 - 0.999 ** adam.t)) / (1 - 0.9 ** adam.t);
      for (let i = 0; i < weights.length; i++) {
        const g = gradient[i] / batch;
        m[i] += 0.1 * (g - m[i]);
        v[i] += 0.001 * (g * g - v[i]);
        weights[i] -= (size * m[i]) / (Math.sqrt(v[i]) + 1e-7);
      }
    }
  }

  /** Adds the gradients of one example to `sums`; returns that of the input. */
  function backward(net, sums, input, h, dOut) {
    const hidden = h.length, outputs = dOut.length;
    const dInput = new Float64Array(input.length);
    const dHidden = new Float64Array(hidden);
    for (let o = 0; o < outputs; o++) sums.b2[o] += dOut[o];
    for (let j = 0; j < hidden; j++) {
      let sum = 0;
      for (let o = 0, k = j * outputs; o < outputs; o++, k++) {
        sums.w2[k] += h[j] * dOut[o];
        sum += net.w2[k] * dOut[o];
      }
      dHidden[j] = sum * (1 - h[j] * h[j]);
      sums.b1[j] += dHidden[j];
    }
    for (let i = 0; i < input.length; i++) {
      let sum = 0;
      for (let j = 0, k = i * hidden; j < hidden; j++, k++) {
        sums.w1[k] += input[i] * dHidden[j];
        sum += net.w1[k] * dHidden[j];
      }
      dInput[i] = sum;
    }
    return dInput;
  }

  /** The point of q at standardised coordinates (e, f). */
  function place(q, e, f) {
    const c = Math.cos(q.angle), s = Math.sin(q.angle);
    const a = q.scale[0] * e, b = q.scale[1] * f;
    return [q.mean[0] + c * a - s * b, q.mean[1] + s * a + c * b];
  }

  const toPoint = (q) => [...q.mean, Math.log(q.scale[0]), Math.log(q.scale[1]), q.angle];
  const toQ = ([m, n, a, b, angle]) => ({ mean: [m, n], scale: [Math.exp(a), Math.exp(b)], angle });

  /** Nodes and weights over a standard Normal in two dimensions, those that matter. */
  const RULE = (() => {
    const nodes = [];
    for (let e = -6; e <= 6; e += 0.5) {
      for (let f = -6; f <= 6; f += 0.5) {
        const weight = Math.exp(-0.5 * (e * e + f * f));
        if (weight > 1e-7) nodes.push([e, f, weight]);
      }
    }
    return nodes;
  })();

  /** The densities above which the posterior has these shares of its mass. */
  function levels(posterior, step, shares) {
    const sorted = Float64Array.from(posterior).sort().reverse();
    const found = [];
    let mass = 0, next = 0;
    for (let n = 0; n < sorted.length && next < shares.length; n++) {
      mass += sorted[n] * step * step;
      while (next < shares.length && mass >= shares[next]) {
        found.push(sorted[n]);
        next += 1;
      }
    }
    return found;
  }

  /** Line segments [[x1, y1, x2, y2], ...] of a contour, by marching squares. */
  function contour({ posterior, axis, count }, level) {
    const segments = [];
    const cross = (i, j, di, dj) => {
      const a = posterior[j * count + i], b = posterior[(j + dj) * count + i + di];
      const t = (level - a) / (b - a);
      return [axis[i] + t * di * (axis[1] - axis[0]), axis[j] + t * dj * (axis[1] - axis[0])];
    };
    for (let j = 0; j + 1 < count; j++) {
      for (let i = 0; i + 1 < count; i++) {
        const at = (di, dj) => posterior[(j + dj) * count + i + di] > level;
        const corners = [at(0, 0), at(1, 0), at(1, 1), at(0, 1)];
        if (corners.every(Boolean) || !corners.some(Boolean)) continue;
        const points = [];
        if (corners[0] !== corners[1]) points.push(cross(i, j, 1, 0));
        if (corners[1] !== corners[2]) points.push(cross(i + 1, j, 0, 1));
        if (corners[3] !== corners[2]) points.push(cross(i, j + 1, 1, 0));
        if (corners[0] !== corners[3]) points.push(cross(i, j, 0, 1));
        for (let p = 0; p + 1 < points.length; p += 2) segments.push([...points[p], ...points[p + 1]]);
      }
    }
    return segments;
  }

  const image = (text) => Array.from(text, Number);

  return { Model, contour, image, levels, logSumExp, normals, place };
})();

if (typeof module !== "undefined") module.exports = ExploreCore;
