// The messages of a channel and of a thread, each in an element of its own that is replaced when it changes.

import { blocksOf } from "./blocks.js";
import { el } from "./dom.js";
import { mrkdwn } from "./mrkdwn.js";

// All messages that were told, by place. An ephemeral one has a reader.
export class Messages {
  constructor() {
    this.all = new Map();
  }

  take(message) {
    const key = keyOf(message);
    if (message.is_deleted) this.all.delete(key);
    else this.all.set(key, message);
  }

  seenBy(person) {
    return [...this.all.values()].filter((message) => !message.only_for || message.only_for === person);
  }

  // What stands in a channel: no replies, but the roots of all threads, also those that are not kept here.
  ofChannel(channel, person) {
    const seen = this.seenBy(person).filter((message) => message.channel === channel);
    const roots = seen.filter((message) => !isReply(message));
    const known = new Set(roots.map((message) => message.ts));
    for (const message of seen.filter(isReply)) {
      if (known.has(message.thread_ts)) continue;
      known.add(message.thread_ts);
      roots.push({ channel, ts: message.thread_ts, user: "", text: "_A message that is not kept here._", unknown: true });
    }
    return roots.sort(byTime);
  }

  ofThread(channel, root, person) {
    const seen = this.seenBy(person).filter((message) => message.channel === channel);
    return seen.filter((message) => message.ts === root || message.thread_ts === root).sort(byTime);
  }

  repliesTo(message, person) {
    return this.ofThread(message.channel, message.ts, person).filter(isReply).length;
  }
}

export const isReply = (message) => Boolean(message.thread_ts) && message.thread_ts !== message.ts;
export const keyOf = (message) => `${message.channel}/${message.ts}/${message.only_for || ""}`;

function byTime(one, other) {
  return Number(one.ts) - Number(other.ts);
}

// Show `messages` in `list`; what has not changed keeps its element, and with it the focus.
export function showMessages(list, messages, show) {
  const wanted = messages.map((message) => ({ key: keyOf(message), mark: JSON.stringify([message, show.markOf(message)]), message }));
  const there = new Map([...list.children].map((item) => [item.dataset.key, item]));
  const wasAtEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  let added = false;
  wanted.forEach(({ key, mark, message }, place) => {
    let item = there.get(key);
    there.delete(key);
    if (!item || item.mark !== mark) {
      const fresh = messageElement(message, show);
      fresh.dataset.key = key;
      fresh.mark = mark;
      const focused = item && item.contains(document.activeElement) ? document.activeElement.dataset.at : undefined;
      added = added || !item;
      if (item) item.replaceWith(fresh);
      item = fresh;
      if (focused !== undefined) (fresh.querySelector(`[data-at="${focused}"]`) || fresh).focus();
    }
    if (list.children[place] !== item) list.insertBefore(item, list.children[place] || null);
  });
  for (const gone of there.values()) gone.remove();
  if (added && wasAtEnd) list.scrollTop = list.scrollHeight;
}

function messageElement(message, show) {
  const { names } = show;
  const author = message.unknown ? "" : names.person(message.user) || "Slackbot";
  const when = new Date(Number(message.ts) * 1000);
  const body = (message.blocks || []).length
    ? blocksOf(message.blocks, names, (block, element) => show.press(message, block, element))
    : [el("p", {}, mrkdwn(message.text || "", names))];
  const files = (message.files || []).map((file) => el("p", { class: "context" }, `File: ${file.name}`));
  const isBot = names.isBot(message.user);
  const place = names.place(message.user);
  const picture = isBot ? "avatar bot" : place < 0 ? "avatar" : `avatar person-${place % 5}`;
  return el(
    "li",
    { class: message.only_for ? "message private" : "message", tabindex: "-1" },
    el("span", { class: picture, "aria-hidden": "true" }, author.slice(0, 1).toUpperCase()),
    el(
      "div",
      {},
      el(
        "p",
        { class: "by" },
        el("b", {}, author),
        isBot ? el("span", { class: "app" }, "App") : null,
        el("time", { datetime: when.toISOString() }, when.toLocaleTimeString("en-GB", { timeStyle: "short" })),
        message.is_edited ? el("span", { class: "hint" }, "edited") : null,
        message.only_for ? el("span", { class: "hint" }, "Only visible to you") : null,
      ),
      body,
      files,
      el("p", { class: "acts" }, show.actionsOf(message)),
    ),
  );
}
