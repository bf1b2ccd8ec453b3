// The page: reads the state once, follows the feed, and sends what a person does.

import { byId, el } from "./dom.js";
import { Form } from "./form.js";
import { idOf, showRequest, showSwitches, showTickets, showWorkers } from "./jira.js";
import { Messages, isReply, showMessages } from "./messages.js";
import { Tour } from "./tour.js";

const TOKEN = document.querySelector('meta[name="playground-token"]').content;
const ARCHIVE = /\/archives\/([A-Z0-9]+)\/p(\d+)(\d{6})(?:\?|$)/;

const here = {
  people: [],
  channels: [],
  bot: { id: "", name: "threadsync" },
  command: "/ticket",
  jira: "",
  slack: "",
  channel: "",
  thread: null,
  names: {},
};
let messages = new Messages();
let views = new Map();
let form = null;
let source = null;
const tour = new Tour();
const narrow = matchMedia("(max-width: 56rem)");

// ---- what a person does

async function act(name, asked) {
  const body = JSON.stringify({ user: person(), ...asked });
  const headers = { "content-type": "application/json", "x-playground-token": TOKEN };
  let answer;
  try {
    answer = await fetch(`/playground/act/${name}`, { method: "POST", headers, body });
  } catch {
    say("The playground does not answer. Does threadsync still run?");
    return null;
  }
  const isJson = (answer.headers.get("content-type") || "").startsWith("application/json");
  const told = isJson ? await answer.json() : { sentence: await answer.text() };
  if (told.sentence) say(told.sentence);
  return answer.ok ? told : null;
}

const person = () => byId("person").value;

function say(sentence) {
  const said = byId("said");
  said.textContent = sentence;
  said.dataset.number = String(Number(said.dataset.number || 0) + 1);
  const number = said.dataset.number;
  setTimeout(() => {
    if (said.dataset.number === number) said.textContent = "";
  }, 12000);
}

function wireComposer(which) {
  const composer = byId(`${which}-composer`);
  const text = byId(`${which}-text`);
  composer.addEventListener("submit", (event) => {
    event.preventDefault();
    send(which, text);
  });
  text.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      composer.requestSubmit();
    }
  });
  byId(`${which}-files`).addEventListener("change", (event) => showFiles(event.target));
  composer.querySelector(".mention").addEventListener("click", () => {
    const gap = text.value && !text.value.endsWith(" ") ? " " : "";
    text.value += `${gap}@${here.bot.name} `;
    text.focus();
  });
}

// Say on the label how many files are chosen.
function showFiles(chosen) {
  const label = chosen.closest("label");
  const count = chosen.files.length;
  label.firstChild.textContent = count ? `${count} ${count === 1 ? "file" : "files"} ` : "Add files ";
  label.title = [...chosen.files].map((file) => file.name).join(", ");
  label.classList.toggle("chosen", count > 0);
}

// A file as JSON: its bytes in base 64, from the data URL that the browser makes.
function packed(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => resolve({ name: file.name, type: file.type, data: reader.result.split(",")[1] || "" }));
    reader.addEventListener("error", () => reject(reader.error));
    reader.readAsDataURL(file);
  });
}

async function send(which, field) {
  const text = field.value.trim();
  const channel = here.channel;
  const thread = which === "thread" ? here.thread : null;
  const chosen = byId(`${which}-files`);
  if (!text && !chosen.files.length) return;
  const isCommand = text === here.command || text.startsWith(`${here.command} `);
  if (isCommand && which === "thread") {
    say(`Slack takes no ${here.command} in threads. Write it in the channel.`);
    return;
  }
  field.value = "";
  const files = isCommand ? [] : await Promise.all([...chosen.files].map(packed));
  const asked = isCommand
    ? ["command", { channel, text: text.slice(here.command.length) }]
    : ["message", { channel, text, thread_ts: thread, files }];
  const answer = await act(...asked);
  if (answer && !isCommand) {
    chosen.value = "";
    showFiles(chosen);
  }
  if (!answer) {
    // Nothing that was typed is lost.
    if (!field.value) field.value = text;
  } else if (!isCommand && which === "channel" && text.toLowerCase().includes(`@${here.bot.name}`)) {
    openThread(answer.ts);
  }
}

// ---- what is shown

function showThread(root) {
  here.thread = root;
  byId("thread").hidden = !root;
  document.querySelector("main").classList.toggle("has-thread", Boolean(root));
}

function openThread(root) {
  showThread(root);
  render();
  byId("thread-text").focus();
}

function closeThread() {
  showThread(null);
  byId("channel-text").focus();
}

function choose(channel) {
  if (here.channel !== channel) showThread(null);
  here.channel = channel;
  render();
}

function render() {
  const channel = here.channels.find((one) => one.id === here.channel);
  byId("channel-name").textContent = `#${channel.name}`;
  byId("channel-label").textContent = `Message #${channel.name}`;
  byId("channel-text").placeholder = `Message #${channel.name}, or ${here.command} help`;
  for (const button of byId("channel-list").querySelectorAll("button")) {
    if (button.dataset.channel === here.channel) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }
  const press = (message, block, element) =>
    act("button", { channel: message.channel, ts: message.ts, block, element });
  const written = messages.ofChannel(here.channel, person());
  byId("nothing-yet").hidden = written.length > 0;
  showMessages(byId("channel-messages"), written, {
    names: here.names,
    press,
    markOf: (message) => messages.repliesTo(message, person()),
    actionsOf: (message) => (message.only_for ? [] : channelActions(message)),
  });
  if (here.thread) {
    showMessages(byId("thread-messages"), messages.ofThread(here.channel, here.thread, person()), {
      names: here.names,
      press,
      markOf: () => 0,
      actionsOf: (message) => (message.only_for ? [] : [...shortcutOf(message), ...linkTo(message)]),
    });
  }
}

function channelActions(message) {
  const count = messages.repliesTo(message, person());
  const words = count ? `${count} ${count === 1 ? "reply" : "replies"}` : "Reply in thread";
  const open = el("button", { type: "button", class: count ? "replies" : "", "data-at": "thread", onclick: () => openThread(message.ts) }, words);
  return [open, ...shortcutOf(message), ...linkTo(message)];
}

// Slack's "Copy link": for commands that take the link of a message.
function linkTo(message) {
  if (message.unknown) return [];
  const query = isReply(message) ? `?thread_ts=${message.thread_ts}&cid=${message.channel}` : "";
  const link = `${here.slack}archives/${message.channel}/p${message.ts.replace(".", "")}${query}`;
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(link);
      say(`Copied the link to the message. Paste it after ${here.command} status, for instance.`);
    } catch {
      say(`The browser does not let the page copy. The link is ${link}`);
    }
  };
  return [el("button", { type: "button", "data-at": "link", onclick: copy }, "Copy link")];
}

function shortcutOf(message) {
  if (message.unknown || message.user === here.bot.id) return [];
  const chosen = () => act("shortcut", { channel: message.channel, ts: message.ts });
  return [el("button", { type: "button", "data-at": "shortcut", onclick: chosen }, "Open a ticket session")];
}

function linkOf(url, label) {
  const archive = url.match(ARCHIVE);
  if (archive && here.channels.some((channel) => channel.id === archive[1])) {
    const lead = () => {
      const ts = `${archive[2]}.${archive[3]}`;
      const message = messages.seenBy(person()).find((one) => one.channel === archive[1] && one.ts === ts);
      choose(archive[1]);
      openThread(message && isReply(message) ? message.thread_ts : ts);
    };
    return el("button", { type: "button", class: "link", onclick: lead }, label);
  }
  const key = here.jira && url.startsWith(`${here.jira}/browse/`) ? url.slice(here.jira.length + 8) : null;
  if (key) {
    const lead = () => {
      const ticket = byId(idOf(key));
      if (ticket) ticket.focus();
      else say(`${key} is not in this Jira any more: it forgets its tickets when threadsync is started again.`);
    };
    return el("button", { type: "button", class: "link", onclick: lead }, label);
  }
  if (!/^https?:\/\//.test(url)) return label;
  return el("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, label);
}

// Show the newest form that is open for the person, or none. It takes the place of an older one.
function showForm() {
  const mine = [...views.values()].filter((view) => view.user === person() && !view.is_closed);
  const view = mine.pop();
  for (const older of mine) {
    views.delete(older.id);
    act("close", { view_id: older.id });
  }
  if (!view) {
    if (form) form.close();
    form = null;
  } else if (!form || form.view.id !== view.id) {
    form = new Form(byId("modal"), view, here, act);
  } else if (form.view.hash !== view.hash) {
    form.show(view);
  }
}

// ---- what the server tells

const takes = {
  message: (message) => {
    messages.take(message);
    tour.message(message, here.bot.id);
    render();
  },
  view: (view) => {
    if (view.is_closed) views.delete(view.id);
    else views.set(view.id, view);
    showForm();
  },
  tickets: (tickets) => {
    showTickets(tickets, say, linkOf);
    tour.tickets(tickets.length);
  },
  switches: (switches) => {
    showSwitches(switches, turn);
    tour.switches(switches);
  },
  workers: (workers) => {
    showWorkers(workers, kill);
    tour.workers(workers);
  },
  request: showRequest,
};

const turn = (name, on) => act("switch", { name, on });
const kill = (name) => act("kill", { name });

function connected(isGood, words) {
  const shown = byId("connection");
  shown.textContent = words;
  shown.classList.toggle("good", isGood);
}

function follow(state) {
  if (source) source.close();
  source = new EventSource(`/playground/feed?after=${state.last}&epoch=${encodeURIComponent(state.epoch)}`);
  source.addEventListener("open", () => connected(true, "Connected"));
  source.addEventListener("error", () => connected(false, "Not connected; trying again …"));
  source.addEventListener("change", (event) => {
    const change = JSON.parse(event.data);
    if (takes[change.kind]) takes[change.kind](change.data);
  });
  // Too far behind, or the playground was started anew: its page has another token then.
  source.addEventListener("reset", () => location.reload());
}

function fill(state) {
  Object.assign(here, { people: state.people, channels: state.channels, bot: state.bot, command: state.command, jira: state.jira_url, slack: state.slack_url });
  const named = (items) => new Map(items.map((item) => [item.id, item.name]));
  const people = named([...state.people, state.bot]);
  const channels = named(state.channels);
  const groups = named(state.groups);
  const order = state.people.map((one) => one.id);
  here.names = {
    person: (id) => people.get(id),
    place: (id) => order.indexOf(id),
    isBot: (id) => id === state.bot.id,
    channel: (id) => channels.get(id),
    group: (id) => groups.get(id),
    link: linkOf,
  };
  byId("person").replaceChildren(
    ...state.people.map((one) => el("option", { value: one.id }, one.note ? `${one.name} (${one.note})` : one.name)),
  );
  byId("channel-list").replaceChildren(
    ...state.channels.map((one) =>
      el("li", {}, el("button", { type: "button", "data-channel": one.id, onclick: () => choose(one.id) }, `# ${one.name}`)),
    ),
  );
  messages = new Messages();
  state.messages.forEach((message) => {
    messages.take(message);
    tour.message(message, here.bot.id);
  });
  views = new Map(state.views.map((view) => [view.id, view]));
  takes.tickets(state.tickets);
  takes.switches(state.switches);
  takes.workers(state.workers);
  choose(state.channels[0].id);
  showForm();
}

async function begin() {
  try {
    const answer = await fetch("/playground/state");
    if (!answer.ok) throw new Error(await answer.text());
    const state = await answer.json();
    fill(state);
    follow(state);
  } catch (error) {
    connected(false, `Not connected: ${error.message}`);
    setTimeout(begin, 2000);
  }
}

wireComposer("channel");
wireComposer("thread");
byId("thread-close").addEventListener("click", closeThread);
byId("example").addEventListener("click", () => {
  byId("channel-text").value = `@${here.bot.name} the export stops at page two`;
  byId("channel-text").focus();
});
byId("tour").open = !narrow.matches;
byId("person").addEventListener("change", () => {
  render();
  showForm();
});
byId("modal").addEventListener("cancel", (event) => {
  // Escape: as the form's own button.
  event.preventDefault();
  if (form) form.cancel();
});
begin();
