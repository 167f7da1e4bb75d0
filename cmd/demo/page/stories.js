// What can be tried, and what must be there for it. A step is what one press sets up: who
// acts, where, what stands in the composer, who is in which room, and what is broken.

const inOps = (text, more = {}) => ({ as: "U0ALICE", channel: "C0LIVEOPS", text, ...more });

export const stories = [
  {
    title: "A moderator closes a room",
    about: "There is spam in live-42. Ask, read the card, confirm; everyone in the room is thrown out and sees the reason.",
    steps: [inOps("/zego-close live-42 spam links in chat", { label: "Set it up", rooms: [{ room: "live-42", in: ["ann", "ben", "cat"] }] })],
  },
  {
    title: "Second thoughts",
    about: "The wrong room: the card shows it before anything happens. Press Cancel.",
    steps: [inOps("/zego-close live-24 spam links in chat", { label: "Set it up", rooms: [{ room: "live-24", in: ["dan", "eve"] }] })],
  },
  {
    title: "A room that does not exist",
    about: "A mistyped id. ZEGO has no such room, and nobody claims that one was closed.",
    steps: [inOps("/zego-close live-4Z spam links in chat", { label: "Set it up" })],
  },
  {
    title: "Strangers",
    about: "@mallory may not close rooms; neither may @guest, who is from another company and sees a card in the shared channel. @bob may, but this is not his request: he can only cancel it. Each is told why.",
    steps: [
      { label: "1. @mallory asks", as: "U0MALLORY", channel: "C0LIVEOPS", text: "/zego-close live-43 because I can" },
      { label: "2. @alice asks", as: "U0ALICE", channel: "C0PARTNER", text: "/zego-close live-43 insults" },
      { label: "3. @guest looks", as: "U0GUEST", channel: "C0PARTNER" },
      { label: "4. @bob looks", as: "U0BOB", channel: "C0PARTNER" },
    ],
  },
  {
    title: "Two moderators, one room",
    about: "Both ask for live-60 and both confirm, while ZEGO takes its time. Its people come back at once, but are not thrown out twice for one complaint.",
    steps: [
      inOps("/zego-close live-60 fake giveaway", { label: "1. As @alice", rooms: [{ room: "live-60", in: ["jon", "kim", "lea"], back: true }], zego: "slow" }),
      { label: "2. As @bob", as: "U0BOB", channel: "C0LIVEOPS", text: "/zego-close live-60 fraud", zego: "slow" },
    ],
    link: { label: "A second window, as @bob", href: "/?as=U0BOB&in=C0LIVEOPS" },
  },
  {
    title: "ZEGO's answer is lost",
    about: "The connection breaks before the answer. The bot neither guesses nor calls again: it looks who is in the room, says so, and offers Try again. Repair ZEGO before you do.",
    steps: [
      inOps("/zego-close live-70 violence", { label: "Set it up", rooms: [{ room: "live-70", in: ["max", "nia"] }], zego: "dropped" }),
      { label: "Repair ZEGO", zego: "" },
    ],
  },
  {
    title: "The bot is killed between click and result",
    about: "ZEGO is slow. Press Close room, then kill the bot before the answer arrives, and start it again: it does not call a second time, and says what it does not know.",
    steps: [
      inOps("/zego-close live-80 stolen stream", { label: "1. Set it up", rooms: [{ room: "live-80", in: ["ola", "pia"] }], zego: "slow" }),
      { label: "2. Kill the bot", bot: "kill" },
      { label: "3. Start it again", bot: "start", zego: "" },
    ],
  },
  {
    title: "Slack asks the bot to slow down",
    about: "Slack answers every post with 429. The card and the result wait, nothing is lost, and the room is closed all the same.",
    steps: [
      inOps("/zego-close live-90 spam links in chat", { label: "Set it up", rooms: [{ room: "live-90", in: ["ron", "sue"] }], limit: true }),
      { label: "Let posts through", limit: false },
    ],
  },
  {
    title: "Nobody confirms",
    about: "A card does not wait for ever. The bot is restarted with ten seconds instead of five minutes; then do nothing.",
    steps: [inOps("/zego-close live-30 copyrighted music", { label: "Set it up", rooms: [{ room: "live-30", in: ["fay", "gil"] }], settings: { brief: true } })],
  },
  {
    title: "Text that pretends to be more",
    about: "This room id and this reason look like Slack's own markup. They are shown as the text they are, ping nobody, and reach ZEGO byte for byte.",
    steps: [inOps("/zego-close <!channel> *bold* & @channel <@U0BOB> <https://example.com|a link>", { label: "Set it up", rooms: [{ room: "<!channel>", in: ["tom"] }] })],
  },
  {
    title: "Where cards go",
    about: "#random has no bot in it: the sender is told how to change that. In a direct message nobody could review: refused. Or let all cards go to #zego-audit.",
    steps: [
      inOps("/zego-close live-44 spam", { label: "#random", channel: "C0RANDOM" }),
      inOps("/zego-close live-44 spam", { label: "Direct message", channel: "D00ALICE" }),
      inOps("/zego-close live-44 spam", { label: "Audit channel", settings: { audit: true } }),
    ],
  },
];
