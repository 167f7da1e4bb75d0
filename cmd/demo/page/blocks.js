// Block Kit, as Slack draws it: every block and element that the bot can send, and the
// neighbours that a forged message might use.

import { el } from "./dom.js";
import { broadcast, channelMention, dateElement, emojiChar, groupMention, linkTo, mrkdwn, userMention } from "./text.js";

// draw turns the blocks of a message into elements. pressable makes the buttons of this
// message; without it they are dead.
export function draw(blocks, pressable) {
  return blocks.map((b) => block(b, pressable));
}

function block(b, pressable) {
  switch (b.type) {
    case "rich_text":
      return el("div", { class: "block rich" }, (b.elements ?? []).map(rich));
    case "section":
      return el("div", { class: "block section" },
        b.text && el("div", { class: "text" }, textObject(b.text)),
        b.fields && el("div", { class: "fields" }, b.fields.map((f) => el("div", { class: "text" }, textObject(f)))),
        b.accessory && element(b.accessory, b, pressable));
    case "header":
      return el("p", { class: "block header" }, textObject(b.text));
    case "divider":
      return el("hr", { class: "block" });
    case "context":
      return el("div", { class: "block context" }, (b.elements ?? []).map((e) => element(e, b, pressable)));
    case "actions":
      return el("div", { class: "block actions" }, (b.elements ?? []).map((e) => element(e, b, pressable)));
    case "image":
      return el("div", { class: "block" }, element(b, b, pressable));
    case "markdown":
      return el("div", { class: "block text" }, b.text ?? "");
  }
  return el("div", { class: "block undrawn" }, `[a ${b.type} block, which this page does not draw]`);
}

function element(e, b, pressable) {
  switch (e.type) {
    case "plain_text":
    case "mrkdwn":
      return el("span", { class: "text" }, textObject(e));
    case "image":
      return el("span", { class: "undrawn" }, `[image: ${e.alt_text ?? ""}]`); // would be an external request
    case "button":
      return pressable ? pressable(e, b) : el("button", { type: "button", class: "button", disabled: true }, textObject(e.text));
  }
  return el("span", { class: "undrawn" }, `[${e.type}]`);
}

export function textObject(t) {
  if (!t) return [];
  if (t.type === "mrkdwn") return mrkdwn(t.text ?? "");
  if (!t.emoji) return [t.text ?? ""];
  return (t.text ?? "").split(/(:[a-z0-9_+-]+:)/).map((s, i) => (i % 2 ? emojiChar(s.slice(1, -1)) : s));
}

function rich(e) {
  switch (e.type) {
    case "rich_text_list": {
      const items = (e.elements ?? []).map((item) => el("li", {}, rich(item)));
      return el(e.style === "ordered" ? "ol" : "ul", { class: "indent-" + Math.min(e.indent ?? 0, 4), start: e.offset ? e.offset + 1 : null }, items);
    }
    case "rich_text_quote":
      return el("blockquote", {}, (e.elements ?? []).map(leaf));
    case "rich_text_preformatted":
      return el("pre", {}, (e.elements ?? []).map(leaf));
  }
  return el("div", { class: "text" }, (e.elements ?? []).map(leaf));
}

const tags = { bold: "b", italic: "i", strike: "s", code: "code" };

function leaf(e) {
  let node = plainLeaf(e);
  for (const [style, tag] of Object.entries(tags)) if (e.style?.[style]) node = el(tag, {}, node);
  return node;
}

function plainLeaf(e) {
  switch (e.type) {
    case "text": return e.text ?? "";
    case "link": return linkTo(e.url ?? "", e.text);
    case "user": return userMention(e.user_id);
    case "usergroup": return groupMention(e.usergroup_id);
    case "channel": return channelMention(e.channel_id);
    case "broadcast": return broadcast(e.range);
    case "emoji": return emojiChar(e.name);
    case "date": return dateElement(e.timestamp, e.format ?? "", e.fallback);
    case "color": return e.value ?? "";
  }
  return "";
}
