// SPDX-License-Identifier: MIT
// The tree that is drawn: from the root down, or inverted, from what allocated up to its callers.
// It grows only where somebody looks: a box's children are made when it is wide enough to be seen.
//
// A box: {frame, depth, up, x0, x1, value, items, kids}; x is a share of the root's width, and
// items say what is in it: nodes of the call tree (down), or stacks and where each is (inverted).

function box(frame, up) {
  return {
    frame, up, depth: up ? up.depth + 1 : 0, x0: 0, x1: 1, value: 0, variance: 0, then: 0, growthVar: 0,
    items: [], kids: null,
  };
}

// Heaviest first; where they are equal by frame, so that the picture stays.
function laidOut(up, groups) {
  const kids = [...groups.values()].filter((kid) => kid.value > 0);
  kids.sort((a, b) => b.value - a.value || a.frame - b.frame);
  let x = up.x0;
  for (const kid of kids) {
    kid.x0 = x;
    x += (up.x1 - up.x0) * (kid.value / up.value);
    kid.x1 = x;
  }
  return kids;
}

function group(groups, frame, up) {
  let kid = groups.get(frame);
  if (!kid) {
    kid = box(frame, up);
    groups.set(frame, kid);
  }
  return kid;
}

export class DownTree {
  constructor(data, totals, hidden) {
    this.data = data;
    this.totals = totals;
    this.hidden = hidden;
    this.links(data.col.node_parent);
    this.root = box(0, null);
    this.take(this.root, 0);
  }

  links(parent) {
    if (this.data.firstChild) return;
    this.data.firstChild = new Uint32Array(parent.length);
    this.data.sibling = new Uint32Array(parent.length);
    for (let node = parent.length - 1; node > 0; node -= 1) {
      this.data.sibling[node] = this.data.firstChild[parent[node]];
      this.data.firstChild[parent[node]] = node;
    }
  }

  take(one, node) {
    one.items.push(node);
    one.value += this.totals.total[node];
    one.variance += this.totals.variance[node];
    one.then += this.totals.then[node];
    one.growthVar += this.totals.growthVar[node];
  }

  kids(one) {
    if (!one.kids) {
      const groups = new Map();
      for (const node of one.items) this.visit(node, one, groups);
      one.kids = laidOut(one, groups);
    }
    return one.kids;
  }

  // What a hidden frame called is called by its caller.
  visit(node, up, groups) {
    const { firstChild, sibling } = this.data;
    const { node_frame: frames } = this.data.col;
    const waiting = [firstChild[node]];
    while (waiting.length) {
      for (let child = waiting.pop(); child; child = sibling[child]) {
        if (!this.totals.total[child] && !this.totals.then[child]) continue;
        if (this.hidden && this.hidden[frames[child]]) waiting.push(firstChild[child]);
        else this.take(group(groups, frames[child], up), child);
      }
    }
  }

  // Which stacks are in a box.
  stacks(one) {
    const { node_parent: parent, stack_node: stackNode } = this.data.col;
    const inside = new Uint8Array(parent.length);
    for (const node of one.items) inside[node] = 1;
    for (let node = 1; node < parent.length; node += 1) inside[node] |= inside[parent[node]];
    return Uint8Array.from(stackNode, (node) => inside[node]);
  }
}

export class UpTree {
  constructor(data, weights, unit, hidden) {
    this.data = data;
    this.now = weights.now[unit];
    this.nowVar = weights.now[`${unit}Var`];
    this.then = weights.then[unit];
    this.growthVar = weights.growth[`${unit}Var`];
    this.hidden = hidden;
    this.root = box(0, null);
    const { stack_node: nodes } = data.col;
    for (let stack = 0; stack < nodes.length; stack += 1) {
      if (this.now[stack] || this.then[stack]) this.take(this.root, stack, nodes[stack]);
    }
  }

  take(one, stack, node) {
    one.items.push(stack, node);
    one.value += this.now[stack];
    one.variance += this.nowVar[stack];
    one.then += this.then[stack];
    one.growthVar += this.growthVar[stack];
  }

  kids(one) {
    if (!one.kids) {
      const { node_parent: parent, node_frame: frames } = this.data.col;
      const groups = new Map();
      for (let i = 0; i < one.items.length; i += 2) {
        let node = one.items[i + 1];
        while (node && this.hidden && this.hidden[frames[node]]) node = parent[node];
        if (node) this.take(group(groups, frames[node], one), one.items[i], parent[node]);
      }
      one.kids = laidOut(one, groups);
    }
    return one.kids;
  }

  stacks(one) {
    const inside = new Uint8Array(this.now.length);
    for (let i = 0; i < one.items.length; i += 2) inside[one.items[i]] = 1;
    return inside;
  }
}

// The frames from the root to a box, and the box at the end of such a path, as far as it goes.
export function pathOf(one) {
  const path = [];
  for (let at = one; at && at.up; at = at.up) path.unshift(at.frame);
  return path;
}

export function boxAt(tree, path) {
  let at = tree.root;
  for (const frame of path) {
    const kid = tree.kids(at).find((one) => one.frame === frame);
    if (!kid) break;
    at = kid;
  }
  return at;
}
