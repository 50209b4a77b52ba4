// SPDX-License-Identifier: MIT
// The flame graph on a canvas: root on top, a box's callees below it (inverted: its callers).
//
// Only what can be seen is touched: a box outside the view or narrower than half a pixel has no
// children made, and the narrow ones at the end of a row (they are sorted) become one grey strip.
// So a frame costs what is on the screen, however large the tree.

const ROW = 20;
const NARROW = 0.5;
const TEXT_FROM = 28;
const ZOOM_MS = 180;

export class Flame {
  // look: {tree, colour(box), text(box), lit(box) or null}, set by `show`
  constructor(canvas, scroller, spacer, { onHover, onZoom, onSelect }) {
    Object.assign(this, { canvas, scroller, spacer, onHover, onZoom, onSelect });
    this.context = canvas.getContext("2d");
    this.rows = [];
    this.view = [0, 1];
    this.zoomed = null;
    this.selected = null;
    this.hovered = null;
    this.drawn = 0;
    this.pending = 0;
    scroller.addEventListener("scroll", () => this.request());
    canvas.addEventListener("mousemove", (event) => this.hover(event));
    canvas.addEventListener("mouseleave", () => this.setHovered(null));
    canvas.addEventListener("click", (event) => this.click(event));
    new ResizeObserver(() => this.request()).observe(scroller);
  }

  show(look, zoomed) {
    this.look = look;
    this.zoomed = zoomed;
    this.selected = null;
    this.hovered = null;
    this.view = [zoomed.x0, zoomed.x1];
    this.request();
  }

  request() {
    if (!this.pending) this.pending = requestAnimationFrame(() => this.draw());
  }

  resize() {
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [this.scroller.clientWidth, this.scroller.clientHeight];
    if (this.canvas.width !== Math.round(width * ratio) || this.canvas.height !== Math.round(height * ratio)) {
      this.canvas.width = Math.round(width * ratio);
      this.canvas.height = Math.round(height * ratio);
      this.canvas.style.width = `${width}px`;
      this.canvas.style.height = `${height}px`;
    }
    this.context.setTransform(ratio, 0, 0, ratio, 0, 0);
    [this.width, this.height] = [width, height];
  }

  draw() {
    this.pending = 0;
    if (!this.look) return;
    const started = performance.now();
    this.resize();
    const style = getComputedStyle(this.canvas);
    const { context } = this;
    this.ink = style.color;
    this.grey = style.getPropertyValue("--grey");
    this.accent = style.getPropertyValue("--accent");
    context.clearRect(0, 0, this.width, this.height);
    context.font = "12px ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace";
    context.textBaseline = "middle";
    this.letter = context.measureText("m").width;
    this.rows = [];
    this.deepest = 0;
    this.top = this.scroller.scrollTop;
    this.drawBoxes();
    this.outline(this.hovered, 1);
    this.outline(this.selected, 2);
    this.spacer.style.height = `${Math.max((this.deepest + 1) * ROW - this.height, 0)}px`;
    // For a phone and for paper, where the graph is as high as it needs to be.
    this.scroller.style.setProperty("--rows", this.deepest + 1);
    this.drawn += 1;
    this.cost = performance.now() - started;
  }

  drawBoxes() {
    const { tree } = this.look;
    const waiting = [tree.root];
    while (waiting.length) {
      const one = waiting.pop();
      const [x, width] = this.span(one);
      this.drawBox(one, x, width);
      const kids = tree.kids(one);
      let narrow = kids.length;
      for (let i = firstInView(kids, this.view[0]); i < kids.length; i += 1) {
        const [left, wide] = this.span(kids[i]);
        if (left >= this.width) break;
        if (wide < NARROW) {
          narrow = i;
          break;
        }
        waiting.push(kids[i]);
      }
      if (narrow < kids.length) this.drawNarrow(one.depth + 1, kids[narrow].x0, kids[kids.length - 1].x1);
    }
  }

  // Left edge and width on the canvas, cut to it.
  span(one) {
    const scale = this.width / (this.view[1] - this.view[0]);
    const left = Math.max((one.x0 - this.view[0]) * scale, 0);
    const right = Math.min((one.x1 - this.view[0]) * scale, this.width);
    return [left, right - left];
  }

  drawBox(one, x, width) {
    const y = one.depth * ROW - this.top;
    this.deepest = Math.max(this.deepest, one.depth);
    if (y + ROW <= 0 || y >= this.height) return;
    const { context, look } = this;
    (this.rows[one.depth] ||= []).push({ one, x, width });
    const above = this.zoomed && one.depth < this.zoomed.depth;
    const lit = !look.lit || look.lit(one);
    context.globalAlpha = lit ? (above ? 0.55 : 1) : 0.28;
    context.fillStyle = one.up ? look.colour(one) : this.grey;
    context.fillRect(x, y, Math.max(width - (width > 3 ? 1 : 0), NARROW), ROW - 1);
    if (look.lit && lit && one.up) {
      context.fillStyle = this.accent;
      context.fillRect(x, y + ROW - 4, Math.max(width - 1, 1), 3);
    }
    if (width > TEXT_FROM) {
      context.globalAlpha = lit ? 1 : 0.6;
      context.fillStyle = this.ink;
      context.fillText(cut(look.text(one), Math.floor((width - 8) / this.letter)), x + 4, y + ROW / 2);
    }
    context.globalAlpha = 1;
  }

  drawNarrow(depth, from, to) {
    const y = depth * ROW - this.top;
    if (y + ROW <= 0 || y >= this.height) return;
    const [x, width] = this.span({ x0: from, x1: to });
    if (width <= 0) return;
    this.context.fillStyle = this.grey;
    this.context.fillRect(x, y + 3, Math.max(width, NARROW), ROW - 7);
  }

  outline(one, thick) {
    if (!one) return;
    const y = one.depth * ROW - this.top;
    const [x, width] = this.span(one);
    if (width <= 0) return;
    this.context.strokeStyle = this.ink;
    this.context.lineWidth = thick;
    this.context.strokeRect(x + thick / 2, y + thick / 2, Math.max(width - thick - 1, 1), ROW - 1 - thick);
  }

  at(event) {
    const bounds = this.canvas.getBoundingClientRect();
    const x = event.clientX - bounds.left;
    const depth = Math.floor((event.clientY - bounds.top + this.top) / ROW);
    const row = this.rows[depth] || [];
    const found = row.find((drawn) => x >= drawn.x && x < drawn.x + drawn.width);
    return found ? found.one : null;
  }

  hover(event) {
    this.setHovered(this.at(event), event);
  }

  setHovered(one, event) {
    if (one !== this.hovered) {
      this.hovered = one;
      this.request();
    }
    this.onHover(one, event);
  }

  click(event) {
    const one = this.at(event);
    if (one) {
      this.select(one);
      this.zoom(one);
    }
  }

  select(one) {
    this.selected = one;
    this.intoView(one);
    this.onSelect(one);
    this.request();
  }

  intoView(one) {
    const y = one.depth * ROW;
    const { scroller } = this;
    if (y < scroller.scrollTop) scroller.scrollTop = Math.max(y - ROW, 0);
    else if (y + ROW > scroller.scrollTop + scroller.clientHeight) {
      // There may not be room yet for where it is to scroll to.
      this.spacer.style.height = `${Math.max(y + 3 * ROW - scroller.clientHeight, 0)}px`;
      scroller.scrollTop = y + 2 * ROW - scroller.clientHeight;
    }
  }

  zoom(one) {
    if (one === this.zoomed) return;
    this.zoomed = one;
    this.onZoom(one);
    const [from, to] = [this.view, [one.x0, one.x1]];
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) {
      this.view = to;
      this.request();
      return;
    }
    const started = performance.now();
    const step = (time) => {
      if (this.zoomed !== one) return;
      const part = Math.min(Math.max((time - started) / ZOOM_MS, 0), 1);
      const eased = 1 - (1 - part) ** 3;
      this.view = part < 1 ? [0, 1].map((i) => from[i] + (to[i] - from[i]) * eased) : to;
      this.draw();
      if (part < 1) requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }

  // Keyboard: to the heaviest below, the one above, the next on either side.
  move(direction) {
    const { tree } = this.look;
    const one = this.selected || this.zoomed || tree.root;
    if (!this.selected) return this.select(one);
    if (direction === "down") return tree.kids(one)[0] && this.select(tree.kids(one)[0]);
    if (direction === "up") return one.up && this.select(one.up);
    if (!one.up) return undefined;
    const beside = tree.kids(one.up);
    const next = beside[beside.indexOf(one) + (direction === "left" ? -1 : 1)];
    return next && this.select(next);
  }
}

function firstInView(kids, from) {
  let [low, high] = [0, kids.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (kids[middle].x1 <= from) low = middle + 1;
    else high = middle;
  }
  return low;
}

function cut(text, letters) {
  if (text.length <= letters) return text;
  return letters > 1 ? `${text.slice(0, letters - 1)}…` : "";
}
