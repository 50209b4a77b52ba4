// SPDX-License-Identifier: MIT
// The table: the reader's own rows, by line, function, file, type or domain of what is in view.

import { figure, fixed, shareText } from "./units.js";
import { base, NAMELESS } from "./frames.js";

const SHOWN = 60;
const ROUGH = 0.25;
// Per cent of a line that a type must have to be named beside it, and to be named without them.
const WORTH_NAMING = 10;
const NEARLY_ALL = 95;
const NAMED = 2;

// {rows: [{key, frames, …sums}], total}; inside: which stacks (null: all).
export function groupRows(data, frames, weights, by, inside) {
  const groups = new Map();
  const total = emptyRow();
  const take = (key, stack, sums, j, side) => {
    let row = groups.get(key);
    if (!row) {
      row = Object.assign(emptyRow(), { key, frame: data.col.stack_key[stack], best: -1, frames: new Set() });
      groups.set(key, row);
    }
    for (const one of [row, total]) addTo(one, sums, j, side);
    if (side === "now" && sums.bytes[j] > row.best) {
      row.best = sums.bytes[j];
      row.frame = data.col.stack_key[stack];
    }
    row.frames.add(data.col.stack_key[stack]);
  };
  if (by === "type") typeRows(data, weights, inside, take);
  else {
    const keyOf = stackRows(data, frames, weights, by, inside, take);
    if (by === "lineno" && data.types && weights.value === "inuse") addTypes(data, weights, inside, (stack) => groups.get(keyOf(stack)));
  }
  return { rows: [...groups.values()], total };
}

function emptyRow() {
  return {
    bytes: 0, blocks: 0, bytesVar: 0, blocksVar: 0,
    thenBytes: 0, thenBlocks: 0, growthBytesVar: 0, growthBlocksVar: 0,
  };
}

function addTo(row, sums, j, side) {
  if (side === "now") {
    row.bytes += sums.bytes[j];
    row.blocks += sums.blocks[j];
    row.bytesVar += sums.bytesVar[j];
    row.blocksVar += sums.blocksVar[j];
  } else if (side === "then") {
    row.thenBytes += sums.bytes[j];
    row.thenBlocks += sums.blocks[j];
  } else {
    row.growthBytesVar += sums.bytesVar[j];
    row.growthBlocksVar += sums.blocksVar[j];
  }
}

function stackRows(data, frames, weights, by, inside, take) {
  const { col } = data;
  const keys = {
    lineno: (frame) => {
      const file = frames.fileId(frame);
      const name = data.strings[file] === "<unknown>" ? frames.of(frame).name : "";
      return `${file}:${col.frame_line[frame]}:${name}`;
    },
    function: (frame) => col.frame_func[frame],
    filename: (frame) => frames.fileId(frame),
  };
  const known = new Map();
  const keyOf = (stack) => {
    if (by === "domain") return col.stack_domain[stack];
    const frame = col.stack_key[stack];
    if (!known.has(frame)) known.set(frame, keys[by](frame));
    return known.get(frame);
  };
  for (let stack = 0; stack < col.stack_node.length; stack += 1) {
    if (inside && !inside[stack]) continue;
    const { now, then, growth } = weights;
    if (!now.bytes[stack] && !now.blocks[stack] && !then.bytes[stack] && !then.blocks[stack]) continue;
    const key = keyOf(stack);
    take(key, stack, now, stack, "now");
    take(key, stack, then, stack, "then");
    take(key, stack, growth, stack, "growth");
  }
  return keyOf;
}

// Of each row, how much is alive of which type: row.types is a map from type to {bytes, blocks}.
function addTypes(data, weights, inside, rowOf) {
  const { col } = data;
  for (let i = 0; i < col.row_stack.length; i += 1) {
    const stack = col.row_stack[i];
    if (!col.row_type[i] || (inside && !inside[stack]) || !(weights.sides(i) & 1)) continue;
    const row = rowOf(stack);
    if (!row) continue;
    row.types = row.types || new Map();
    const sum = row.types.get(col.row_type[i]) || { bytes: 0, blocks: 0 };
    sum.bytes += col.row_bytes[i];
    sum.blocks += col.row_blocks[i];
    row.types.set(col.row_type[i], sum);
  }
}

// "dict", "dict 80%, list 15%": as the reader says it beside a line.
export function typesText(row, unit, strings) {
  const shares = [...(row.types || [])].map(([type, sum]) => [(100 * sum[unit]) / row[unit], strings[type]]);
  shares.sort((a, b) => b[0] - a[0] || (a[1] < b[1] ? -1 : 1));
  const named = shares.slice(0, NAMED).filter(([share]) => share >= WORTH_NAMING);
  return named.map(([share, name]) => (fixed(share, 0) >= NEARLY_ALL ? name : `${name} ${fixed(share, 0)}%`)).join(", ");
}

function typeRows(data, weights, inside, take) {
  const { col } = data;
  const sums = { bytes: col.row_bytes, blocks: col.row_blocks, bytesVar: col.row_bytes_var, blocksVar: col.row_blocks_var };
  for (let row = 0; row < col.row_stack.length; row += 1) {
    const stack = col.row_stack[row];
    if (inside && !inside[stack]) continue;
    const key = col.row_type[row] || -1 - col.stack_domain[stack];
    const sides = weights.sides(row);
    if (sides & 1) take(key, stack, sums, row, "now");
    if (sides & 2) take(key, stack, sums, row, "then");
    if (sides === 1 || sides === 2) take(key, stack, sums, row, "growth");
  }
}

export class Table {
  constructor(head, body, more, onPick) {
    Object.assign(this, { head, body, more, onPick });
    this.limit = SHOWN;
    more.addEventListener("click", () => {
      this.limit *= 4;
      this.render();
    });
  }

  // view: {data, frames, rows, total, everything, by, unit, value, order, search, picked}
  show(view) {
    this.view = view;
    this.limit = SHOWN;
    this.render();
  }

  render() {
    const { data, by, rows, unit, order, search } = this.view;
    const growth = (row) => (unit === "bytes" ? row.bytes - row.thenBytes : row.blocks - row.thenBlocks);
    const rank = data.diff && order === "growth" ? (row) => Math.abs(growth(row)) : (row) => row[unit];
    let chosen = rows.filter((row) => row.bytes || row.blocks || data.diff);
    if (search) chosen = chosen.filter((row) => this.words(row).join(" ").toLowerCase().includes(search.toLowerCase()));
    chosen.sort((a, b) => rank(b) - rank(a) || (a.key < b.key ? -1 : 1));
    this.chosen = chosen;
    this.head.replaceChildren(...this.titles(by));
    this.head.closest("table").classList.toggle("diff", Boolean(data.diff));
    this.body.replaceChildren(...chosen.slice(0, this.limit).map((row) => this.line(row)));
    const rest = chosen.length - this.limit;
    this.more.hidden = rest <= 0;
    this.more.textContent = `show more (${rest} left)`;
  }

  titles() {
    const { unit, value, data, by } = this.view;
    const names = [[unit, "figure"], ["±", "error"], ["%", "share"]];
    if (data.diff) names.push(["growth", "figure"], ["±", "error"]);
    else if (value !== "peak") names.push([unit === "bytes" ? "blocks" : "bytes", "figure second"], ["±", "error second"]);
    const what = { lineno: "line", function: "function", filename: "file", type: "type", domain: "domain" };
    names.push([what[by], "place"]);
    return names.map(([text, kind]) => cell("th", kind, text));
  }

  line(row) {
    const { unit, value, data, everything, picked } = this.view;
    const other = unit === "bytes" ? "blocks" : "bytes";
    const tr = document.createElement("tr");
    const pair = (amount, variance, kind, more = "") => {
      const [text, error] = figure(amount, variance, kind);
      const rough = Math.sqrt(variance) > ROUGH * Math.abs(amount) ? " rough" : "";
      tr.append(cell("td", `figure${more}`, text), cell("td", `error${more}${rough}`, error === "0" && data.exact ? "" : `±${error}`));
    };
    pair(row[unit], row[`${unit}Var`], unit);
    const share = cell("td", "share", shareText(row[unit], everything[unit]));
    share.style.setProperty("--part", `${Math.min((100 * row[unit]) / everything[unit] || 0, 100)}%`);
    tr.append(share);
    if (data.diff) this.growthCells(tr, row);
    else if (value !== "peak") pair(row[other], row[`${other}Var`], other, " second");
    const place = cell("td", "place", "");
    const types = typesText(row, unit, data.strings);
    if (types) place.append(cell("span", "types", types));
    place.append(this.button(row), ...this.words(row).slice(1).filter(Boolean).map((text) => cell("span", "below", text)));
    tr.append(place);
    if (picked === row.key) tr.className = "picked";
    return tr;
  }

  growthCells(tr, row) {
    const { unit } = this.view;
    const [now, then, variance] = unit === "bytes"
      ? [row.bytes, row.thenBytes, row.growthBytesVar] : [row.blocks, row.thenBlocks, row.growthBlocksVar];
    const change = now - then;
    const [text, error] = figure(change, variance, unit);
    const noise = change * change < 4 * variance ? " noise" : "";
    tr.append(cell("td", `figure growth${noise}`, change > 0 ? `+${text}` : text), cell("td", `error${noise}`, `±${error}`));
  }

  button(row) {
    const button = cell("button", "pick", this.words(row)[0]);
    button.type = "button";
    button.addEventListener("click", () => this.onPick(row, this.words(row)[0]));
    return button;
  }

  // The key, then what stands below it.
  words(row) {
    const { data, frames, by } = this.view;
    const { strings } = data;
    if (by === "type") {
      if (row.key > 0) return [strings[row.key]];
      const domain = strings[-1 - row.key];
      return [domain === "obj" ? "[no object, or of unknown type]" : `[no object: ${domain}]`];
    }
    if (by === "domain") return [strings[row.key]];
    if (by === "filename") return [strings[row.key]];
    const one = frames.of(row.frame);
    if (by === "function") return [one.name || (one.native ? NAMELESS : frames.place(row.frame)), `${one.native ? base(one.file) : `${one.file}:${one.first}`}`];
    return [frames.place(row.frame), one.file === "<unknown>" || one.native ? "" : [one.name, one.source].filter(Boolean).join(": ")];
  }
}

function cell(tag, kind, text) {
  const made = document.createElement(tag);
  made.className = kind;
  made.textContent = text;
  return made;
}
