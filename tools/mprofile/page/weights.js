// SPDX-License-Identifier: MIT
// What each stack counts for, by the value and the ages chosen; and each node of the tree with all
// below it. Only sums of the reader's sums: nothing is weighed here.

const ABSENT = 255;

class Sums {
  constructor(length) {
    this.bytes = new Float64Array(length);
    this.blocks = new Float64Array(length);
    this.bytesVar = new Float64Array(length);
    this.blocksVar = new Float64Array(length);
  }

  add(i, other, j) {
    this.bytes[i] += other.bytes[j];
    this.blocks[i] += other.blocks[j];
    this.bytesVar[i] += other.bytesVar[j];
    this.blocksVar[i] += other.blocksVar[j];
  }
}

export function columnsOf(col, prefix) {
  return {
    bytes: col[`${prefix}bytes`],
    blocks: col[`${prefix}blocks`],
    bytesVar: col[`${prefix}bytes_var`],
    blocksVar: col[`${prefix}blocks_var`],
  };
}

// now, then: what is counted; growth: the variance of now less then.
export class Weights {
  constructor(data, value, from, to) {
    this.data = data;
    this.value = value;
    this.from = from;
    this.to = to;
    const stacks = data.col.stack_node.length;
    this.now = new Sums(stacks);
    this.then = new Sums(stacks);
    this.growth = new Sums(stacks);
    if (value === "inuse") this.addRows();
    else this.addStacks();
  }

  // Whether the row is counted now, and whether it was then, as two bits.
  sides(row) {
    const { row_now: now, row_then: then } = this.data.col;
    const counted = (bin) => bin !== ABSENT && bin >= this.from && bin < this.to;
    return (counted(now[row]) ? 1 : 0) | (counted(then[row]) ? 2 : 0);
  }

  addRows() {
    const { col } = this.data;
    const sums = columnsOf(col, "row_");
    for (let row = 0; row < col.row_stack.length; row += 1) {
      const sides = this.sides(row);
      const stack = col.row_stack[row];
      if (sides & 1) this.now.add(stack, sums, row);
      if (sides & 2) this.then.add(stack, sums, row);
      // What is in both is the same samples, and adds no error.
      if (sides === 1 || sides === 2) this.growth.add(stack, sums, row);
    }
  }

  addStacks() {
    const { col, diff } = this.data;
    const copy = (into, prefix) => {
      for (const [name, column] of Object.entries(columnsOf(col, `${prefix}_${this.value}_`))) {
        if (column) into[name].set(column);
      }
    };
    copy(this.now, "stack");
    if (diff) copy(this.then, "then");
    if (diff) copy(this.growth, "growth");
  }
}

// Each node with all below it: children come after their parents, so one pass from the end.
export function nodeTotals(data, weights, unit) {
  const { node_parent: parent, stack_node: stackNode } = data.col;
  const nodes = parent.length;
  const pairs = [
    [weights.now[unit], "total"],
    [weights.now[`${unit}Var`], "variance"],
    [weights.then[unit], "then"],
    [weights.growth[`${unit}Var`], "growthVar"],
  ];
  const result = {};
  for (const [own, name] of pairs) {
    const column = new Float64Array(nodes);
    result[name] = column;
    if (!data.diff && (name === "then" || name === "growthVar")) continue;
    for (let i = 0; i < own.length; i += 1) column[stackNode[i]] += own[i];
    for (let node = nodes - 1; node > 0; node -= 1) column[parent[node]] += column[node];
  }
  return result;
}

// Bytes or blocks alive in each bin of age.
export function byAge(data, unit) {
  const { row_now: now } = data.col;
  const column = data.col[`row_${unit}`];
  const bins = new Float64Array(data.limits.length);
  for (let row = 0; row < now.length; row += 1) {
    if (now[row] !== ABSENT) bins[now[row]] += column[row];
  }
  return bins;
}
