// SPDX-License-Identifier: MIT
// What is chosen on the page, and the way from a choice to what is shown:
// value, ages -> weights -> totals of nodes -> tree -> boxes; and beside it the table's rows.
// Each step is made again only if something before it changed.

import { Weights, nodeTotals } from "./weights.js";
import { DownTree, UpTree, boxAt, pathOf } from "./tree.js";
import { voteTypes } from "./colours.js";
import { groupRows } from "./table.js";

export class State {
  constructor(data, frames) {
    this.data = data;
    this.frames = frames;
    const [value, unit] = data.value.split("_");
    Object.assign(this, {
      value, unit, from: 0, to: data.limits.length, inverted: false, hide: false,
      colour: data.diff ? "growth" : "file", group: data.group, search: "", order: data.diff ? "growth" : "value",
      picked: null, path: [],
    });
    this.made = {};
  }

  set(changes) {
    Object.assign(this, changes);
    if (this.value === "peak") this.unit = "bytes";
    if (this.value !== "inuse") {
      if (this.group === "type") this.group = "lineno";
      if (this.colour === "type") this.colour = "file";
    }
  }

  // The result of making `name` from the inputs given, kept while they are the same.
  keep(name, inputs, make) {
    const old = this.made[name];
    if (old && old.inputs.every((input, i) => input === inputs[i])) return old.result;
    this.made[name] = { inputs, result: make() };
    return this.made[name].result;
  }

  get weights() {
    const ages = this.value === "inuse" ? [this.from, this.to] : [0, 0];
    return this.keep("weights", [this.value, ...ages], () => new Weights(this.data, this.value, ...ages));
  }

  get totals() {
    return this.keep("totals", [this.weights, this.unit], () => nodeTotals(this.data, this.weights, this.unit));
  }

  get tree() {
    const hidden = this.hide ? this.frames.hidden() : null;
    return this.keep("tree", [this.weights, this.unit, this.inverted, hidden], () => (this.inverted
      ? new UpTree(this.data, this.weights, this.unit, hidden)
      : new DownTree(this.data, this.totals, hidden)));
  }

  get votes() {
    return this.keep("votes", [this.weights, this.unit], () => voteTypes(this.data, this.weights, this.unit));
  }

  get zoomed() {
    return boxAt(this.tree, this.path);
  }

  zoomTo(one) {
    this.path = pathOf(one);
  }

  // Everything that the value and the ages leave.
  get everything() {
    return this.keep("everything", [this.weights], () => {
      return groupRows(this.data, this.frames, this.weights, "domain", null).total;
    });
  }

  get rows() {
    const zoomed = this.zoomed;
    return this.keep("rows", [this.weights, this.group, zoomed], () => groupRows(
      this.data, this.frames, this.weights, this.group, zoomed.up ? this.tree.stacks(zoomed) : null));
  }

  // Which frames a search or a picked row lights; null: nothing is looked for.
  get wanted() {
    const { picked } = this;
    if (picked) return this.keep("picked", [picked], () => this.framesOf(picked));
    return this.keep("search", [this.search], () => this.frames.matching(this.search));
  }

  framesOf(picked) {
    const mask = new Uint8Array(this.frames.count);
    for (const frame of picked.frames) mask[frame] = 1;
    return mask;
  }

  // What of the value lies in stacks with a wanted frame: [value, variance].
  get found() {
    const { wanted, weights, unit } = this;
    return this.keep("found", [wanted, weights, unit], () => {
      const { node_parent: parent, node_frame: frame, stack_node: stackNode } = this.data.col;
      const hit = new Uint8Array(parent.length);
      for (let node = 1; node < parent.length; node += 1) hit[node] = hit[parent[node]] | wanted[frame[node]];
      const sum = [0, 0];
      for (let stack = 0; stack < stackNode.length; stack += 1) {
        if (!hit[stackNode[stack]]) continue;
        sum[0] += weights.now[unit][stack];
        sum[1] += weights.now[`${unit}Var`][stack];
      }
      return sum;
    });
  }
}
