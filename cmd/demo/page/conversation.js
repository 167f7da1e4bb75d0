// The messages of a channel or of a thread, as one person sees them.

import { byId, dateAndTime, el, icon, post, setText, time, toast, tsTime } from "./dom.js";
import { draw, textObject } from "./blocks.js";
import { mrkdwn } from "./text.js";
import { avatarClass, inChannel, messagesOf, nameOf, world } from "./world.js";

const whenIdle = window.requestIdleCallback ?? ((f) => setTimeout(f, 10));

// How many messages are drawn at once. A channel's newest come first; older ones follow while
// nothing else is to do.
const batch = 150;

// A Conversation is a list of messages on the page. It holds no more than it shows, and puts
// each message where it belongs by its ts.
export class Conversation {
  constructor(list, options) {
    this.list = list;
    this.options = options; // shows(message), openThread(ts), inThread
    this.items = new Map(); // by ts
    this.older = []; // messages that are still to be drawn, oldest first
  }

  // fill shows these messages and no others.
  fill(messages) {
    this.older = messages.filter((m) => this.options.shows(m)).sort((a, b) => (a.ts < b.ts ? -1 : 1));
    this.items.clear();
    this.list.setAttribute("aria-live", "off"); // what was there before is no news
    this.list.replaceChildren();
    this.drawOlder();
    requestAnimationFrame(() => this.list.setAttribute("aria-live", "polite"));
  }

  // drawOlder draws the newest of those that are still to be drawn, above the others.
  drawOlder() {
    const some = this.older.splice(-batch);
    const fragment = document.createDocumentFragment();
    let last = null;
    for (const { channel, ts } of some) {
      const m = messagesOf(channel).get(ts); // as it is by now
      if (!m || !this.options.shows(m)) continue;
      last = this.draw(m, last);
      this.items.set(ts, last);
      fragment.append(last);
    }
    this.list.prepend(fragment);
    if (this.older.length > 0) {
      const rest = this.older;
      whenIdle(() => this.older === rest && this.drawOlder());
    }
  }

  // put shows one message, new or changed.
  put(m) {
    const old = this.items.get(m.ts);
    if (!this.options.shows(m)) {
      this.drop(m.ts);
      return;
    }
    if (old) {
      const focused = old.contains(document.activeElement) ? document.activeElement.dataset.focus : null;
      const item = this.draw(m, old.previousElementSibling);
      this.items.set(m.ts, item);
      old.replaceWith(item);
      if (focused) (item.querySelector(`[data-focus="${focused}"]`) ?? item.querySelector("button"))?.focus();
      return;
    }
    if (m.ts <= this.older.at(-1)?.ts) return; // its time will come
    let next = null;
    let last = this.list.lastElementChild;
    while (last && last.dataset.ts > m.ts) {
      next = last;
      last = last.previousElementSibling;
    }
    const item = this.draw(m, last);
    this.items.set(m.ts, item);
    this.list.insertBefore(item, next);
    if (next) {
      const after = messagesOf(m.channel).get(next.dataset.ts);
      if (after) this.put(after); // it may stand below somebody else now
    }
  }

  drop(ts) {
    this.items.get(ts)?.remove();
    this.items.delete(ts);
  }

  // show brings a message into view and lights it up.
  show(ts) {
    while (this.older.length > 0) this.drawOlder();
    const item = this.items.get(ts);
    if (!item) return false;
    item.scrollIntoView({ block: "center" });
    item.classList.remove("lit");
    void item.offsetWidth; // so that the light goes on again
    item.classList.add("lit");
    return true;
  }

  draw(m, previous) {
    const at = tsTime(m.ts);
    const first = this.options.inThread && previous?.dataset.ts === world.thread; // of the replies
    const again = previous && !first && previous.dataset.user === m.user && !m.private && !previous.dataset.private && tsTime(m.ts) - tsTime(previous.dataset.ts) < 120000;
    const body = m.deleted
      ? el("div", { class: "text quiet" }, "This message was deleted.")
      : m.blocks?.length
        ? draw(m.blocks, (e, b) => pressable(e, b, m))
        : el("div", { class: "block text" }, mrkdwn(m.text ?? ""));
    const name = nameOf(m.user);
    const app = m.app || m.user === "USLACKBOT";
    return el("li",
      { class: ["message", again ? "again" : "", first ? "first" : "", m.private ? "private" : "", app ? "app" : ""].join(" "), data: { ts: m.ts, user: m.user, ...(m.private ? { private: "1" } : {}) } },
      m.private && el("p", { class: "only" }, icon("eye"), "Only visible to you"),
      el("span", { class: avatarClass(m.user) + (m.app ? " bot" : ""), "aria-hidden": "true" }, m.app ? "Z" : name.slice(0, 1).toUpperCase()),
      el("div", { class: "body" },
        el("p", { class: "by" },
          el("b", { class: "name" }, name),
          app && el("span", { class: "badge" }, "APP"),
          el("time", { datetime: at.toISOString(), title: dateAndTime(at) }, time(at))),
        body,
        m.edited && el("span", { class: "quiet edited" }, "(edited)"),
        !this.options.inThread && m.replies > 0 && this.replies(m)),
      !this.options.inThread && !m.private && !(m.replies > 0) &&
        el("button", { type: "button", class: "hover quiet", "aria-label": `Reply in thread to ${name}, ${time(at)}`, title: "Reply in thread", onclick: () => this.options.openThread(m.ts) }, icon("reply")));
  }

  replies(m) {
    const n = m.replies === 1 ? "1 reply" : `${m.replies} replies`;
    return el("button", { type: "button", class: "replies", data: { focus: "replies" }, onclick: () => this.options.openThread(m.ts) },
      (m.repliers ?? []).map((id) => el("span", { class: avatarClass(id) + " tiny" + (world.people.get(id)?.app ? " bot" : ""), "aria-hidden": "true" }, world.people.get(id)?.app ? "Z" : nameOf(id).slice(0, 1).toUpperCase())),
      el("b", {}, n), m.lastReply && el("span", { class: "quiet" }, "last at ", time(tsTime(m.lastReply))));
  }
}

// What became of presses of buttons on the messages as they are now: "busy" or "warned".
const presses = new Map();
const pressKey = (m, b, e) => [m.channel, m.ts, b.block_id, e.action_id].join(" ");

// forgetPresses forgets what was pressed on a message: it has changed, its buttons are new.
export function forgetPresses(m) {
  for (const key of presses.keys()) if (key.startsWith(`${m.channel} ${m.ts} `)) presses.delete(key);
}

// pressable makes a button that works.
function pressable(e, b, m) {
  const key = pressKey(m, b, e);
  const warning = el("span", { class: "warning", role: "img", "aria-label": "This did not work: the app did not answer. Try again.", title: "The app did not answer. Try again.", hidden: true }, el("img", { src: "/page/icons/warning.svg", alt: "", width: "22", height: "22" }));
  const button = el("button", {
    type: "button", class: "button" + (e.style ? " " + e.style : ""), "aria-label": e.accessibility_label,
    data: { action: e.action_id, focus: e.action_id },
  }, el("span", { class: "label" }, textObject(e.text)), el("span", { class: "spinner", "aria-hidden": "true" }));
  const show = () => {
    const state = presses.get(key);
    button.toggleAttribute("data-busy", state === "busy");
    button.setAttribute("aria-busy", String(state === "busy"));
    warning.hidden = state !== "warned";
  };
  button.addEventListener("click", async () => {
    if (presses.get(key) === "busy") return;
    presses.set(key, "busy");
    show();
    let state = "warned";
    try {
      const answer = await post("/click", { as: world.as, channel: m.channel, ts: m.ts, block: b.block_id ?? "", action: e.action_id, value: e.value ?? "" });
      if (answer.result === "acked") state = null;
    } catch (err) {
      toast(err.message);
    }
    if (presses.get(key) !== "busy") return;
    if (state) presses.set(key, state);
    else presses.delete(key);
    show();
  });
  show();
  return el("span", { class: "pressable" }, button, warning);
}

// describeChannel is what stands above a conversation.
export function describeChannel(c) {
  if (!c) return ["", ""];
  if (c.kind === "im") return ["zegoclose", "direct messages with the app"];
  const words = [c.kind === "private" ? "private" : "public"];
  if (c.shared) words.push("shared with another company");
  words.push(c.bot ? "the bot is in it" : "the bot is not in it");
  if (c.id === "C0AUDIT") words.push("cards go here if the bot is set so");
  return ["#" + c.name, words.join(" · ")];
}

// introduce is what stands above the first message.
export function introduce(c) {
  if (!c) return "";
  if (c.kind === "im") return "Direct messages between you and the app. It answers commands here, and writes when a channel would not take its message.";
  if (c.shared) return `#${c.name} is shared with another company, whose people see every card in it.`;
  if (!c.bot) return `This is where #${c.name} begins. The bot has not been invited.`;
  if (c.kind === "private") return `This is where #${c.name} begins. It is private; the bot has been invited.`;
  return `This is where #${c.name} begins. Whoever reads it reads the record: each card is one request, and its thread says what became of it.`;
}

// channelMark says what sort of channel c is, for the list.
export function channelMark(c) {
  if (c.kind === "private") return [icon("lock"), "private"];
  return ["#", "public"];
}

export const channelMessages = () => [...messagesOf(world.channel).values()];
export const showsInChannel = (m) => m.channel === world.channel && inChannel(m);
export const showsInThread = (m) => m.channel === world.channel && world.thread !== "" && (m.ts === world.thread || m.thread === world.thread);

export function setThreadAbout() {
  const n = channelMessages().filter((m) => m.thread === world.thread && m.ts !== world.thread).length;
  setText(byId("thread-about"), n === 1 ? "1 reply" : `${n} replies`);
}
