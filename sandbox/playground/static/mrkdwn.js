// Slack's notation as elements. https://docs.slack.dev/messaging/formatting-message-text

import { el } from "./dom.js";

const TOKEN = new RegExp(
  [
    "<([^<>\\n]+)>",
    "```([\\s\\S]+?)```",
    "`([^`\\n]+)`",
    "(?<![\\w*])\\*(\\S(?:[^*\\n]*\\S)?)\\*(?![\\w*])",
    "(?<![\\w_])_(\\S(?:[^_\\n]*\\S)?)_(?![\\w_])",
    "(?<![\\w~])~(\\S(?:[^~\\n]*\\S)?)~(?![\\w~])",
  ].join("|"),
  "g",
);
const DATES = {
  date: { dateStyle: "long" },
  date_num: { dateStyle: "short" },
  date_short: { dateStyle: "medium" },
  date_long: { dateStyle: "full" },
  date_pretty: { dateStyle: "long" },
  date_short_pretty: { dateStyle: "medium" },
  date_long_pretty: { dateStyle: "full" },
  time: { timeStyle: "short" },
  time_secs: { timeStyle: "medium" },
};

// `names` tells who and what an id is, and where a link leads: {person(id), channel(id), group(id), link(url, label)}.
export function mrkdwn(text, names) {
  const parts = [];
  let end = 0;
  for (const match of text.matchAll(TOKEN)) {
    if (match.index > end) parts.push(plain(text.slice(end, match.index)));
    parts.push(element(match, names));
    end = match.index + match[0].length;
  }
  if (end < text.length) parts.push(plain(text.slice(end)));
  return parts;
}

function element([, angle, block, code, bold, italic, strike], names) {
  if (angle !== undefined) return special(angle, names);
  if (block !== undefined) return el("pre", {}, plain(block.replace(/^\n/, "")));
  if (code !== undefined) return el("code", {}, plain(code));
  if (bold !== undefined) return el("strong", {}, mrkdwn(bold, names));
  if (italic !== undefined) return el("em", {}, mrkdwn(italic, names));
  return el("s", {}, mrkdwn(strike, names));
}

function special(inside, names) {
  const bar = inside.indexOf("|");
  const target = bar < 0 ? inside : inside.slice(0, bar);
  const label = bar < 0 ? "" : plain(inside.slice(bar + 1));
  if (target.startsWith("@")) return el("b", { class: "name" }, "@" + (names.person(target.slice(1)) || label));
  if (target.startsWith("#")) return el("b", { class: "name" }, "#" + (names.channel(target.slice(1)) || label));
  if (target.startsWith("!subteam^")) return el("b", { class: "name" }, label || "@" + (names.group(target.slice(9)) || target.slice(9)));
  if (target.startsWith("!date^")) return moment(target, label, names);
  if (target.startsWith("!")) return el("b", { class: "name" }, label || "@" + target.slice(1));
  return names.link(plain(target), label || plain(target));
}

function moment(target, fallback, names) {
  const [, seconds, format = "", url] = target.split("^");
  const when = new Date(Number(seconds) * 1000);
  if (Number.isNaN(when.getTime())) return fallback;
  const said = format.replace(/\{(\w+)\}/g, (whole, name) =>
    DATES[name] ? when.toLocaleString("en-GB", DATES[name]) : whole,
  );
  return url ? names.link(plain(url), said) : el("time", { datetime: when.toISOString() }, said);
}

export function plain(text) {
  return text.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");
}
