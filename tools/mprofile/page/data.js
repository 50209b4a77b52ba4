// SPDX-License-Identifier: MIT
// The page's own figures, unpacked: facts as JSON, columns as typed arrays over one buffer.

const ARRAYS = { I: Uint32Array, B: Uint8Array, d: Float64Array };

async function inflated(text) {
  const raw = atob(text);
  const packed = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i += 1) packed[i] = raw.charCodeAt(i);
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).arrayBuffer();
}

// {facts…, col: {name: typed array}}
export async function unpack(text) {
  const buffer = await inflated(text);
  const length = new DataView(buffer).getUint32(0, true);
  const facts = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const start = 4 + length;
  const col = {};
  for (const [name, code, at, count] of facts.columns) {
    col[name] = new ARRAYS[code](buffer, start + at, count);
  }
  return { ...facts, col };
}
