// The box that people type into.

import { el, icon, post, setText } from "./dom.js";
import { channelName, nameOf, world } from "./world.js";

export const command = { name: "/zego-close", usage: "<roomId> [reason]", about: "Close a live room, after a confirmation" };

let count = 0;

// makeComposer makes the box of a channel or of a thread.
export function makeComposer({ inThread = false, onsent = () => {} } = {}) {
  const id = inThread ? "thread-composer" : "composer";
  const n = ++count;
  const hint = el("button", { type: "button", class: "suggestion", tabindex: "-1", hidden: true, onclick: complete },
    el("b", {}, command.name), " ", el("code", {}, command.usage), el("span", { class: "quiet" }, command.about), el("kbd", {}, "Tab"));
  const usage = el("p", { class: "usage", id: `usage-${n}`, "aria-live": "polite" });
  const error = el("p", { class: "error", id: `error-${n}`, role: "alert" });
  const box = el("textarea", { id, rows: "1", "aria-describedby": `usage-${n} error-${n}`, autocomplete: "off", spellcheck: "false", enterkeyhint: "send", oninput: changed, onkeydown: keyed });
  const send = el("button", { type: "button", class: "send", "aria-label": "Send", onclick: submit }, icon("send"));
  const label = el("label", { for: id, class: "sr" });

  function changed() {
    box.style.height = "auto";
    if (box.isConnected) box.style.height = Math.min(box.scrollHeight, 160) + "px";
    setText(error, "");
    const text = box.value;
    const typing = text.startsWith("/") && command.name.startsWith(text) && text !== command.name + " ";
    hint.hidden = !typing;
    const args = text.startsWith(command.name + " ") || text === command.name;
    setText(usage, inThread && text.startsWith("/") ? "Slash commands do not work in threads." : args ? `${command.name} ${command.usage}` : "");
    usage.hidden = usage.textContent === "";
    send.disabled = text.trim() === "";
    onchange();
  }

  function keyed(e) {
    if (e.key === "Tab" && !e.shiftKey && !hint.hidden) {
      e.preventDefault();
      complete();
    } else if (e.key === "Enter" && !e.shiftKey && !e.isComposing) {
      e.preventDefault();
      submit();
    } else if (e.key === "Escape" && !hint.hidden) {
      hint.hidden = true;
    }
  }

  function complete() {
    set(command.name + " ");
  }

  function set(text) {
    box.value = text;
    changed();
    box.focus();
    box.setSelectionRange(text.length, text.length);
  }

  async function submit() {
    const text = box.value;
    if (text.trim() === "") return;
    box.value = "";
    changed();
    try {
      const answer = await post("/type", { as: world.as, channel: world.channel, thread: inThread ? world.thread : "", text });
      if (answer.result === "refused") restore(text, answer.reason);
      onsent(text);
    } catch (err) {
      restore(text, err.message);
    }
  }

  // restore gives back what could not be sent, unless something new has been typed.
  function restore(text, why) {
    if (box.value === "") box.value = text;
    changed();
    setText(error, why);
  }

  let onchange = () => {};
  const composer = {
    element: el("div", { class: "composer" }, hint, el("div", { class: "box" }, label, box, send), usage, error),
    set,
    text: () => box.value,
    focus: () => box.focus(),
    onchange: (f) => (onchange = f),
    // place says where the next message goes.
    place() {
      const c = world.channels.get(world.channel);
      const where = inThread ? "Reply in the thread" : c?.kind === "im" ? "Message zegoclose" : `Message #${channelName(world.channel)}`;
      setText(label, `${where} as @${nameOf(world.as)}`);
      box.placeholder = inThread ? "Reply…" : `${where}, or type /`;
    },
    clear() {
      box.value = "";
      changed();
    },
  };
  changed();
  return composer;
}
