// Behind the scenes: what to try, ZEGO's rooms and calls, the journal, and what can be broken.

import { byId, el, keyed, post, setText, timeSeconds, toast } from "./dom.js";
import { stories } from "./stories.js";
import { nameOf, world } from "./world.js";

const safely = (f) => async (...args) => {
  try {
    return await f(...args);
  } catch (err) {
    toast(err.message);
  }
};

const send = safely(post);

// ---- tabs -------------------------------------------------------------------------------

const tabs = [...document.querySelectorAll('.tabs [role="tab"]')];

export function choose(id, focus = false) {
  for (const tab of tabs) {
    const on = tab.id === id;
    tab.setAttribute("aria-selected", String(on));
    tab.tabIndex = on ? 0 : -1;
    byId(tab.getAttribute("aria-controls")).hidden = !on;
    if (on && focus) tab.focus();
  }
  drawBehind();
}

for (const [i, tab] of tabs.entries()) {
  tab.addEventListener("click", () => choose(tab.id));
  tab.addEventListener("keydown", (e) => {
    const to = { ArrowRight: i + 1, ArrowLeft: i - 1, Home: 0, End: -1 }[e.key];
    if (to === undefined) return;
    e.preventDefault();
    choose(tabs.at(to % tabs.length).id, true);
  });
}

const isOpen = (id) => !byId(id).hidden;

// ---- what to try ------------------------------------------------------------------------

// drawStories makes the list; take carries out a step.
export function drawStories(take) {
  byId("panel-try").append(
    el("p", { class: "lead" }, "Each sets itself up and puts the command into the message box; you press Enter. Everything happens on this machine."),
    el("ol", { class: "stories" }, stories.map((s) =>
      el("li", {}, el("h3", {}, s.title), el("p", {}, s.about),
        el("p", { class: "steps" },
          s.steps.map((step) => el("button", { type: "button", class: "small", "aria-label": `${step.label}: ${s.title}`, onclick: () => take(step) }, step.label)),
          s.link && el("a", { href: s.link.href, target: "_blank", rel: "noopener" }, s.link.label))))));
}

// prepare makes the world as a step needs it.
export const prepare = safely(async (step) => {
  for (const r of step.rooms ?? []) await post("/room", r);
  if (step.text || "zego" in step) await post("/fault", { what: "zego", how: step.zego ?? "" });
  if (step.text || "limit" in step) await post("/fault", { what: "limit", on: step.limit ?? false });
  if (step.bot) await post("/bot", { do: step.bot });
  const now = world.status?.bot.settings ?? {};
  const wanted = { audit: false, brief: false, ...step.settings };
  if (step.text && (now.audit !== wanted.audit || now.brief !== wanted.brief)) await post("/bot", { do: "restart", set: wanted });
});

// ---- ZEGO -------------------------------------------------------------------------------

const zego = {};

function makeZego() {
  zego.rooms = el("ul", { class: "rooms" });
  zego.queue = el("ol", { class: "queue" });
  zego.closed = el("ul", { class: "closed" });
  zego.calls = el("tbody");
  const name = el("input", { type: "text", id: "room-name", maxlength: "128", placeholder: "live-45", autocomplete: "off", spellcheck: "false" });
  const open = () => {
    if (name.value !== "") send("/room", { room: name.value, in: ["una", "vic", "wim"] });
    name.value = "";
  };
  name.addEventListener("keydown", (e) => e.key === "Enter" && open());
  byId("panel-zego").append(
    el("h3", {}, "Rooms"), zego.rooms,
    el("p", { class: "row" }, el("label", { for: "room-name" }, "Open a room"), name, el("button", { type: "button", class: "small", onclick: open }, "Open")),
    el("h3", {}, "CloseRoom queue"), zego.queue,
    el("h3", {}, "Thrown out"), zego.closed,
    el("h3", {}, "API calls ", (zego.total = el("span", { class: "quiet" }))),
    el("div", { class: "wide", tabindex: "0", role: "region", "aria-label": "API calls" },
      el("table", { class: "calls" }, el("thead", {}, el("tr", {}, ["Time", "Action", "Room", "Answer"].map((h) => el("th", { scope: "col" }, h)))), zego.calls)));
}

const people = (n) => (n === 1 ? "1 person" : `${n} people`);
const someNames = (names, n) => names.join(", ") + (n > names.length ? ` and ${n - names.length} more` : "");

function drawZego() {
  const z = world.zego;
  if (!z) return;
  setText(byId("zego-count"), String(z.rooms.length));
  if (!isOpen("panel-zego")) return;
  keyed(zego.rooms, z.rooms, (r) => r.id, (r) => JSON.stringify(r), (r) =>
    el("li", {},
      el("code", {}, r.id), el("b", { class: "heads" }, people(r.people)),
      el("span", { class: "plusminus" },
        el("button", { type: "button", class: "small", "aria-label": `Somebody leaves ${r.id}`, onclick: () => send("/room", { room: r.id, some: -1 }) }, "−"),
        el("button", { type: "button", class: "small", "aria-label": `Somebody enters ${r.id}`, onclick: () => send("/room", { room: r.id, some: 1 }) }, "+")),
      el("span", { class: "quiet names" }, someNames(r.names, r.people), r.service ? `, and ${r.service === 1 ? "a recorder" : r.service + " recorders"}` : "")));
  if (z.rooms.length === 0) keyed(zego.rooms, [0], () => "none", () => 0, () => el("li", { class: "quiet" }, "There is no room."));

  const waiting = [...world.journal.cases.values()].filter((c) => c.state === "confirmed" || c.state === "closing").sort((a, b) => a.turn - b.turn);
  keyed(zego.queue, waiting, (c) => c.number, (c) => c.state + c.last, (c) =>
    el("li", {}, el("b", {}, `#${c.number}`), " ", el("code", {}, c.room), el("span", { class: "state " + c.state }, c.state === "closing" ? "at ZEGO" : "waits")));
  if (waiting.length === 0) keyed(zego.queue, [0], () => "none", () => 0, () => el("li", { class: "quiet" }, "Nothing waits."));

  keyed(zego.closed, z.closed.toReversed(), (x) => x.time + x.room, () => 0, (x) =>
    el("li", {}, el("time", { datetime: x.time }, timeSeconds(new Date(x.time))), " ", el("b", {}, people(x.people)), " thrown out of ", el("code", {}, x.room),
      el("span", { class: "quiet names" }, someNames(x.names, x.people)),
      x.reason ? el("q", { class: "saw" }, x.reason) : el("span", { class: "quiet names" }, "They saw no reason.")));
  if (z.closed.length === 0) keyed(zego.closed, [0], () => "none", () => 0, () => el("li", { class: "quiet" }, "Nobody so far."));

  setText(zego.total, String(z.total));
  keyed(zego.calls, z.calls.toReversed(), (c) => c.n, (c) => [c.code, c.executed], (c) => {
    const answer = c.code >= 0 ? `code ${c.code}` : c.fault ? "no answer" : "…";
    return el("tr", { class: c.action === "CloseRoom" ? "close" : "" },
      el("td", {}, timeSeconds(new Date(c.time))), el("td", {}, c.action), el("td", {}, el("code", { title: c.room }, c.room)),
      el("td", {}, answer, c.action === "CloseRoom" && c.executed && el("span", { class: "did" }, " done"), c.fault && el("span", { class: "fault" }, ` (${c.fault})`)));
  });
}

// ---- the journal ------------------------------------------------------------------------

const book = {};

function makeJournal() {
  book.cases = el("tbody");
  book.entries = el("ol", { class: "entries", reversed: true });
  book.chain = el("p", { class: "chain", role: "status" });
  byId("panel-journal").append(
    el("h3", {}, "Cases"),
    el("div", { class: "wide", tabindex: "0", role: "region", "aria-label": "Cases" },
      el("table", { class: "cases" }, el("thead", {}, el("tr", {}, ["Case", "Room", "State", "Asked by"].map((h) => el("th", { scope: "col" }, h)))), book.cases)),
    el("h3", {}, "Entries"), book.chain, book.entries);
}

// Bounds of what is drawn; all of it is in the file.
const maxEntries = 150;
const maxCases = 60;

function drawJournal() {
  const j = world.journal;
  setText(byId("journal-count"), String(j.total));
  if (!isOpen("panel-journal")) return;
  const cases = [...j.cases.values()].sort((a, b) => b.number - a.number).slice(0, maxCases);
  keyed(book.cases, cases, (c) => c.number, (c) => c.last, (c) =>
    el("tr", {}, el("td", {}, el("b", {}, `#${c.number}`)), el("td", {}, el("code", { title: c.room }, c.room)), el("td", {}, el("span", { class: "state " + c.state }, c.state)), el("td", {}, "@" + nameOf(c.requester))));
  const wrong = j.entries.filter((e) => e.wrong);
  setText(book.chain, wrong.length ? `✗ ${wrong[0].wrong}` : j.total ? `✓ ${j.total} entries, the chain of hashes is unbroken.` : "The journal is empty.");
  book.chain.classList.toggle("bad", wrong.length > 0);
  keyed(book.entries, j.entries.slice(-maxEntries).reverse(), (e) => e.number, () => 0, entry);
}

function entry(e) {
  const at = new Date(e.time);
  return el("li", { value: String(e.number), class: e.wrong ? "bad" : "" },
    el("details", {},
      el("summary", {},
        el("span", { class: "n" }, String(e.number)), el("span", { class: "kind" }, el("b", {}, e.kind), e.case ? ` #${e.case}` : ""),
        el("time", { datetime: e.time }, timeSeconds(at)), el("code", { class: "hash", title: e.hash }, e.hash.slice(0, 8)),
        gist(e) && el("span", { class: "what" }, gist(e))),
      el("pre", { tabindex: "0" }, JSON.stringify(e.facts, null, 2)),
      el("p", { class: "hashes" }, "before ", el("code", {}, e.prev || "–"), el("br"), "this ", el("code", {}, e.hash)),
      e.wrong && el("p", { class: "bad" }, e.wrong)));
}

// gist is what an entry says, in a few words.
function gist(e) {
  const f = e.facts;
  switch (e.kind) {
    case "requested": return `${f.room} by @${nameOf(f.by)}`;
    case "refused": return `@${nameOf(f.by)}: ${f.why}`;
    case "offered": return f.people === undefined ? "" : `${people(f.people)} in the room`;
    case "confirmed": case "cancelled": return f.by ? `by @${nameOf(f.by)}` : (f.detail ?? "");
    case "attempted": return `call ${f.call}`;
    case "answered": return f.code === undefined ? f.effect : `code ${f.code}, ${f.effect}`;
    case "looked": return f.people === undefined ? (f.missing ?? "") : people(f.people);
    case "ended": return f.outcome;
    case "opened": return f.journal ? `journal ${f.journal.slice(0, 8)}` : "";
  }
  return f.detail ?? "";
}

// ---- what can be broken -----------------------------------------------------------------

const zegoWays = [
  ["", "As usual", ""],
  ["slow", "Slow", "answers after 3 seconds"],
  ["late", "Too late", "answers after 8 seconds; the bot waits for 5"],
  ["refuses", "Refuses", "code 9, nothing is closed"],
  ["lost", "Answer lost", "closes the room; the connection breaks"],
  ["dropped", "Call lost", "closes nothing; the connection breaks"],
  ["down", "Out of reach", "no connection at all"],
];

const broken = {};

function makeBreak() {
  broken.zego = new Map();
  const ways = zegoWays.map(([how, label, about]) => {
    const radio = el("input", { type: "radio", name: "zego", value: how, onchange: () => send("/fault", { what: "zego", how }) });
    broken.zego.set(how, radio);
    return el("label", { class: "option" }, radio, el("span", {}, el("b", {}, label), " ", about && el("span", { class: "quiet" }, about)));
  });
  const toggle = (label, about, change) => {
    const box = el("input", { type: "checkbox", role: "switch", onchange: () => change(box.checked) });
    return [box, el("label", { class: "option" }, box, el("span", {}, el("b", {}, label), " ", el("span", { class: "quiet" }, about)))];
  };
  const [limit, limitLabel] = toggle("Refuses posts", "429, again and again, until this is off", (on) => send("/fault", { what: "limit", on }));
  const [journal, journalLabel] = toggle("Cannot be written", "another program holds its lock", (on) => send("/fault", { what: "journal", on }));
  const [audit, auditLabel] = toggle("All cards to #zego-audit", "AUDIT_CHANNEL; restarts the bot", () => set());
  const [brief, briefLabel] = toggle("Cards expire after 10 seconds", "CONFIRM_TIMEOUT; restarts the bot", () => set());
  const set = () => send("/bot", { do: "restart", set: { audit: audit.checked, brief: brief.checked } });
  const act = (label, f) => el("button", { type: "button", class: "small", onclick: f }, label);
  Object.assign(broken, { limit, journal, audit, brief });
  broken.sockets = el("p", { class: "sockets quiet", role: "status" });
  broken.bot = el("p", { class: "quiet", role: "status" });
  broken.start = act("Start", () => send("/bot", { do: "start" }));
  broken.restart = act("Restart, as a deploy does", () => send("/bot", { do: "restart" }));
  broken.kill = act("Kill (SIGKILL)", () => send("/bot", { do: "kill" }));
  broken.mistakes = el("ul", { class: "mistakes" });
  byId("panel-break").append(
    el("fieldset", {}, el("legend", {}, "ZEGO, for every CloseRoom"), ways),
    el("fieldset", {}, el("legend", {}, "Slack"), limitLabel,
      broken.sockets,
      el("p", { class: "steps" }, act("Rotate the sockets", () => send("/fault", { what: "rotate" })), act("Cut the sockets", () => send("/fault", { what: "cut" })))),
    el("fieldset", {}, el("legend", {}, "The bot"), broken.bot, el("p", { class: "steps" }, broken.start, broken.restart, broken.kill), auditLabel, briefLabel),
    el("fieldset", {}, el("legend", {}, "The journal"), journalLabel),
    el("h3", {}, "Rules of Slack or ZEGO that the bot broke"), broken.mistakes);
}

function drawBreak() {
  const s = world.status;
  if (!s) return;
  const words = { running: "Bot running", starting: "Bot starting", stopping: "Bot stopping", gone: "No bot" };
  const pill = byId("bot");
  pill.dataset.state = s.bot.state;
  pill.dataset.starts = s.bot.starts;
  setText(pill, words[s.bot.state] ?? s.bot.state);
  const count = Number(s.trouble.zego !== "") + Number(s.trouble.limit) + Number(s.trouble.journal) + Number(s.bot.state === "gone");
  setText(byId("break-count"), count ? String(count) : "");

  for (const [how, radio] of broken.zego) radio.checked = how === s.trouble.zego;
  broken.limit.checked = s.trouble.limit;
  broken.journal.checked = s.trouble.journal;
  broken.audit.checked = s.bot.settings.audit;
  broken.brief.checked = s.bot.settings.brief;
  setText(broken.sockets, s.sockets.length === 0 ? "No socket is open." : "Sockets: " + s.sockets.map((c) => `${c.id} ${c.told ? "told to go" : c.live ? "open" : "closing"}`).join(", ") + ".");
  setText(broken.bot, s.bot.problem ?? { running: "It runs.", starting: "It is starting.", stopping: "It finishes what it has in hand.", gone: "It does not run: commands fail, buttons show Slack's warning sign." }[s.bot.state]);
  const busy = s.bot.state === "starting" || s.bot.state === "stopping";
  broken.start.disabled = busy || s.bot.state === "running";
  broken.restart.disabled = broken.kill.disabled = busy || s.bot.state === "gone";
  keyed(broken.mistakes, s.mistakes.length ? s.mistakes : ["None."], (m) => m, () => 0, (m) => el("li", {}, m));
}

// ---- all of it --------------------------------------------------------------------------

let due = false;

// drawBehind draws what has changed, once in a while: it must not delay a message.
export function drawBehind() {
  if (due) return;
  due = true;
  setTimeout(() => {
    due = false;
    drawZego();
    drawJournal();
    drawBreak();
  }, 40);
}

makeZego();
makeJournal();
makeBreak();
