// What this page knows: people, channels, messages, and what is behind them.

const root = document.documentElement;

export const world = {
  as: root.dataset.as,
  born: root.dataset.born,
  channel: "",
  thread: "", // ts of the parent of the open thread
  people: new Map(),
  channels: new Map(),
  messages: new Map(), // by channel, by ts
  status: null,
  zego: null,
  journal: { total: 0, entries: [], cases: new Map() },
};

export const messagesOf = (channel) => {
  if (!world.messages.has(channel)) world.messages.set(channel, new Map());
  return world.messages.get(channel);
};

export const isReply = (m) => Boolean(m.thread) && m.thread !== m.ts;

// inChannel reports whether a message stands in the channel, not only in a thread.
export const inChannel = (m) => !isReply(m) || m.broadcast;

export function nameOf(id) {
  return world.people.get(id)?.name ?? id;
}

export function channelName(id) {
  const c = world.channels.get(id);
  if (!c) return "private-channel";
  return c.kind === "im" ? "zegoclose" : c.name;
}

// avatar is a square with an initial, in a colour of the person's own.
export function avatarClass(id) {
  let sum = 0;
  for (const c of id) sum = (sum * 31 + c.codePointAt(0)) % 997;
  return "avatar hue-" + (sum % 6);
}

export function setTitle() {
  const c = world.channels.get(world.channel);
  document.title = (c ? (c.kind === "im" ? "zegoclose" : "#" + c.name) + " · " : "") + "@" + nameOf(world.as) + " · zegoclose, a local workspace";
}
