// Slack's text, as elements: mentions, dates, links, emoji, mrkdwn. What Slack makes live is
// made live here, so that text which gets out of hand is seen to.

import { el } from "./dom.js";
import { drawn, emoji } from "./emoji.js";
import { channelName, nameOf, world } from "./world.js";

export function userMention(id) {
  return el("span", { class: "mention" + (id === world.as ? " me" : ""), data: { user: id } }, "@" + nameOf(id));
}

export function channelMention(id) {
  return el("span", { class: "mention", data: { channel: id } }, "#" + channelName(id));
}

export function broadcast(range) {
  return el("span", { class: "mention me everybody", data: { broadcast: range } }, "@" + range);
}

export function groupMention(id) {
  return el("span", { class: "mention", data: { group: id } }, "@" + id);
}

export function emojiChar(name) {
  if (drawn.has(name)) return el("img", { class: "emoji", src: `/page/icons/${name}.svg`, alt: `:${name}:`, title: `:${name}:` });
  const char = Object.hasOwn(emoji, name) ? emoji[name] : "";
  if (!char) return `:${name}:`;
  return el("span", { class: "emoji", role: "img", "aria-label": name.replaceAll("_", " "), title: `:${name}:` }, char);
}

// A link to a message of this workspace leads there. Others are shown, and lead nowhere:
// this page asks nobody else for anything.
export function linkTo(url, words) {
  const here = /^https?:\/\/[^/]+\/archives\/([A-Z0-9]+)\/p(\d+)(\d{6})$/.exec(url);
  if (here) {
    const href = `#${here[1]}/${here[2]}.${here[3]}`;
    return el("a", { href, class: "link", data: { jump: href.slice(1) } }, words || url);
  }
  return el("span", { class: "link outside", title: url + " (links lead nowhere here)" }, words || url);
}

const part = (date, options) => new Intl.DateTimeFormat("en", options).format(date);

// date fills in Slack's date format, in this reader's zone.
export function dateText(unix, format, fallback) {
  const at = new Date(unix * 1000);
  if (Number.isNaN(at.getTime())) return fallback ?? "";
  const day = (d) => new Date(d.getFullYear(), d.getMonth(), d.getDate()).getTime();
  const days = Math.round((day(at) - day(new Date())) / 86400000);
  const pretty = (otherwise) => ({ "-1": "yesterday", 0: "today", 1: "tomorrow" })[days] ?? otherwise;
  const short = part(at, { month: "short", day: "numeric", year: "numeric" });
  const date = part(at, { month: "long", day: "numeric", year: "numeric" });
  const long = part(at, { weekday: "long", month: "long", day: "numeric", year: "numeric" });
  const two = (n) => String(n).padStart(2, "0");
  const hm = `${two(at.getHours())}:${two(at.getMinutes())}`;
  const words = {
    date_num: `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`,
    date_slash: `${at.getFullYear()}/${two(at.getMonth() + 1)}/${two(at.getDate())}`,
    date_short: short, date_short_pretty: pretty(short), date, date_pretty: pretty(date), date_long: long, date_long_pretty: pretty(long),
    time: hm, time_secs: `${hm}:${two(at.getSeconds())}`,
  };
  return format.replace(/\{(\w+)\}/g, (all, name) => words[name] ?? all);
}

export function dateElement(unix, format, fallback) {
  const at = new Date(unix * 1000);
  if (Number.isNaN(at.getTime())) return fallback ?? "";
  return el("time", { datetime: at.toISOString(), title: at.toString() }, dateText(unix, format, fallback));
}

const entities = { "&lt;": "<", "&gt;": ">", "&amp;": "&" };
const decode = (s) => s.replace(/&(?:lt|gt|amp);/g, (e) => entities[e]);

// sequence is what stands between < and >.
function sequence(body) {
  const bar = body.indexOf("|");
  const what = bar < 0 ? body : body.slice(0, bar);
  const label = bar < 0 ? "" : decode(body.slice(bar + 1));
  if (what.startsWith("@")) return userMention(what.slice(1));
  if (what.startsWith("#")) return channelMention(what.slice(1));
  if (what.startsWith("!subteam^")) return groupMention(what.slice(9));
  if (what.startsWith("!date^")) {
    const [, unix, format] = what.split("^");
    return dateElement(Number(unix), format ?? "", label);
  }
  if (what.startsWith("!")) return broadcast(what.slice(1));
  return linkTo(decode(what), label);
}

// Marks work at word boundaries only, as Slack's do.
const before = "(?<=^|[\\s(\\[{\"'.,:;>*_~|-])";
const after = "(?=$|[\\s)\\]}\"'.,:;!?<*_~|-])";
const token = new RegExp(
  [
    "```\\n?(?<fence>[\\s\\S]+?)\\n?```",
    "`(?<code>[^`\\n]+)`",
    "<(?<seq>[^<>]+)>",
    `${before}\\*(?<b>[^\\s*](?:[^*\\n]*[^\\s*])?)\\*${after}`,
    `${before}_(?<i>[^\\s_](?:[^_\\n]*[^\\s_])?)_${after}`,
    `${before}~(?<s>[^\\s~](?:[^~\\n]*[^\\s~])?)~${after}`,
    ":(?<emoji>[a-z0-9_+-]+):",
    "(?:^|(?<=\\n))&gt; ?(?<quote>[^\\n]*)(?:\\n|$)",
  ].join("|"),
  "g",
);

// mrkdwn turns Slack's markup into nodes.
export function mrkdwn(text) {
  const nodes = [];
  let at = 0;
  for (const m of text.matchAll(token)) {
    if (m.index > at) nodes.push(decode(text.slice(at, m.index)));
    at = m.index + m[0].length;
    const g = m.groups;
    if (g.fence !== undefined) nodes.push(el("pre", {}, decode(g.fence)));
    else if (g.code !== undefined) nodes.push(el("code", {}, decode(g.code)));
    else if (g.seq !== undefined) nodes.push(sequence(g.seq));
    else if (g.b !== undefined) nodes.push(el("b", {}, mrkdwn(g.b)));
    else if (g.i !== undefined) nodes.push(el("i", {}, mrkdwn(g.i)));
    else if (g.s !== undefined) nodes.push(el("s", {}, mrkdwn(g.s)));
    else if (g.emoji !== undefined) nodes.push(emojiChar(g.emoji));
    else if (g.quote !== undefined) nodes.push(el("blockquote", {}, mrkdwn(g.quote)));
  }
  if (at < text.length) nodes.push(decode(text.slice(at)));
  return nodes;
}
