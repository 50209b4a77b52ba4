// SPDX-License-Identifier: MIT
// The page: its controls tied to the state, and the state to the graph, the table and the words.

import { unpack } from "./data.js";
import { Frames } from "./frames.js";
import { Colours } from "./colours.js";
import { Flame } from "./flame.js";
import { Table } from "./table.js";
import { Ages } from "./ages.js";
import { showAccount, showLoud } from "./account.js";
import { State } from "./state.js";
import { HELP, listen } from "./keys.js";
import { figure, shareText } from "./units.js";

const find = (id) => document.getElementById(id);
const SEARCH_MS = 120;
const dark = matchMedia("(prefers-color-scheme: dark)");
const printed = matchMedia("print");

class Page {
  constructor(data) {
    this.data = data;
    this.figure = figure;
    this.frames = new Frames(data);
    this.state = new State(data, this.frames);
    this.colours = new Colours(data, this.frames);
    this.flame = new Flame(find("graph"), find("scroller"), find("spacer"), {
      onHover: (one, event) => this.hover(one, event),
      onZoom: (one) => this.zoomed(one),
      onSelect: (one) => this.detail(one),
    });
    this.table = new Table(find("titles"), find("rows"), find("more"), (row, text) => this.pick(row, text));
    this.ages = new Ages(find("ages"), () => this.aged());
    this.ages.start(data);
    this.words();
    this.controls();
    this.refresh();
  }

  // Words that do not change.
  words() {
    const { data } = this;
    find("title").textContent = data.title;
    find("taken").textContent = data.taken;
    find("head").textContent = data.head.join("\n");
    find("reader").textContent = `mprofile-read ${data.reader}`;
    showAccount(data, {
      panel: find("account"), verdict: find("verdict"), bar: find("bar"), legend: find("legend"), parts: find("parts"),
    });
    showLoud(data, find("loud"));
    for (const [key, text] of HELP) {
      const [name, words] = [document.createElement("dt"), document.createElement("dd")];
      name.textContent = key;
      words.textContent = text;
      find("keys").append(name, words);
    }
    for (const [kind, there] of [["growth", data.diff], ["type", data.types]]) {
      for (const option of document.querySelectorAll(`option[value=${kind}]`)) if (!there) option.remove();
    }
    find("ordering").hidden = !data.diff;
  }

  controls() {
    for (const [id, name] of [["colour", "colour"], ["group", "group"], ["order", "order"]]) {
      find(id).addEventListener("change", () => this.change({ [name]: find(id).value, picked: null }));
    }
    for (const [id, name] of [["inverted", "inverted"], ["hide", "hide"]]) {
      find(id).addEventListener("change", () => this.change({ [name]: find(id).checked, path: [] }));
    }
    for (const name of ["value", "unit"]) {
      for (const radio of document.querySelectorAll(`input[name=${name}]`)) {
        radio.addEventListener("change", () => this.change({ [name]: radio.value }));
      }
    }
    find("search").addEventListener("input", () => {
      clearTimeout(this.waiting);
      this.waiting = setTimeout(() => this.change({ search: find("search").value.trim(), picked: null }), SEARCH_MS);
    });
    find("out").addEventListener("click", () => this.reset());
    find("help").addEventListener("click", () => find("about").showModal());
    for (const media of [dark, printed]) media.addEventListener("change", () => this.draw());
    window.addEventListener("beforeprint", () => this.print(true));
    window.addEventListener("afterprint", () => this.print(false));
    listen(this.acts(), (event) => event.target === find("scroller") || event.target === document.body);
  }

  acts() {
    const { state, flame } = this;
    const next = (id) => {
      const all = [...find(id).options];
      const at = all.findIndex((option) => option.value === state[id]);
      const rest = [...all.slice(at + 1), ...all.slice(0, at + 1)];
      return rest.find((option) => !option.disabled).value;
    };
    const values = ["inuse", "alloc", "peak"];
    return {
      search: () => find("search").focus(),
      invert: () => this.change({ inverted: !state.inverted, path: [] }),
      hide: () => this.change({ hide: !state.hide, path: [] }),
      value: () => this.change({ value: values[(values.indexOf(state.value) + 1) % 3] }),
      unit: () => this.change({ unit: state.unit === "bytes" ? "blocks" : "bytes" }),
      colour: () => this.change({ colour: next("colour") }),
      help: () => find("about").showModal(),
      reset: () => this.reset(),
      move: (direction) => {
        find("scroller").focus({ preventScroll: true });
        flame.move(direction);
      },
      zoom: () => flame.selected && flame.zoom(flame.selected),
      out: () => {
        if (!flame.zoomed.up) return;
        flame.select(flame.zoomed.up);
        flame.zoom(flame.zoomed.up);
      },
    };
  }

  reset() {
    find("search").value = "";
    this.change({ search: "", picked: null, path: [] });
  }

  change(changes) {
    this.state.set(changes);
    this.refresh();
  }

  // A handle that is dragged says more than can be drawn: once a frame is enough.
  aged() {
    if (this.ageing) return;
    this.ageing = requestAnimationFrame(() => {
      this.ageing = 0;
      this.change({ from: this.ages.range[0], to: this.ages.range[1] });
    });
  }

  pick(row, text) {
    const again = this.state.picked && this.state.picked.key === row.key;
    find("search").value = "";
    this.change({ picked: again ? null : { ...row, text }, search: "" });
  }

  // Everything that a choice can change.
  refresh() {
    const { state } = this;
    for (const id of ["colour", "group", "order"]) find(id).value = state[id];
    for (const id of ["inverted", "hide"]) find(id).checked = state[id];
    for (const name of ["value", "unit"]) {
      for (const radio of document.querySelectorAll(`input[name=${name}]`)) {
        radio.checked = radio.value === state[name];
        if (radio.value === "blocks") radio.disabled = state.value === "peak";
      }
    }
    for (const option of document.querySelectorAll("option[value=type]")) option.disabled = state.value !== "inuse";
    this.ages.chart(state.unit, state.value === "inuse");
    this.draw();
    this.list();
  }

  draw() {
    const { state, colours } = this;
    const { wanted, tree } = state;
    const votes = state.colour === "type" ? state.votes : null;
    const isDark = dark.matches && !this.printing;
    this.flame.show({
      tree,
      colour: (one) => colours.of(one, state.colour, votes, isDark, state.inverted),
      text: (one) => this.text(one),
      lit: wanted ? (one) => !one.up || wanted[one.frame] : null,
    }, state.zoomed);
    this.legend(colours.legend(state.colour, state.weights, state.unit, isDark));
    this.detail(state.zoomed);
  }

  legend(entries) {
    find("colours").replaceChildren(...entries.map(([colour, words]) => {
      const [line, patch] = [document.createElement("li"), document.createElement("i")];
      patch.style.background = colour;
      line.append(patch, words);
      return line;
    }));
  }

  text(one) {
    if (one.up) return this.frames.label(one.frame);
    return `all: ${this.amount(one)[0]}`;
  }

  amount(one) {
    const [text, error] = figure(one.value, one.variance, this.state.unit);
    const more = this.state.unit === "bytes" ? "" : " blocks";
    return [text + more, error];
  }

  zoomed(one) {
    this.state.zoomTo(one);
    this.list();
  }

  list() {
    const { data, frames, state } = this;
    const { rows, total } = state.rows;
    this.table.show({
      data, frames, rows, total, everything: state.everything, by: state.group, unit: state.unit,
      value: state.value, order: state.order, search: state.search, picked: state.picked && state.picked.key,
    });
    const zoomed = state.zoomed;
    const [text, error] = figure(total[state.unit], total[`${state.unit}Var`], state.unit);
    const where = zoomed.up ? `below ${frames.place(zoomed.frame)}` : "in all";
    find("sum").textContent = `${text}${state.unit === "bytes" ? "" : " blocks"} ±${error} ${where}`;
    find("out").disabled = !zoomed.up && !state.wanted;
    this.explain();
    this.matched();
  }

  explain() {
    const { data, state } = this;
    const what = data.what[`${state.value}_${state.unit}`];
    const ages = state.value === "inuse" && this.ages.text !== "of any age" ? `, ${this.ages.text}` : "";
    const exact = data.exact ? "Every allocation was recorded: the figures are exact."
      : `Sampled: ${data.rate}; ± is one standard error: the truth is within twice of it 19 times in 20.`;
    const leans = state.value === "peak" && !data.exact ? " The peak is a maximum of estimates, and leans upwards." : "";
    const only = data.filtered.length ? ` Only files: ${data.filtered.join(", ")}.` : "";
    const growth = data.diff ? " Growth is since the old snapshot; grey is within twice its ±." : "";
    find("explain").textContent = `${what}${ages}. ${exact}${leans}${growth}${only}`;
  }

  matched() {
    const { state } = this;
    const { wanted } = state;
    find("found").textContent = "";
    if (!wanted) return;
    const [value, variance] = state.found;
    const [text, error] = figure(value, variance, state.unit);
    const whole = state.everything[state.unit];
    const what = state.picked ? state.picked.text : `“${state.search}”`;
    find("found").textContent = `${what}: ${text} ±${error}, ${shareText(value, whole)} in stacks with it`;
  }

  // One frame in words, below the graph.
  detail(one) {
    const { frames, state, data } = this;
    const [text, error] = this.amount(one);
    const parts = [`${text} ±${error}`, shareText(one.value, state.tree.root.value)];
    if (data.diff) {
      const [growth, growthError] = figure(one.value - one.then, one.growthVar, state.unit);
      parts.push(`growth ${growth} ±${growthError}`);
    }
    const known = one.up ? frames.of(one.frame) : null;
    find("frame").textContent = known ? [known.name, frames.place(one.frame)].filter(Boolean).join("  ") : "everything";
    find("amount").textContent = parts.join(", ");
    find("source").textContent = known ? known.source : "";
  }

  hover(one, event) {
    const tip = find("tip");
    tip.hidden = !one || !one.up || !event;
    if (tip.hidden) return;
    const { frames, state } = this;
    const known = frames.of(one.frame);
    const [text, error] = this.amount(one);
    const lines = [known.name, frames.place(one.frame), known.source, `${text} ±${error}, ${shareText(one.value, state.tree.root.value)}`];
    tip.textContent = lines.filter(Boolean).join("\n");
    const { innerWidth, innerHeight } = window;
    tip.style.left = `${Math.max(Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8), 4)}px`;
    const below = event.clientY + 18;
    tip.style.top = `${below + tip.offsetHeight > innerHeight ? event.clientY - tip.offsetHeight - 10 : below}px`;
  }

  print(on) {
    this.printing = on;
    this.draw();
    this.flame.draw();
  }
}

async function start() {
  try {
    window.mprofile = new Page(await unpack(find("data").textContent));
    document.body.classList.add("ready");
  } catch (error) {
    find("explain").textContent = `This page could not be shown (${error}). It needs a browser of 2023 or later.`;
    throw error;
  }
}

start();
