// SPDX-License-Identifier: MIT
// Frames in words: the function, the place, the source; which frames are machinery; what a search
// finds.

const NATIVE = 0xffffffff;
const UNKNOWN = "<unknown>";
export const NAMELESS = "[code without a name]";
const MACHINERY_FILES = /^<frozen (importlib|runpy|zipimport)|[/]importlib[/]__init__[.]py$|[/]runpy[.]py$/;
// What an interpreter runs between two Python functions: evaluation, calls, builtins.
const MACHINERY_CODE = /^(_?Py|_PyEval|cfunction_|vectorcall_|method_vectorcall|object_vacall|slot_tp_|builtin___|run_|pymain_|builtin_exec|type_call)/;
const INTERPRETER = /^(libpython|python)[0-9.]*/;

export class Frames {
  constructor(data) {
    this.data = data;
    this.count = data.col.frame_func.length;
    this.hiddenMask = null;
  }

  // {name, file, line, first, native, source}
  of(frame) {
    const { col, strings } = this.data;
    const func = col.frame_func[frame];
    return {
      name: strings[col.func_name[func]],
      file: strings[col.func_file[func]],
      line: col.frame_line[frame],
      first: col.func_first[func],
      native: col.func_first[func] === NATIVE,
      source: strings[col.frame_source[frame]],
    };
  }

  fileId(frame) {
    const { col } = this.data;
    return col.func_file[col.frame_func[frame]];
  }

  // As the reader writes it: `file:line`, `symbol (module+0x12)`.
  place(frame) {
    const { name, file, line, native } = this.of(frame);
    if (native) {
      const module = base(file) || "?";
      const offset = /^(.+)[+]0x([^+]*)$/.exec(name);
      if (offset) return `${offset[1]}+0x${offset[2]} (${module})`;
      const at = line.toString(16);
      return name ? `${name} (${module}+0x${at})` : `0x${at} (${module})`;
    }
    return file === UNKNOWN ? `${file} ${name}`.trimEnd() : `${file}:${line}`;
  }

  // What fits on a frame: the name, then where.
  label(frame) {
    const { name, file, line, native } = this.of(frame);
    if (native) return name ? `${name}  ${base(file)}` : this.place(frame);
    if (file === UNKNOWN) return name;
    return `${name}  ${base(file)}:${line}`;
  }

  functionPlace(frame) {
    const { name, file, first, native } = this.of(frame);
    if (file === UNKNOWN) return this.place(frame);
    return native ? `${name || NAMELESS} (${base(file) || "?"})` : `${file}:${first} ${name}`;
  }

  // 1 for frames of importlib, and for what evaluates Python.
  hidden() {
    if (!this.hiddenMask) {
      this.hiddenMask = this.mask((one) => (one.native
        ? INTERPRETER.test(base(one.file)) || MACHINERY_CODE.test(one.name)
        : MACHINERY_FILES.test(one.file)));
      this.hiddenMask[0] = 0;
    }
    return this.hiddenMask;
  }

  // 1 for frames with the text in their function or place; null where nothing is looked for.
  matching(text) {
    if (!text) return null;
    const wanted = text.toLowerCase();
    return this.mask((one, frame) => `${one.name} ${this.place(frame)}`.toLowerCase().includes(wanted));
  }

  mask(test) {
    const mask = new Uint8Array(this.count);
    for (let frame = 0; frame < this.count; frame += 1) {
      mask[frame] = test(this.of(frame), frame) ? 1 : 0;
    }
    return mask;
  }
}

export function base(path) {
  return path.slice(path.lastIndexOf("/") + 1);
}
