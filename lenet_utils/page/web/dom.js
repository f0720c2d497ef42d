// Small helpers for building the page. Text only ever goes in as text, never as markup.

/** A new element: make("button", {class: "wide", onclick: f}, "text", otherElement). */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  setAttributes(element, attributes);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** The same for a piece of SVG. */
export function makeSvg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  setAttributes(element, attributes);
  element.append(...children);
  return element;
}

function setAttributes(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element[name] = value;
    else if (value === false || value === null || value === undefined) element.removeAttribute(name);
    else element.setAttribute(name, value === true ? "" : value);
  }
}

export function find(id) {
  return document.getElementById(id);
}

/** New content for `element`; the focus and what was scrolled stay on what bears the same data-key. */
export function refill(element, ...children) {
  const key = element.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  const scrolled = [...element.querySelectorAll("[data-key]")]
    .map((box) => [box.dataset.key, box.scrollLeft, box.scrollTop])
    .filter(([, left, top]) => left || top);
  element.replaceChildren(...children.filter((child) => child !== null && child !== undefined));
  const bearing = (name) => element.querySelector(`[data-key="${CSS.escape(name)}"]`);
  if (key) bearing(key)?.focus({ preventScroll: true });
  for (const [name, left, top] of scrolled) bearing(name)?.scrollTo(left, top);
}

/** Whether a key is the browser's: Alt and an arrow leads back, Ctrl and Home to the top. */
export function forBrowser(event) {
  return event.ctrlKey || event.altKey || event.metaKey;
}

/** One tab stop for a group of buttons; arrow keys, Home and End move between them. */
export function rove(group, selector, onMove = () => {}) {
  group.addEventListener("keydown", (event) => {
    const items = [...group.querySelectorAll(selector)];
    const now = items.indexOf(event.target.closest(selector));
    const next = {
      ArrowRight: now + 1,
      ArrowDown: now + 1,
      ArrowLeft: now - 1,
      ArrowUp: now - 1,
      Home: 0,
      End: items.length - 1,
    }[event.key];
    if (now < 0 || next === undefined || forBrowser(event)) return;
    event.preventDefault();
    const item = items[(next + items.length) % items.length];
    item.focus();
    onMove(item);
  });
}

/** Buttons of which one is on: choices = [[value, label], ...]. */
export function segmented(label, choices, current, choose) {
  const group = make("div", { class: "segmented", role: "radiogroup", "aria-label": label });
  const active = choices.some(([value]) => value === current) ? current : null;
  const key = choices.map(([value]) => value).join(); // not the label, which is another in another language
  choices.forEach(([value, text], i) => {
    group.append(
      make(
        "button",
        {
          type: "button",
          role: "radio",
          "aria-checked": String(value === active),
          "data-key": `${key} ${value}`,
          tabindex: value === active || (active === null && i === 0) ? "0" : "-1",
          onclick: () => choose(value),
        },
        text,
      ),
    );
  });
  rove(group, "button", (item) => item.click());
  return group;
}

export function prefersStillness() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}
