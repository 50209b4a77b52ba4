// SPDX-License-Identifier: MIT
// The keyboard: everything that a pointer can do. Keys are left alone inside fields.

export const HELP = [
  ["↑ ↓ ← →", "select a frame: its caller, its heaviest callee, its neighbours"],
  ["Enter", "zoom to the selected frame"],
  ["Backspace", "zoom out by one frame"],
  ["Esc 0", "zoom out, forget the search"],
  ["/", "search"],
  ["i", "inverted: from what allocated up to its callers"],
  ["h", "hide importlib and what evaluates Python"],
  ["v", "next value: in use, allocated, peak"],
  ["b", "bytes or blocks"],
  ["c", "next colour"],
  ["?", "this help"],
];

const MOVES = { ArrowUp: "up", ArrowDown: "down", ArrowLeft: "left", ArrowRight: "right" };

// acts: functions by name; inGraph(event): whether arrows and Enter are the graph's.
export function listen(acts, inGraph) {
  const keys = {
    "/": acts.search, i: acts.invert, h: acts.hide, v: acts.value, b: acts.unit, c: acts.colour,
    "?": acts.help, 0: acts.reset, Escape: acts.reset,
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const inField = event.target.matches("input, select, textarea");
    if (inField) {
      if (event.key === "Escape") {
        event.target.blur();
        acts.reset();
      }
      return;
    }
    let act = keys[event.key];
    if (inGraph(event)) {
      if (MOVES[event.key]) act = () => acts.move(MOVES[event.key]);
      if (event.key === "Enter") act = acts.zoom;
      if (event.key === "Backspace") act = acts.out;
    }
    if (act) {
      event.preventDefault();
      act();
    }
  });
}
