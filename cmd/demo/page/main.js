// The page: a window of one person into the workspace.

import { byId, el, keyed, setText, toast } from "./dom.js";
import { choose, drawBehind, drawStories, prepare } from "./behind.js";
import { makeComposer } from "./composer.js";
import { Conversation, channelMark, channelMessages, describeChannel, forgetPresses, introduce, setThreadAbout, showsInChannel, showsInThread } from "./conversation.js";
import { inChannel, messagesOf, setTitle, world } from "./world.js";

const address = new URL(location.href);
world.channel = address.searchParams.get("in") ?? "C0LIVEOPS";
world.thread = address.searchParams.get("thread") ?? "";

const talk = new Conversation(byId("messages"), { shows: showsInChannel, openThread });
const thread = new Conversation(byId("replies"), { shows: showsInThread, inThread: true });
const composer = makeComposer({ onsent: () => byId("scroller").scrollTo(0, byId("scroller").scrollHeight) });
const threadComposer = makeComposer({ inThread: true });
byId("composer-place").append(composer.element);
byId("thread-composer-place").append(threadComposer.element);

const unread = new Map(); // by channel

// ---- where one is -----------------------------------------------------------------------

function remember() {
  const here = new URL(location.href);
  here.search = new URLSearchParams({ as: world.as, in: world.channel, ...(world.thread ? { thread: world.thread } : {}) });
  here.hash = "";
  history.replaceState(null, "", here);
}

function pane(name) {
  document.body.dataset.pane = name;
  for (const b of document.querySelectorAll(".panes button")) {
    if (b.dataset.to === name) b.setAttribute("aria-current", "true");
    else b.removeAttribute("aria-current");
  }
}

for (const b of document.querySelectorAll(".panes button")) b.addEventListener("click", () => pane(b.dataset.to));

function openChannel(id, thenThread = "") {
  world.channel = id;
  unread.delete(id);
  talk.fill(channelMessages());
  openThread(thenThread, false);
  drawChannels();
  composer.place();
  setTitle();
  pane("talk");
  const s = byId("scroller");
  s.scrollTop = s.scrollHeight;
}

function openThread(ts, focus = true) {
  world.thread = ts;
  const open = ts !== "" && messagesOf(world.channel).has(ts);
  if (!open) world.thread = "";
  byId("thread").hidden = !open;
  document.body.toggleAttribute("data-thread", open);
  thread.fill(open ? channelMessages() : []);
  setThreadAbout();
  threadComposer.clear();
  threadComposer.place();
  remember();
  guide();
  if (open && focus) byId("thread-close").focus();
}

byId("thread-close").addEventListener("click", () => {
  const ts = world.thread;
  openThread("");
  talk.items.get(ts)?.querySelector(".replies, .hover")?.focus();
});
document.addEventListener("keydown", (e) => {
  if (e.key === "Escape" && world.thread && byId("thread").contains(document.activeElement)) byId("thread-close").click();
});

// A link to a message of this workspace leads there.
document.addEventListener("click", (e) => {
  const link = e.target.closest?.("a[data-jump]");
  if (!link) return;
  e.preventDefault();
  const [channel, ts] = link.dataset.jump.split("/");
  if (!world.channels.has(channel)) return toast("You are not in that channel.");
  if (channel !== world.channel) openChannel(channel);
  if (!talk.show(ts)) {
    const m = messagesOf(channel).get(ts);
    if (m?.thread) openThread(m.thread);
    thread.show(ts);
  }
});

function drawChannels() {
  const all = [...world.channels.values()];
  const draw = (list, channels, label) =>
    keyed(byId(list), channels, (c) => c.id, (c) => [c.id === world.channel, unread.get(c.id) ?? 0, c.name, c.bot, c.shared], (c) => {
      const [mark, words] = channelMark(c);
      const n = unread.get(c.id) ?? 0;
      const note = [c.shared && "shared", !c.bot && "no bot"].filter(Boolean).join(", ");
      return el("li", {},
        el("button", { type: "button", class: n ? "unread" : "", "aria-current": c.id === world.channel ? "page" : null, onclick: () => openChannel(c.id) },
          el("span", { class: "mark", role: "img", "aria-label": words }, label ? "●" : mark), el("span", { class: "name" }, label ?? c.name),
          note && el("span", { class: "note" }, note), n > 0 && el("span", { class: "badge", "aria-label": `${n} new` }, String(n))));
    });
  draw("channels", all.filter((c) => c.kind !== "im"));
  draw("dms", all.filter((c) => c.kind === "im"), "zegoclose");
  const [name, about] = describeChannel(world.channels.get(world.channel));
  setText(byId("channel-name"), name);
  setText(byId("channel-about"), about);
  setText(byId("intro"), introduce(world.channels.get(world.channel)));
}

// ---- who one is -------------------------------------------------------------------------

byId("as").addEventListener("change", (e) => actAs(e.target.value));

function actAs(id) {
  if (id === world.as) return Promise.resolve();
  world.as = id;
  byId("as").value = id;
  return connect();
}

// ---- news -------------------------------------------------------------------------------

let source = null;
let arrived = null; // resolves the promise of connect

// connect begins to listen, as whoever one is, and returns when everything is here.
function connect() {
  source?.close();
  world.messages.clear();
  unread.clear();
  world.journal = { total: 0, entries: [], cases: new Map() };
  let fresh = true; // until everything is here
  const done = new Promise((resolve) => (arrived = resolve));
  source = new EventSource("/live?" + new URLSearchParams({ as: world.as, born: world.born }));
  const on = (name, f) => source.addEventListener(name, (e) => f(JSON.parse(e.data)));
  source.addEventListener("open", () => {
    document.body.removeAttribute("data-lost");
    fresh = true;
    world.journal = { total: 0, entries: [], cases: new Map() };
  });
  source.addEventListener("error", () => {
    document.body.setAttribute("data-lost", "");
    setText(byId("bot"), "Demo ended?");
    byId("bot").dataset.state = "gone";
  });
  on("people", (list) => (world.people = new Map(list.map((p) => [p.id, p]))));
  on("channels", (list) => {
    world.channels = new Map(list.map((c) => [c.id, c]));
    if (!world.channels.has(world.channel)) world.channel = list[0]?.id ?? "";
    if (!fresh) drawChannels();
  });
  on("messages", (list) => {
    for (const m of list ?? []) {
      const known = messagesOf(m.channel);
      const isNew = !known.has(m.ts);
      if (!isNew) forgetPressesIfChanged(known.get(m.ts), m);
      known.set(m.ts, m);
      if (fresh) continue;
      if (m.channel === world.channel) {
        talk.put(m);
        if (world.thread) thread.put(m);
      } else if (isNew && inChannel(m) && m.user !== world.as) {
        unread.set(m.channel, (unread.get(m.channel) ?? 0) + 1);
        drawChannels();
      }
    }
    if (fresh) return;
    if (world.thread) setThreadAbout();
    guide();
  });
  on("gone", (list) => {
    for (const { channel, ts } of list) {
      messagesOf(channel).delete(ts);
      if (channel === world.channel) {
        talk.drop(ts);
        thread.drop(ts);
      }
    }
  });
  on("zego", (z) => {
    world.zego = z;
    drawBehind();
    if (!fresh) guide();
  });
  on("journal", (news) => {
    const j = world.journal;
    j.total = news.total;
    j.entries = j.entries.concat(news.entries).slice(-400);
    for (const c of news.cases) j.cases.set(c.number, c);
    drawBehind();
    guide();
  });
  on("status", (s) => {
    world.status = s;
    drawBehind();
  });
  on("ready", () => {
    fresh = false;
    openChannel(world.channel, world.thread);
    document.body.setAttribute("data-ready", world.as);
    arrived();
  });
  return done;
}

function forgetPressesIfChanged(old, m) {
  if (JSON.stringify(old.blocks) !== JSON.stringify(m.blocks)) forgetPresses(m);
}

// ---- what to try first ------------------------------------------------------------------

const first = { text: "/zego-close live-42 spam links in chat" };
let guideDo = null;
let shownThread = false;

// guide says what to try first, one step after the other.
function guide() {
  const box = byId("guide");
  if (sessionStorage.getItem("guided") || world.channel !== "C0LIVEOPS") {
    box.hidden = true;
    return;
  }
  const cases = [...world.journal.cases.values()].filter((c) => c.requester === world.as);
  const ended = cases.find((c) => ["closed", "absent", "failed", "unknown", "cancelled", "expired"].includes(c.state));
  const pending = cases.find((c) => c.state === "pending");
  const card = channelMessages().findLast((m) => m.app && !m.private && m.blocks && inChannel(m));
  shownThread ||= Boolean(world.thread && ended);
  let say, label, act;
  if (shownThread) {
    [say, label, act] = ["That was it: asked, confirmed, and recorded for whoever asks later.", "More to try", () => {
      sessionStorage.setItem("guided", "1");
      openThread("");
      choose("tab-try", true);
      pane("behind");
      guide();
    }];
  } else if (ended && card) {
    [say, label, act] = ["Done. The thread under the card says what happened, for good.", "Open the thread", () => openThread(card.ts)];
  } else if (pending && card) {
    [say, label, act] = ["Read the card: which room, who is in it, what they will be told. Then press Close room.", "Show the card", () => {
      talk.show(card.ts);
      talk.items.get(card.ts)?.querySelector(".button")?.focus();
    }];
  } else if (cases.length > 0) {
    [say, label, act] = ["One moment…", "", null];
  } else if (composer.text() === first.text) {
    [say, label, act] = ["Now press Enter.", "", null];
  } else {
    const n = world.zego?.rooms.find((r) => r.id === "live-42")?.people ?? 0;
    [say, label, act] = [`Try it: there is spam in the room live-42, and ${n} people are watching. Close it.`, "Type the command for me", () => composer.set(first.text)];
  }
  box.hidden = false;
  setText(byId("guide-text"), say);
  byId("guide-do").hidden = !act;
  setText(byId("guide-do"), label);
  guideDo = act;
}

byId("guide-do").addEventListener("click", () => guideDo?.());
byId("guide-close").addEventListener("click", () => {
  sessionStorage.setItem("guided", "1");
  guide();
});
composer.onchange(guide);

// take carries out a step of a story.
async function take(step) {
  await prepare(step);
  if (!step.as) return;
  await actAs(step.as);
  sessionStorage.setItem("guided", "1");
  const channel = step.channel.startsWith("D") ? [...world.channels.values()].find((c) => c.kind === "im")?.id : step.channel;
  openChannel(channel ?? world.channel);
  if (step.text) composer.set(step.text);
  guide();
}

drawStories(take);
connect();
