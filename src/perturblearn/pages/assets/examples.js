"use strict";
// Sources, perturbations and perturbed inputs, drawn from numbers, with sliders for the perturbations' scale.
(() => {
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const parse = (text) => { const hex = text.replace("#", ""); return [0, 2, 4].map((place) => parseInt(hex.slice(place, place + 2), 16)); };
  const sets = [];

  function start() {
    document.querySelectorAll("[data-examples]").forEach((place) => {
      const shown = pl.read(place.dataset.examples);
      shown.place = place;
      shown.samples = shown.samples.map((sample) => {
        const step = new Int8Array(bytes(sample.step).buffer);
        const inRange = (text) => Float32Array.from(bytes(text), (value) => shown.low + (value / 255) * (shown.high - shown.low));
        return {
          source: inRange(sample.source),
          original: sample.original && inRange(sample.original),
          step: Float32Array.from(step, (value) => (value / 127) * shown.size),
        };
      });
      sets.push(shown);
      place.querySelectorAll("input[type=range]").forEach((slider) => slider.addEventListener("input", () => draw(shown)));
      draw(shown);
    });
    pl.onTheme(() => sets.forEach(draw));
  }

  // Sliders move in equal ratios around their middle: a tenth of the way doubles, the left end is nothing at all.
  function factor(slider, unit) {
    const at = Number(slider.value);
    return at <= 0 ? 0 : 2 ** ((at - 100) / 20) * unit;
  }

  function draw(shown) {
    const factors = { amplify: 1, add: 1 };
    shown.place.querySelectorAll("input[type=range]").forEach((slider) => {
      const name = slider.dataset.scale;
      const value = factor(slider, name === "amplify" ? shown.fill : 1);
      const text = value === 0 ? "0 times" : `${value >= 100 ? value.toFixed(0) : value.toPrecision(3).replace(/\.?0+$/, "")} times`;
      factors[name] = value;
      slider.setAttribute("aria-valuetext", text);
      shown.place.querySelector(`output[data-of="${name}"]`).textContent = text;
    });
    const half = (shown.high - shown.low) / 2 || 1;
    shown.place.querySelectorAll("canvas").forEach((canvas) => {
      const { source, step, original } = shown.samples[Number(canvas.dataset.number)];
      const kind = canvas.dataset.shows;
      if (kind === "original") paint(shown, canvas, original, shown.low, shown.high, false);
      if (kind === "source") paint(shown, canvas, source, shown.low, shown.high, false);
      if (kind === "step") paint(shown, canvas, step.map((value) => value * factors.amplify), -half, half, true);
      if (kind === "input") paint(shown, canvas, source.map((value, index) => value + factors.add * step[index]), shown.low, shown.high, false);
    });
  }

  function paint(shown, canvas, values, low, high, signed) {
    if (shown.shape) paintImage(shown, canvas, values, low, high, signed);
    else paintLine(canvas, values, low, high, signed);
  }

  function paintImage(shown, canvas, values, low, high, signed) {
    const [channels, height, width] = shown.shape;
    canvas.width = width;
    canvas.height = height;
    const context = canvas.getContext("2d");
    const image = context.createImageData(width, height);
    const middle = parse(pl.colour("paper")), up = parse(pl.colour("g")), down = parse(pl.colour("f"));
    const size = width * height;
    for (let place = 0; place < size; place += 1) {
      for (let channel = 0; channel < 3; channel += 1) {
        const value = (values[place + (channels === 3 ? channel * size : 0)] - low) / (high - low || 1);
        const kept = Math.min(1, Math.max(0, value));
        // One channel: blue is less, orange is more. Three channels: their own colours around a grey.
        const end = kept > 0.5 ? up : down;
        const level = signed && channels === 1 ? middle[channel] + Math.abs(2 * kept - 1) * (end[channel] - middle[channel]) : 255 * kept;
        image.data[4 * place + channel] = level;
      }
      image.data[4 * place + 3] = 255;
    }
    context.putImageData(image, 0, 0);
  }

  function paintLine(canvas, values, low, high, signed) {
    const width = 240, height = 120;
    canvas.width = width;
    canvas.height = height;
    const context = canvas.getContext("2d");
    const up = (value) => height * (1 - (Math.min(high, Math.max(low, value)) - low) / (high - low || 1));
    context.clearRect(0, 0, width, height);
    context.strokeStyle = pl.colour("line");
    context.beginPath();
    context.moveTo(0, up(0));
    context.lineTo(width, up(0));
    context.stroke();
    context.strokeStyle = pl.colour(signed ? "g" : "f");
    context.beginPath();
    values.forEach((value, index) => context.lineTo(((index + 0.5) / values.length) * width, up(value)));
    context.stroke();
  }

  document.addEventListener("DOMContentLoaded", start);
})();
