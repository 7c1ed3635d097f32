/* The page around explore_core.js: draws with SVG, listens to pointer and keyboard. */
"use strict";

(() => {
  const root = document.getElementById("explore");
  if (!root) return;
  const core = ExploreCore;
  const model = new core.Model(EXPLORE_MODEL);
  const heldOut = EXPLORE_MODEL.heldOut.map(core.image);
  const training = EXPLORE_MODEL.training.map(core.image);
  const state = { x: heldOut[0].slice(), chosen: 0, q: null, samples: 10, running: null, look: null };
  state.q = model.encode(state.x);

  // -- small helpers ---------------------------------------------------------------------------

  const SVG = "http://www.w3.org/2000/svg";

  function svg(name, attributes = {}, parent = null, text = "") {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text) made.textContent = text;
    if (parent) parent.append(made);
    return made;
  }

  function html(name, attributes = {}, parent = null, text = "") {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text) made.textContent = text;
    if (parent) parent.append(made);
    return made;
  }

  const nats = (value) => value.toFixed(2).replace("-", "\u2212");

  // -- the plane of latents --------------------------------------------------------------------

  const SIZE = 400, REACH = 3.6;
  const toX = (z) => ((z + REACH) / (2 * REACH)) * SIZE;
  const toY = (z) => SIZE - toX(z);
  const fromPointer = (event) => {
    const box = plane.getBoundingClientRect();
    const at = (fraction) => (2 * fraction - 1) * REACH;
    return [at((event.clientX - box.left) / box.width), -at((event.clientY - box.top) / box.height)];
  };

  const planeBox = html("div", { class: "plane-box" }, root);
  const plane = svg("svg", {
    class: "plane", viewBox: `0 0 ${SIZE} ${SIZE + 16}`, role: "group", tabindex: "0",
    "aria-label": "Plane of the two latents. Arrow keys move the mean of q; hold shift for small steps.",
  }, planeBox);
  svg("rect", { width: SIZE, height: SIZE, fill: "none", stroke: "var(--color-background-border, #ccc)" }, plane);
  for (const radius of [1, 2, 3]) {
    svg("circle", {
      cx: toX(0), cy: toY(0), r: (radius * SIZE) / (2 * REACH), fill: "none", stroke: "#767676",
      "stroke-dasharray": "1 4", "stroke-width": 1,
    }, plane);
  }
  svg("text", { x: toX(0) + 4, y: toY(1) - 4, class: "note" }, plane, "prior");
  const posteriorLines = svg("g", { fill: "none", stroke: "var(--log-p)", "stroke-linecap": "round" }, plane);
  const ellipses = [1, 2].map(() => svg("ellipse", {
    fill: "#0072b2", "fill-opacity": 0.1, stroke: "var(--elbo)", "stroke-width": 2, "stroke-dasharray": "6 4",
  }, plane));
  const handles = ["mean of q", "first axis of q", "second axis of q"].map((name, i) => svg("circle", {
    class: "handle", r: i ? 6 : 8, "data-part": i, "aria-hidden": "true",
  }, plane));
  svg("text", { x: SIZE - 6, y: SIZE + 13, "text-anchor": "end" }, plane, "z\u2081");
  svg("text", { x: 4, y: 14 }, plane, "z\u2082");
  html("p", { class: "caption" }, planeBox,
    "Solid: the posterior p(z|x), half, 90 and 99 % of its mass. Dashed: q, one and two scales. Dotted: the prior. " +
    "Drag a dot: the large one is the mean, the small ones are the scales and the angle.");

  function drawPlane(truth) {
    posteriorLines.replaceChildren();
    const densities = core.levels(truth.posterior, truth.step, [0.5, 0.9, 0.99]);
    densities.forEach((level, i) => {
      const path = core.contour(truth, level)
        .map(([a, b, c, d]) => `M${toX(a).toFixed(1)} ${toY(b).toFixed(1)}L${toX(c).toFixed(1)} ${toY(d).toFixed(1)}`)
        .join("");
      svg("path", { d: path, "stroke-width": [2.4, 1.6, 0.9][i] }, posteriorLines);
    });
    const { mean, scale, angle } = state.q;
    const degrees = (-angle * 180) / Math.PI;
    ellipses.forEach((one, i) => {
      const of = (s) => ((i + 1) * s * SIZE) / (2 * REACH);
      one.setAttribute("rx", of(scale[0]));
      one.setAttribute("ry", of(scale[1]));
      one.setAttribute("transform", `translate(${toX(mean[0])} ${toY(mean[1])}) rotate(${degrees})`);
    });
    const ends = [mean, core.place(state.q, 1, 0), core.place(state.q, 0, 1)];
    handles.forEach((handle, i) => {
      handle.setAttribute("cx", toX(ends[i][0]));
      handle.setAttribute("cy", toY(ends[i][1]));
    });
  }

  let dragged = null;
  plane.addEventListener("pointerdown", (event) => {
    const part = event.target.dataset.part;
    dragged = part === undefined ? 0 : Number(part);
    plane.setPointerCapture(event.pointerId);
    drag(event);
  });
  plane.addEventListener("pointermove", (event) => {
    if (dragged === null) return;
    drag(event);
  });
  for (const name of ["pointerup", "pointercancel"]) plane.addEventListener(name, () => { dragged = null; });

  function drag(event) {
    stop();
    const [a, b] = fromPointer(event);
    const { q } = state;
    if (dragged === 0) {
      q.mean = [clamp(a, -REACH, REACH), clamp(b, -REACH, REACH)];
    } else {
      const across = [a - q.mean[0], b - q.mean[1]];
      q.scale[dragged - 1] = clamp(Math.hypot(...across), 0.02, 3);
      q.angle = Math.atan2(across[1], across[0]) - (dragged === 2 ? Math.PI / 2 : 0);
    }
    soon();
  }

  plane.addEventListener("keydown", (event) => {
    const step = event.shiftKey ? 0.02 : 0.1;
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
    const move = moves[event.key];
    if (!move) return;
    event.preventDefault();
    stop();
    state.q.mean = state.q.mean.map((m, i) => clamp(m + move[i], -REACH, REACH));
    soon();
  });

  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  // -- the waterfall ---------------------------------------------------------------------------

  const right = html("div", {}, root);
  const WIDTH = 560, HEIGHT = 306, BAR = 68, AXIS = 266;
  const bars = svg("svg", { class: "bars", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" }, right);
  const numbers = html("p", { class: "caption", "aria-live": "polite", id: "explore-numbers" }, right);

  function drawBars(truth, terms, bound) {
    bars.replaceChildren();
    const logP = truth.logEvidence;
    const values = [terms.reconstruction, terms.elbo, logP, bound.estimate];
    const low = Math.max(Math.min(...values), logP - 25);
    const top = Math.max(...values), bottom = low - 0.08 * (top - low) - 0.2;
    const y = (v) => 22 + ((top - clamp(v, bottom, top)) / (top - bottom)) * (AXIS - 44);
    const column = (i) => 8 + i * 94.5;
    const middle = { "text-anchor": "middle" };
    const label = (i, lines) => lines.forEach((line, n) =>
      svg("text", { x: column(i) + BAR / 2, y: AXIS + 16 + 19 * n, ...middle }, bars, line));
    const level = (i, v, colour, ...name) => {
      svg("rect", { x: column(i), y: y(v) - 2, width: BAR, height: 4, fill: colour }, bars);
      svg("text", { x: column(i) + BAR / 2, y: y(v) - 7, ...middle }, bars, nats(v));
      label(i, name);
    };
    const step = (i, from, to, colour, name, value) => {
      const [a, b] = [y(from), y(to)].sort((m, n) => m - n);
      svg("rect", { x: column(i), y: a, width: BAR, height: Math.max(b - a, 1), fill: colour, opacity: 0.85 }, bars);
      svg("text", { x: column(i) + BAR / 2, y: b + 17 > AXIS - 4 ? a - 7 : b + 17, ...middle }, bars, value);
      label(i, [name]);
    };
    const dotted = (i, j, v, colour) => svg("line", {
      x1: column(i), x2: column(j) + BAR, y1: y(v), y2: y(v), stroke: colour, "stroke-dasharray": "2 3",
    }, bars);
    dotted(2, 5, logP, "var(--log-p)");
    dotted(1, 3, terms.elbo, "var(--elbo)");
    level(0, terms.reconstruction, "var(--reconstruction)", "reconstr.");
    step(1, terms.reconstruction, terms.elbo, "var(--kl)", "\u2212 KL", nats(-terms.kl));
    level(2, terms.elbo, "var(--elbo)", "ELBO");
    step(3, terms.elbo, logP, "var(--gap)", "+ gap", `+${nats(logP - terms.elbo)}`);
    level(4, logP, "var(--log-p)", "log p(x)");
    svg("rect", { x: column(5), y: y(bound.estimate) - 2, width: BAR, height: 4, fill: "var(--iwae)" }, bars);
    svg("text", { x: column(5) + BAR / 2, y: y(bound.estimate) + 19, ...middle }, bars, nats(bound.estimate));
    label(5, ["bound,", `K = ${state.samples}`]);
    const error = bound.standardError < 0.005 ? "" : ` \u00b1 ${nats(bound.standardError)}`;
    const text = `log p(x) ${nats(logP)}, ELBO ${nats(terms.elbo)}, gap ${nats(logP - terms.elbo)}, ` +
      `${state.samples}\u2011sample bound ${nats(bound.estimate)}${error}, all in nats.`;
    numbers.textContent = text;
    bars.setAttribute("aria-label", `Waterfall: reconstruction ${nats(terms.reconstruction)}, KL ${nats(terms.kl)}. ${text}`);
  }

  // -- the digit, and what the decoder makes of the mean ---------------------------------------

  const controls = html("div", { class: "controls" }, right);
  const images = html("div", { class: "images" }, root);
  const below = html("div", { class: "pair" }, images);
  const pixelsBox = html("div", {}, below);
  const pixels = svg("svg", { viewBox: "0 0 8 8", role: "group", "aria-label": "x, the digit: click a pixel to change it" }, pixelsBox);
  html("p", { class: "caption" }, pixelsBox, "x: click pixels to draw");
  const meanBox = html("div", {}, below);
  const decoded = svg("svg", { viewBox: "0 0 8 8", role: "img", "aria-label": "The decoder's mean at the mean of q" }, meanBox);
  html("p", { class: "caption" }, meanBox, "mean of p(x|z) at the mean of q");
  const rects = Array.from({ length: 64 }, (_, d) => {
    const place = { x: d % 8, y: Math.floor(d / 8), width: 1, height: 1 };
    svg("rect", { ...place, fill: "#000" }, decoded);
    const one = svg("rect", {
      ...place, class: "pixel", tabindex: d ? "-1" : "0", role: "checkbox",
      "aria-label": `pixel, row ${place.y + 1}, column ${place.x + 1}`,
    }, pixels);
    one.addEventListener("click", () => flip(d));
    one.addEventListener("keydown", (event) => {
      const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -8, ArrowDown: 8 };
      if (event.key === " " || event.key === "Enter") flip(d);
      else if (event.key in steps && rects[d + steps[event.key]]) {
        one.setAttribute("tabindex", "-1");
        rects[d + steps[event.key]].setAttribute("tabindex", "0");
        rects[d + steps[event.key]].focus();
      } else return;
      event.preventDefault();
    });
    return one;
  });

  function flip(d) {
    state.x[d] = 1 - state.x[d];
    choose(state.x, -1);
  }

  function drawImages() {
    const mean = model.decode(state.q.mean);
    rects.forEach((rect, d) => {
      rect.setAttribute("fill", state.x[d] ? "#111" : "#f6f6f6");
      rect.setAttribute("aria-checked", String(Boolean(state.x[d])));
      const grey = Math.round(246 - 229 * mean[d]);
      decoded.children[d].setAttribute("fill", `rgb(${grey},${grey},${grey})`);
    });
  }

  // -- controls --------------------------------------------------------------------------------

  /** Controls that belong together, under a name. */
  function group(name) {
    const made = html("fieldset", {}, controls);
    html("legend", {}, made, name);
    return made;
  }

  const ofQ = group("q");
  const sliders = [
    ["mean, z\u2081", -3, 3, (q) => q.mean[0], (q, v) => { q.mean = [v, q.mean[1]]; }],
    ["mean, z\u2082", -3, 3, (q) => q.mean[1], (q, v) => { q.mean = [q.mean[0], v]; }],
    ["first scale", -3.5, 1, (q) => Math.log(q.scale[0]), (q, v) => { q.scale[0] = Math.exp(v); }],
    ["second scale", -3.5, 1, (q) => Math.log(q.scale[1]), (q, v) => { q.scale[1] = Math.exp(v); }],
    ["angle", -90, 90, (q) => turned(q.angle), (q, v) => { q.angle = (v * Math.PI) / 180; }],
  ].map(([name, low, high, read, write]) => {
    const label = html("label", {}, ofQ, name);
    const input = html("input", { type: "range", min: low, max: high, step: (high - low) / 400, "aria-label": `${name}, of q` }, label);
    const output = html("output", {}, label);
    input.addEventListener("input", () => { stop(); write(state.q, Number(input.value)); soon(); });
    return { input, output, read, name };
  });
  const ofBound = group("The bound");
  const samplesLabel = html("label", {}, ofBound, "samples, K");
  const samplesInput = html("input", { type: "range", min: 0, max: 8, step: 1, value: 3, "aria-label": "samples K" }, samplesLabel);
  const samplesOutput = html("output", {}, samplesLabel);
  const COUNTS = [1, 2, 5, 10, 20, 50, 100, 200, 500];
  samplesInput.addEventListener("input", () => { state.samples = COUNTS[samplesInput.value]; soon(); });

  /** An ellipse turned by half a circle is itself. */
  const turned = (angle) => {
    const degrees = (((angle * 180) / Math.PI) % 180 + 180) % 180;
    return degrees > 90 ? degrees - 180 : degrees;
  };

  function drawSliders() {
    for (const { input, output, read, name } of sliders) {
      const value = read(state.q);
      input.value = value;
      const shown = name.includes("scale") ? Math.exp(value).toFixed(2) : name === "angle" ? `${value.toFixed(0)}\u00b0` : value.toFixed(2);
      output.textContent = shown.replace("-", "\u2212");
    }
    samplesOutput.textContent = state.samples;
  }

  const ofModel = group("The model");
  const button = (where, name, action) => {
    const made = html("button", { class: "action", type: "button", "aria-pressed": "false" }, where, name);
    made.addEventListener("click", action);
    return made;
  };
  button(ofQ, "q of the encoder", () => { stop(); state.q = model.encode(state.x); soon(); });
  const optimise = button(ofQ, "Optimise q", () => toggle(optimise, improver()));
  const trainOn = button(ofModel, "Train on", () => toggle(trainOn, () => {
    model.train(training, 10);
    state.q = model.encode(state.x);
    return true;
  }));
  button(ofModel, "Start over", () => { stop(); model.restart(); state.q = model.encode(state.x); soon(); });
  button(ofModel, "Trained model", () => {
    stop();
    Object.assign(model, new core.Model(EXPLORE_MODEL), { lattice: null, adam: null });
    state.q = model.encode(state.x);
    soon();
  });

  /** A step that improves q, and ends when the ELBO rises no more. */
  function improver() {
    const memory = {};
    let last = -Infinity, still = 0;
    return () => {
      state.q = model.improve(state.x, state.q, memory);
      const now = model.elbo(state.x, state.q).elbo;
      still = now - last < 2e-4 ? still + 1 : 0;
      last = Math.max(now, last);
      return still < 15;
    };
  }

  function toggle(which, step) {
    const again = state.running && state.running.which === which;
    stop();
    if (again) return;
    state.running = { which };
    which.setAttribute("aria-pressed", "true");
    const mine = state.running;
    const frame = () => {
      if (state.running !== mine) return;
      const goesOn = step();
      draw();
      if (goesOn) requestAnimationFrame(frame);
      else stop();
    };
    requestAnimationFrame(frame);
  }

  function stop() {
    if (state.running) state.running.which.setAttribute("aria-pressed", "false");
    state.running = null;
  }

  // -- held-out digits -------------------------------------------------------------------------

  const strip = html("div");
  images.prepend(strip);
  html("p", { class: "caption" }, strip, "Choose one of 20 held-out digits:");
  const row = html("div", { class: "digits" }, strip);
  const choices = heldOut.map((x, i) => {
    const made = html("button", { type: "button", "aria-pressed": "false", "aria-label": `held-out digit ${EXPLORE_MODEL.labels[i]}, number ${i + 1}` }, row);
    const small = svg("svg", { viewBox: "0 0 8 8" }, made);
    svg("rect", { width: 8, height: 8, fill: "#f6f6f6" }, small);
    x.forEach((on, d) => on && svg("rect", { x: d % 8, y: Math.floor(d / 8), width: 1.02, height: 1.02, fill: "#111" }, small));
    made.addEventListener("click", () => choose(x.slice(), i));
    return made;
  });

  function choose(x, i) {
    stop();
    Object.assign(state, { x, chosen: i, q: model.encode(x) });
    soon();
  }

  // -- drawing ---------------------------------------------------------------------------------

  let waiting = false;
  function soon() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; draw(); });
  }

  function draw() {
    const began = performance.now();
    const truth = model.evidence(state.x);
    const terms = model.elbo(state.x, state.q);
    const bound = model.iwae(state.x, state.q, state.samples);
    drawPlane(truth);
    drawBars(truth, terms, bound);
    drawImages();
    drawSliders();
    choices.forEach((made, i) => made.setAttribute("aria-pressed", String(i === state.chosen)));
    root.dataset.milliseconds = (performance.now() - began).toFixed(1);
  }

  draw();
})();
