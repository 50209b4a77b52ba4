// SPDX-License-Identifier: MIT
// Colours of frames: by file, by type of object, or by growth since the old snapshot.
// Text on them is dark in light mode and light in dark mode; contrast is kept by fixed lightness.

import { base } from "./frames.js";

const LEGEND = 7;
const SPREAD = 12;

function hash(text) {
  let h = 2166136261;
  for (let i = 0; i < text.length; i += 1) h = Math.imul(h ^ text.charCodeAt(i), 16777619);
  return (h ^ (h >>> 15)) >>> 0;
}

function neutral(dark) {
  return dark ? "#3b4148" : "#d3d7db";
}

function tone(hue, saturation, dark) {
  return `hsl(${hue} ${saturation}% ${dark ? 24 : 76}%)`;
}

// The type that has more than half of what is below a node, where one has: two that differ cancel
// each other (Boyer and Moore's vote, by weight), which needs one pass and two numbers a node.
export function voteTypes(data, weights, unit) {
  const { col } = data;
  const sums = col[`row_${unit}`];
  const nodes = ballot(col.node_parent.length);
  const stacks = ballot(col.stack_node.length);
  for (let row = 0; row < col.row_stack.length; row += 1) {
    if (weights.sides(row) & 1) vote(stacks, col.row_stack[row], col.row_type[row], sums[row]);
  }
  for (let i = 0; i < col.stack_node.length; i += 1) {
    vote(nodes, col.stack_node[i], stacks.type[i], stacks.votes[i]);
  }
  for (let node = nodes.type.length - 1; node > 0; node -= 1) {
    vote(nodes, col.node_parent[node], nodes.type[node], nodes.votes[node]);
  }
  return { nodes, stacks };
}

function ballot(length) {
  return { type: new Uint32Array(length), votes: new Float64Array(length) };
}

function vote(into, i, kind, count) {
  if (into.type[i] === kind) into.votes[i] += count;
  else if (into.votes[i] >= count) into.votes[i] -= count;
  else {
    into.type[i] = kind;
    into.votes[i] = count - into.votes[i];
  }
}

export class Colours {
  constructor(data, frames) {
    this.data = data;
    this.frames = frames;
    this.hues = new Map();
    this.spread(data.col.row_stack, (row) => frames.fileId(data.col.stack_key[data.col.row_stack[row]]));
    this.spread(data.col.row_type, (row) => data.col.row_type[row]);
  }

  // The heaviest lie far apart on the circle, the golden angle from each to the next; of the others
  // the name decides.
  spread(rows, idOf) {
    const sums = new Map();
    const bytes = this.data.col.row_bytes;
    for (let row = 0; row < rows.length; row += 1) {
      const id = idOf(row);
      if (id) sums.set(id, (sums.get(id) || 0) + bytes[row]);
    }
    [...sums].sort((a, b) => b[1] - a[1] || a[0] - b[0]).slice(0, SPREAD)
      .forEach(([id], rank) => this.hues.set(id, (28 + 137.5 * rank) % 360));
  }

  hue(id) {
    let hue = this.hues.get(id);
    if (hue === undefined) {
      hue = hash(this.data.strings[id]) % 360;
      this.hues.set(id, hue);
    }
    return hue;
  }

  // by: file, type, growth; votes: of voteTypes, for type.
  of(one, by, votes, dark, inverted) {
    if (by === "growth") return this.growth(one, dark);
    if (by === "type") return this.type(one, votes, dark, inverted);
    return tone(this.hue(this.frames.fileId(one.frame)), 58, dark);
  }

  // A box's items are nodes, or pairs of a stack and a node (see tree.js).
  type(one, { nodes, stacks }, dark, inverted) {
    const [from, step] = inverted ? [stacks, 2] : [nodes, 1];
    const sum = ballot(1);
    for (let i = 0; i < one.items.length; i += step) {
      vote(sum, 0, from.type[one.items[i]], from.votes[one.items[i]]);
    }
    if (!sum.type[0]) return neutral(dark);
    return tone(this.hue(sum.type[0]), 15 + 55 * Math.min(sum.votes[0] / one.value, 1), dark);
  }

  // Red grew, blue shrank, the stronger the more of it is new; grey is within the noise.
  growth(one, dark) {
    const change = one.value - one.then;
    if (change * change < 4 * one.growthVar || change === 0) return neutral(dark);
    const share = Math.min(Math.abs(change) / Math.max(one.value, one.then), 1);
    return tone(change > 0 ? 8 : 212, 25 + 60 * share, dark);
  }

  // What the heaviest colours mean: [[colour, words], …].
  legend(by, weights, unit, dark) {
    if (by === "growth") {
      return [[tone(8, 85, dark), "grew"], [neutral(dark), "within twice its ±"], [tone(212, 85, dark), "shrank"]];
    }
    const { col, strings } = this.data;
    const sums = new Map();
    const add = (id, value) => sums.set(id, (sums.get(id) || 0) + value);
    if (by === "type") {
      for (let row = 0; row < col.row_stack.length; row += 1) {
        if (weights.sides(row) & 1) add(col.row_type[row], col[`row_${unit}`][row]);
      }
    } else {
      for (let stack = 0; stack < col.stack_key.length; stack += 1) {
        add(this.frames.fileId(col.stack_key[stack]), weights.now[unit][stack]);
      }
    }
    const heaviest = [...sums].sort((a, b) => b[1] - a[1]).slice(0, LEGEND);
    return heaviest.map(([id]) => {
      const saturation = by === "type" ? 70 : 58;
      return id ? [tone(this.hue(id), saturation, dark), base(strings[id])] : [neutral(dark), "no type"];
    });
  }
}
