// Elements are made here and nowhere else. Text is only ever text: nothing on this page
// turns a string into HTML, and its Content-Security-Policy would not let it.

// el makes an element. Props that begin with "on" are listeners, "class" and "data" are what
// they say, the rest are attributes; null and false leave one out.
export function el(tag, props = {}, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) e.addEventListener(name.slice(2), value);
    else if (name === "class") e.className = value;
    else if (name === "data") Object.assign(e.dataset, value);
    else e.setAttribute(name, value === true ? "" : value);
  }
  e.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false));
  return e;
}

// icon is a drawing that says nothing to those who cannot see it.
export const icon = (name) => el("span", { class: "icon icon-" + name, "aria-hidden": "true" });

export const byId = (id) => document.getElementById(id);

// setText changes an element only if it says something else, so that screen readers are not
// told the same thing twice.
export function setText(e, text) {
  if (e.textContent !== text) e.textContent = text;
}

const focusable = (e) => [...e.querySelectorAll("button, a, input, summary")];

// keyed brings the children of a list into line with items: one element for each, kept while
// its version stays the same. The focus stays where it is.
export function keyed(parent, items, keyOf, versionOf, make) {
  const old = new Map([...parent.children].map((e) => [e.dataset.key, e]));
  let at = parent.firstElementChild;
  for (const item of items) {
    const key = String(keyOf(item));
    const version = String(versionOf(item));
    let e = old.get(key);
    old.delete(key);
    if (e && e.dataset.version !== version) {
      const fresh = make(item);
      if (at === e) at = fresh;
      const focus = focusable(e).indexOf(document.activeElement);
      e.replaceWith(fresh);
      focusable(fresh)[focus]?.focus();
      e = fresh;
    } else if (!e) {
      e = make(item);
    }
    e.dataset.key = key;
    e.dataset.version = version;
    if (e === at) at = at.nextElementSibling;
    else parent.insertBefore(e, at);
  }
  for (const e of old.values()) e.remove();
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const clockSeconds = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const whole = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });

export const time = (t) => clock.format(t);
export const timeSeconds = (t) => clockSeconds.format(t);
export const dateAndTime = (t) => whole.format(t);

// tsTime is when a message was written, by its ts.
export const tsTime = (ts) => new Date(Number(ts) * 1000);

// post sends JSON to one of the page's own endpoints.
export async function post(path, body) {
  let answer;
  try {
    answer = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  } catch {
    throw new Error("The demo does not answer; has it been ended?");
  }
  if (!answer.ok) throw new Error((await answer.text()).trim());
  return answer.json();
}

let toastTimer;

// toast says something briefly, that belongs to no place.
export function toast(text) {
  const t = byId("toast");
  t.textContent = text;
  t.hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => (t.hidden = true), 6000);
}
