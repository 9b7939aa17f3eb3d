// Reads what explorer/web/drawn.py packs. Arrays are views of the message, not copies.

const MAGIC = "NND1";
const KINDS = { f4: Float32Array, i4: Int32Array, u1: Uint8Array };

/** A message as {number, look, seconds, cameras, lists}; throws on anything else. */
export function unpack(bytes) {
  // A view that does not begin at a multiple of four cannot be read in place.
  const buffer = bytes.byteOffset % 4 ? bytes.slice().buffer : bytes.buffer;
  const from = bytes.byteOffset % 4 ? 0 : bytes.byteOffset;
  const end = from + bytes.byteLength;
  if (bytes.byteLength < 8 || new TextDecoder().decode(new Uint8Array(buffer, from, 4)) !== MAGIC) {
    throw new Error("not a scene");
  }
  const length = new DataView(buffer).getUint32(from + 4, true);
  const body = from + 8 + length;
  if (body > end) throw new Error("a scene without its end");
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, from + 8, length)));
  const read = ([start, count], kind) => {
    const array = new KINDS[kind](buffer, body + start, count);
    if (array.byteOffset + array.byteLength > end) throw new Error("a scene without its end");
    return array;
  };
  header.lists = header.lists.map((one) => list(one, read));
  return header;
}

function list(one, read) {
  const { edges, labels } = one;
  if (one.recolors) {
    const { selected, pending } = one;
    return {
      recolors: true, selected, pending,
      solids: read(one.solids.colors, "u1"), frames: read(one.frames.colors, "u1"), edges: paint(edges, read),
    };
  }
  return {
    at: one.at, selected: one.selected, pending: one.pending,
    solids: boxes(one.solids, read), frames: boxes(one.frames, read),
    edges: {
      count: edges.count, steps: edges.steps, points: read(edges.points, "f4"), ...paint(edges, read),
    },
    labels: {
      count: labels.count, texts: labels.texts, anchors: read(labels.anchors, "f4"),
      priorities: read(labels.priorities, "f4"), node: read(labels.node, "i4"),
      flags: read(labels.flags, "u1"),
    },
  };
}

function paint(edges, read) {
  return {
    colors: read(edges.colors, "u1"), widths: read(edges.widths, "f4"),
    row: read(edges.row, "i4"),  // of each edge as the server numbers them
  };
}

/** A list in the colours of another message, which brings nothing else. */
export function recolored(list, { selected, pending, solids, frames, edges }) {
  return {
    ...list, selected, pending, solids: { ...list.solids, colors: solids },
    frames: { ...list.frames, colors: frames },
    edges: { ...list.edges, ...edges, points: inOrder(list.edges, edges.row) },
  };
}

/** The points of edges in another order of rows; the same array where it is the same order. */
function inOrder({ points, row, steps }, wanted) {
  if (row.every((number, at) => number === wanted[at])) return points;
  const places = new Int32Array(row.length), each = 3 * steps;
  row.forEach((number, at) => { places[number] = at; });
  const moved = new Float32Array(points.length);
  wanted.forEach((number, at) => {
    const from = each * places[number];
    moved.set(points.subarray(from, from + each), each * at);
  });
  return moved;
}

function boxes(one, read) {
  return {
    count: one.count, centers: read(one.centers, "f4"), sizes: read(one.sizes, "f4"),
    colors: read(one.colors, "u1"), node: read(one.node, "i4"),
  };
}
