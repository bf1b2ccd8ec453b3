// Slack's blocks that show something, in messages and in forms. Inputs are in form.js.

import { el } from "./dom.js";
import { mrkdwn } from "./mrkdwn.js";

// A text object: {type: "mrkdwn" | "plain_text", text}.
export function textOf(object, names) {
  if (!object) return [];
  return object.type === "mrkdwn" ? mrkdwn(object.text, names) : [object.text];
}

// `press(block, element)` is called with the places of a button that was pressed; null: buttons do nothing.
export function blocksOf(blocks, names, press) {
  return blocks.map((block, place) => blockOf(block, place, names, press));
}

export function blockOf(block, place, names, press) {
  switch (block.type) {
    case "header":
      return el("p", { class: "header" }, textOf(block.text, names));
    case "divider":
      return el("hr");
    case "context":
      return el("p", { class: "context" }, block.elements.flatMap((part) => [...contextOf(part, names), " "]));
    case "section":
      return sectionOf(block, place, names, press);
    case "actions":
      return el("p", { class: "buttons" }, block.elements.flatMap((part, at) => [buttonOf(part, place, at, press), " "]));
    case "image":
      return el("p", { class: "context" }, block.alt_text || "(image)");
    default:
      return el("p", { class: "context" }, `(a block of the kind ${block.type})`);
  }
}

function sectionOf(block, place, names, press) {
  const fields = (block.fields || []).map((field) => el("span", { class: "field" }, textOf(field, names)));
  const isButton = block.accessory && block.accessory.type === "button";
  return el(
    "div",
    { class: "section" },
    block.text ? el("p", {}, textOf(block.text, names)) : null,
    fields.length ? el("p", { class: "fields" }, fields) : null,
    isButton ? buttonOf(block.accessory, place, 0, press) : null,
  );
}

function contextOf(part, names) {
  return part.type === "image" ? [part.alt_text || "(image)"] : textOf(part, names);
}

function buttonOf(button, place, at, press) {
  if (button.type !== "button") return el("span", { class: "context" }, `(an element of the kind ${button.type})`);
  return el(
    "button",
    {
      type: "button",
      class: button.style || "",
      disabled: press === null,
      "data-at": `${place}/${at}`,
      onclick: () => press && press(place, at),
    },
    button.text.text,
  );
}
