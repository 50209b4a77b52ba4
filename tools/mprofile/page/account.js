// SPDX-License-Identifier: MIT
// The account of the process's size as a bar, and what was lost: what stands beside every figure.

import { bytesAndError, shareText } from "./units.js";

const WORTH = 0.002;

const NAMES = {
  python: "live Python", native: "live native", free: "free in allocators", files: "files", shared: "shared memory",
  profiler: "the profiler",
};

function text(tag, kind, words) {
  const made = document.createElement(tag);
  made.className = `part-${kind}`;
  made.textContent = words;
  return made;
}

// The panel's elements: verdict, bar, legend (by kind), parts (each item).
export function showAccount(data, { panel, verdict, bar, legend, parts }) {
  const { account } = data;
  if (!account) {
    panel.hidden = true;
    return;
  }
  const sums = new Map();
  const kindOf = (item) => (NAMES[account.classes[item.key]] ? account.classes[item.key] : "rest");
  const order = [...Object.keys(NAMES), "rest"];
  const items = account.items.filter((item) => Math.abs(item.bytes) > WORTH * account.bytes);
  items.sort((a, b) => order.indexOf(kindOf(a)) - order.indexOf(kindOf(b)) || b.bytes - a.bytes);
  for (const item of items) {
    const kind = kindOf(item);
    const [size, error] = bytesAndError(item.bytes, item.error);
    const label = item.bytes < 0 ? "counted above, but not resident" : account.labels[item.key] || item.key;
    const words = `${label}: ${size}${item.error ? ` ±${error}` : ""}, ${shareText(item.bytes, account.bytes)}`;
    parts.append(text("li", kind, words));
    if (item.bytes <= 0) continue;
    sums.set(kind, (sums.get(kind) || 0) + item.bytes);
    const piece = text("span", kind, "");
    piece.style.flexGrow = item.bytes;
    piece.title = words;
    bar.append(piece);
  }
  for (const [kind, bytes] of sums) {
    legend.append(text("li", kind, `${NAMES[kind] || "other"} ${shareText(bytes, account.bytes)}`));
  }
  const size = bytesAndError(account.bytes, 0)[0];
  bar.setAttribute("aria-label", `resident size ${size}: ${account.short}`);
  verdict.textContent = `Resident (RSS) ${size}: ${account.short}`;
}

export function showLoud(data, list) {
  for (const [label, text] of data.loud) {
    const line = document.createElement("li");
    const word = document.createElement("b");
    word.textContent = label;
    line.append(word, ` ${text}`);
    list.append(line);
  }
  list.hidden = !data.loud.length;
}
