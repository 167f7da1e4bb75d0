// The emoji that the bot, Slack's own messages and the simulator know by name.
export const emoji = {
  grinning: "😀", joy: "😂", slightly_smiling_face: "🙂", wink: "😉", heart_eyes: "😍", cry: "😢", rage: "😡",
  "+1": "👍", "-1": "👎", clap: "👏", pray: "🙏", eyes: "👀", tada: "🎉", fire: "🔥", rocket: "🚀", skull: "💀",
  white_check_mark: "✅", x: "❌", warning: "⚠️", no_entry: "⛔", no_entry_sign: "🚫",
  question: "❓", exclamation: "❗", hourglass_flowing_sand: "⏳", hourglass: "⌛", stopwatch: "⏱️", alarm_clock: "⏰",
  lock: "🔒", unlock: "🔓", bell: "🔔", memo: "📝", clipboard: "📋", wastebasket: "🗑️", octagonal_sign: "🛑",
  large_green_circle: "🟢", large_yellow_circle: "🟡", red_circle: "🔴", white_circle: "⚪", heart: "❤️", star: "⭐",
  poop: "💩", robot_face: "🤖", wave: "👋", speech_balloon: "💬",
};

// Those that the bot uses are drawn by the page, so that they look the same everywhere.
export const drawn = new Set(["white_check_mark", "x", "warning", "white_circle", "no_entry_sign", "hourglass", "hourglass_flowing_sand"]);
