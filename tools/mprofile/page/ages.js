// SPDX-License-Identifier: MIT
// The age slider: two handles over a small chart of what is alive at each age. They stand on the
// bins' limits, so what is shown is exact.

import { byAge } from "./weights.js";
import { ageText } from "./units.js";

export class Ages {
  constructor(panel, onChange) {
    this.panel = panel;
    this.find = (name) => panel.querySelector(`[data-age=${name}]`);
    this.older = this.find("older");
    this.younger = this.find("younger");
    this.onChange = onChange;
    for (const slider of [this.older, this.younger]) {
      slider.addEventListener("input", () => this.changed(slider));
    }
  }

  start(data) {
    this.data = data;
    this.bins = data.limits.length;
    this.panel.hidden = this.bins < 2;
    for (const slider of [this.older, this.younger]) slider.max = this.bins;
    this.reset();
  }

  reset() {
    this.older.value = 0;
    this.younger.value = this.bins;
    this.words();
  }

  // [first bin, bin behind the last]
  get range() {
    return [Number(this.older.value), Number(this.younger.value)];
  }

  changed(slider) {
    const [from, to] = this.range;
    if (from >= to) {
      if (slider === this.older) this.older.value = to - 1;
      else this.younger.value = from + 1;
    }
    this.words();
    this.onChange();
  }

  words() {
    const [from, to] = this.range;
    const { limits } = this.data;
    const least = from ? `at least ${ageText(limits[from])} old` : "";
    const most = to < this.bins ? `younger than ${ageText(limits[to])}` : "";
    this.text = [least, most].filter(Boolean).join(" and ") || "of any age";
    this.find("words").textContent = this.text;
    this.older.setAttribute("aria-valuetext", least || "any age");
    this.younger.setAttribute("aria-valuetext", most || "any age");
    [...this.find("chart").children].forEach((bar, bin) => {
      bar.className = bin >= from && bin < to ? "" : "out";
    });
  }

  chart(unit, enabled) {
    const bins = byAge(this.data, unit);
    const most = Math.max(...bins) || 1;
    const bars = [...bins].map((value, bin) => {
      const bar = document.createElement("span");
      bar.style.height = `${Math.max((100 * value) / most, value ? 4 : 0)}%`;
      bar.title = `${ageText(this.data.limits[bin])} and older`;
      return bar;
    });
    this.find("chart").replaceChildren(...bars);
    for (const slider of [this.older, this.younger]) slider.disabled = !enabled;
    this.panel.classList.toggle("off", !enabled);
    this.words();
    if (!enabled) this.find("words").textContent = "ages are known of what is in use";
  }
}
