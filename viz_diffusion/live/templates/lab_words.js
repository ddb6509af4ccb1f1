"use strict";
// Words, numbers and elements that all scripts of the lab use. Reads the JSON of the page; loads nothing.
const byId = (id) => document.getElementById("ui-" + id);
const { text, tasks: taskList, noise_colours: noiseColours, noise_limit: noiseLimit } = JSON.parse(byId("data").textContent);
const facts = JSON.parse(document.getElementById("live-data").textContent);
const SIDE = facts.model.image_size;
const fill = (words, values) => words.replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);
const calm = matchMedia("(prefers-reduced-motion: reduce)");

let engine = null; // of engine.js, once it is open

// What a screen reader speaks. The same words twice are spoken twice, since the element is emptied first.
function announce(words) {
  byId("said").textContent = "";
  requestAnimationFrame(() => (byId("said").textContent = words));
}

const wordFor = {
  number: (value, digits) => value.toFixed(digits).replace("-", "−"),
  percent(share) {
    const value = 100 * share;
    if (value > 0 && value < 0.01) return "<0.01%";
    if (value === 0 || value === 100) return value + "%";
    return value.toFixed(value < 1 || value > 99 ? 2 : value < 10 ? 1 : 0) + "%";
  },
  decibels: (snr) => fill(text.decibel, { value: wordFor.number(10 * Math.log10(snr), 1) }),
  label: (label) => (label === engine.denoiser.nullLabel ? text.no_label : facts.class_names?.[label] ?? String(label)),
};

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}
