// SPDX-License-Identifier: MIT
// Figures for people, exactly as the reader prints them: three digits, a unit, ± in the same unit.

const BYTES = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
const COUNTS = ["", "k", "M", "G", "T", "P", "E"];

// Python rounds what lies exactly between two decimals to the even one, toFixed away from zero.
// Only a fraction of a power of two can lie there exactly.
export function fixed(value, decimals) {
  const size = Math.abs(value);
  const scaled = size * 10 ** decimals;
  const whole = Math.floor(scaled);
  const between = scaled - whole === 0.5 && Number.isInteger(size * 2 ** (decimals + 1));
  if (!between || whole % 2) return value.toFixed(decimals);
  return (Math.sign(value) * (whole / 10 ** decimals)).toFixed(decimals);
}

function scaled(value, base, units, whole) {
  let scale = 1;
  let index = 0;
  while (Math.abs(value) / scale >= (index === 0 ? whole : base) && index < units.length - 1) {
    scale *= base;
    index += 1;
  }
  return [scale, units[index]];
}

function digits(value, exact) {
  if (exact) return 0;
  return Math.abs(value) < 9.995 ? 2 : Math.abs(value) < 99.95 ? 1 : 0;
}

function errorText(error, decimals) {
  for (const places of [decimals, decimals + 1]) {
    const text = fixed(error, places);
    if (Number(text)) return text;
  }
  return "0";
}

// What decides the unit and the digits: a value far below its error says nothing by its own.
function known(value, error) {
  return error > 10 * Math.abs(value) ? error : value;
}

// ["12.3 MiB", "0.4"]
export function bytesAndError(value, error) {
  const [scale, unit] = scaled(known(value, error), 1024, BYTES, 1024);
  const decimals = digits(known(value, error) / scale, scale === 1);
  return [`${fixed(value / scale, value ? decimals : 0)} ${unit}`, errorText(error / scale, decimals)];
}

// ["12.3k", "0.4k"]
export function countAndError(value, error) {
  const [scale, unit] = scaled(known(value, error), 1000, COUNTS, 9999.5);
  const decimals = digits(known(value, error) / scale, scale === 1);
  const text = errorText(error / scale, decimals);
  return [value ? fixed(value / scale, decimals) + unit : "0", text === "0" ? text : text + unit];
}

export function figure(value, variance, unit) {
  const error = Math.sqrt(Math.max(variance, 0));
  return unit === "bytes" ? bytesAndError(value, error) : countAndError(value, error);
}

export function shareText(part, whole) {
  if (!(whole > 0)) return "-";
  const percent = (100 * part) / whole;
  if (percent > 0 && percent < 0.05) return "<0.1%";
  return `${fixed(percent, percent < 99.95 ? 1 : 0)}%`;
}

// "10 ms", "5 s", "20 min", "4 h", "7 d"
export function ageText(milliseconds) {
  const units = [[86400000, "d"], [3600000, "h"], [60000, "min"], [1000, "s"], [1, "ms"]];
  for (const [size, unit] of units) {
    if (milliseconds >= size) return `${Number((milliseconds / size).toPrecision(3))} ${unit}`;
  }
  return "0";
}
