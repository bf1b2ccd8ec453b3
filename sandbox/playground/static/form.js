// A form (Slack's modal) made of the blocks of its view, with a label for each input.

import { blockOf, textOf } from "./blocks.js";
import { el } from "./dom.js";
import { plain } from "./mrkdwn.js";

const LONGEST = 3000;
let numbers = 0;

// One form in `dialog`. `act(name, asked)` sends; `here` has person(), people, channels and names.
export class Form {
  constructor(dialog, view, here, act) {
    this.dialog = dialog;
    this.here = here;
    this.act = act;
    this.controls = [];
    this.show(view);
  }

  // Show the view; what was typed stays where block_id and action_id are the same.
  show(view) {
    const kept = this.values();
    const focused = this.dialog.contains(document.activeElement) ? document.activeElement.dataset.input : null;
    this.view = view;
    this.controls = [];
    const form = el("form", { novalidate: true, onsubmit: (event) => this.submit(event) });
    form.append(
      el("h2", { id: "modal-title" }, view.title ? view.title.text : "Form"),
      el("div", { class: "body" }, (view.blocks || []).map((block, place) => this.block(block, place))),
      el(
        "div",
        { class: "foot" },
        (this.fault = el("p", { class: "error", role: "alert" })),
        el(
          "p",
          { class: "buttons" },
          el("button", { type: "button", class: "close", onclick: () => this.cancel() }, view.close ? view.close.text : "Cancel"),
          view.submit ? (this.send = el("button", { type: "submit", class: "primary" }, view.submit.text)) : null,
        ),
      ),
    );
    if (!view.submit) this.send = null;
    this.dialog.replaceChildren(form);
    for (const control of this.controls) {
      const value = kept[control.block] && kept[control.block][control.action];
      if (value !== undefined) control.write(value);
    }
    if (!this.dialog.open) this.dialog.showModal();
    const again = focused && [...form.querySelectorAll("[data-input]")].find((one) => one.dataset.input === focused);
    (again || form.querySelector("[data-input]") || form.querySelector("button")).focus();
  }

  // What was typed and chosen, by block and action.
  values() {
    const values = {};
    for (const control of this.controls) {
      values[control.block] = { ...values[control.block], [control.action]: control.read() };
    }
    return values;
  }

  close() {
    if (this.dialog.open) this.dialog.close();
    this.dialog.replaceChildren();
  }

  async cancel() {
    this.close();
    await this.act("close", { view_id: this.view.id });
  }

  async submit(event) {
    event.preventDefault();
    if (!this.send || this.send.disabled) return;
    const view = this.view;
    this.send.disabled = true;
    this.report({});
    const answer = await this.act("submit", { view_id: view.id, values: this.values() });
    if (this.send) this.send.disabled = false;
    // The feed tells that the form has closed, or what it became.
    this.report(answer ? answer.errors || {} : { "": "That did not reach the playground. Please try again." });
  }

  // Show each error at its input, and what belongs to none at the end.
  report(errors) {
    const rest = [];
    const named = new Set(this.controls.map((control) => control.block));
    for (const control of this.controls) {
      const sentence = errors[control.block] || "";
      control.error.textContent = sentence;
      control.focus.toggleAttribute("aria-invalid", Boolean(sentence));
      if (sentence) control.focus.setAttribute("aria-invalid", "true");
    }
    for (const [block, sentence] of Object.entries(errors)) if (!named.has(block)) rest.push(sentence);
    this.fault.textContent = rest.join(" ");
    const first = this.controls.find((control) => errors[control.block]);
    if (first) first.focus.focus();
  }

  block(block, place) {
    if (block.type === "input") return this.input(block, block.element, block.label, Boolean(block.dispatch_action));
    if (block.type === "section" && block.accessory && block.accessory.type !== "button") {
      const label = block.text || { type: "plain_text", text: "Choose" };
      return this.input({ ...block, optional: true, bare: true }, block.accessory, label, true);
    }
    if (block.type === "actions") {
      const inputs = block.elements.filter((part) => part.type !== "button");
      return el("div", {}, inputs.map((part) => this.input({ ...block, optional: true, bare: true }, part, part.placeholder, true)));
    }
    return blockOf(block, place, this.here.names, null);
  }

  input(block, element, label, tellsAtOnce) {
    const id = `input-${(numbers += 1)}`;
    const error = el("p", { class: "error", id: `${id}-error`, role: "alert" });
    const described = [block.hint ? `${id}-hint` : null, `${id}-error`].filter(Boolean).join(" ");
    const words = [...textOf(label, this.here.names)];
    if (block.optional && !block.bare) words.push(" ", el("span", { class: "hint" }, "(optional)"));
    const made = controlOf(element, { id, described, here: this.here, ask: (query) => this.ask(block, element, query) });
    this.controls.push({
      block: block.block_id || "",
      action: element.action_id || "",
      error,
      focus: made.focus,
      read: made.read,
      write: made.write,
    });
    made.focus.dataset.input = `${block.block_id}/${element.action_id}`;
    if (tellsAtOnce) (made.tells || made.nodes).forEach((node) => node.addEventListener("change", () => this.tell(block, element, made)));
    const hint = block.hint ? el("p", { class: "hint", id: `${id}-hint` }, textOf(block.hint, this.here.names)) : null;
    if (made.isGroup) {
      const boxed = el("div", { class: "offered boxed" }, made.nodes);
      return el("fieldset", { class: "input", "aria-describedby": described }, el("legend", {}, words), boxed, hint, error);
    }
    return el("div", { class: "input" }, el("label", { for: id }, words), made.nodes, hint, error);
  }

  async tell(block, element, made) {
    const asked = { view_id: this.view.id, block_id: block.block_id, action_id: element.action_id };
    const answer = await this.act("change", { ...asked, value: made.read(), values: this.values() });
    if (answer && answer.errors) this.report(answer.errors);
  }

  async ask(block, element, query) {
    const asked = { view_id: this.view.id, block_id: block.block_id, action_id: element.action_id };
    const answer = await this.act("options", { ...asked, query });
    return answer ? answer.options : [];
  }
}

// A control: its nodes, the one that takes the focus, and how its value is read and written.
function controlOf(element, place) {
  switch (element.type) {
    case "static_select":
      return selectOf(groupsOf(element), element.initial_option && element.initial_option.value, place);
    case "radio_buttons":
      return choicesOf("radio", element.options, element.initial_option ? [element.initial_option.value] : [], place);
    case "checkboxes":
    case "multi_static_select": {
      const options = groupsOf(element).flatMap((group) => group.options);
      return choicesOf("checkbox", options, (element.initial_options || []).map((option) => option.value), place);
    }
    case "external_select":
      return searchOf(false, element.initial_option ? [element.initial_option] : [], element, place);
    case "multi_external_select":
      return searchOf(true, element.initial_options || [], element, place);
    case "users_select":
      return selectOf([{ options: idsOf(place.here.people) }], element.initial_user, place);
    case "multi_users_select":
      return choicesOf("checkbox", idsOf(place.here.people), element.initial_users || [], place);
    case "channels_select":
    case "conversations_select":
      return selectOf([{ options: idsOf(place.here.channels) }], element.initial_channel || element.initial_conversation, place);
    case "multi_channels_select":
    case "multi_conversations_select":
      return choicesOf("checkbox", idsOf(place.here.channels), element.initial_channels || element.initial_conversations || [], place);
    case "datepicker":
      return fieldOf("input", { type: "date" }, element.initial_date, place);
    case "timepicker":
      return fieldOf("input", { type: "time" }, element.initial_time, place);
    case "datetimepicker":
      return momentOf(element.initial_date_time, place);
    case "number_input":
      return fieldOf("input", { type: "text", inputmode: "decimal" }, element.initial_value, place, element);
    case "url_text_input":
      return fieldOf("input", { type: "url" }, element.initial_value, place, element);
    case "email_text_input":
      return fieldOf("input", { type: "email" }, element.initial_value, place, element);
    default: {
      const options = { maxlength: element.max_length || LONGEST };
      if (element.multiline) return fieldOf("textarea", { ...options, rows: 5 }, element.initial_value, place, element);
      return fieldOf("input", { ...options, type: "text" }, element.initial_value, place, element);
    }
  }
}

function fieldOf(tag, options, initial, place, element = {}) {
  const placeholder = element.placeholder ? element.placeholder.text : undefined;
  const field = el(tag, { id: place.id, placeholder, "aria-describedby": place.described, ...options });
  field.value = initial || "";
  return { nodes: [field], focus: field, read: () => field.value, write: (value) => (field.value = value) };
}

function momentOf(initial, place) {
  const field = el("input", { id: place.id, type: "datetime-local", "aria-describedby": place.described });
  const write = (seconds) => {
    // The input takes local time without a zone.
    const local = (when) => new Date(when.getTime() - when.getTimezoneOffset() * 60000).toISOString().slice(0, 16);
    field.value = seconds ? local(new Date(seconds * 1000)) : "";
  };
  write(initial);
  const read = () => (field.value ? Math.floor(new Date(field.value).getTime() / 1000) : null);
  return { nodes: [field], focus: field, read, write };
}

function selectOf(groups, initial, place) {
  const select = el("select", { id: place.id, "aria-describedby": place.described }, el("option", { value: "" }, "Choose …"));
  for (const group of groups) {
    const options = group.options.map((option) => el("option", { value: option.value }, plain(option.text.text)));
    if (group.label) select.append(el("optgroup", { label: group.label.text }, options));
    else select.append(...options);
  }
  const write = (value) => {
    select.value = [...select.options].some((option) => option.value === value) ? value : "";
  };
  write(initial || "");
  return { nodes: [select], focus: select, read: () => select.value || null, write };
}

function choicesOf(type, options, initial, place) {
  const boxes = options.map((option) => el("input", { type, name: place.id, value: option.value }));
  const nodes = options.map((option, at) => el("label", { class: "choice" }, boxes[at], " ", plain(option.text.text)));
  const chosen = () => boxes.filter((box) => box.checked).map((box) => box.value);
  const write = (values) => boxes.forEach((box) => (box.checked = [].concat(values || []).includes(box.value)));
  write(initial);
  const read = () => (type === "radio" ? chosen()[0] || null : chosen());
  return { nodes, focus: boxes[0], read, write, isGroup: true };
}

// A text to search with, and the choices that the app offers for it.
function searchOf(isMulti, initial, element, place) {
  let chosen = [...initial];
  const search = el("input", { id: place.id, type: "search", "aria-describedby": place.described, placeholder: "Type to search" });
  const list = el("div", { class: "offered", role: "group", "aria-label": "Choices" });
  const isChosen = (option) => chosen.some((one) => one.value === option.value);
  const choose = (option, isOn) => {
    const others = isMulti ? chosen.filter((one) => one.value !== option.value) : [];
    chosen = isOn ? [...others, option] : others;
  };
  const show = (offered) => {
    const shown = [...chosen, ...offered.filter((option) => !isChosen(option))];
    list.replaceChildren(
      ...shown.map((option) => {
        const box = el("input", { type: isMulti ? "checkbox" : "radio", name: `${place.id}-choice`, value: option.value });
        box.checked = isChosen(option);
        box.addEventListener("change", () => choose(option, box.checked));
        return el("label", { class: "choice" }, box, " ", plain(option.text.text));
      }),
    );
  };
  let asked = 0;
  let timer;
  const ask = async () => {
    const number = (asked += 1);
    const offered = await place.ask(search.value);
    // A slow answer to an older question does not replace a newer one.
    if (number === asked) show(offered);
  };
  search.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(ask, 250);
  });
  if (element.min_query_length === 0) search.addEventListener("focus", ask, { once: true });
  show([]);
  const read = () => (isMulti ? chosen : chosen[0] || null);
  const write = (value) => {
    chosen = [].concat(value || []);
    show([]);
  };
  // A change of the search text is no choice.
  return { nodes: [search, list], tells: [list], focus: search, read, write };
}

function groupsOf(element) {
  return element.option_groups || [{ options: element.options || [] }];
}

function idsOf(items) {
  return items.map((item) => ({ value: item.id, text: { type: "plain_text", text: item.name } }));
}
