// Where labels go on the screen: the rules of explorer/label_placement.py, and one more of a view
// that moves: a label keeps its former slot while that is still free.

import { CELL } from "./drawn_cover.js";

const GAP = 3;  // pixels between an anchor and its text
const MOST_INK = 0.12;  // share of a text that edges may cross where there is room elsewhere
const AT_EDGE = 2 / 3;  // share of a title's slots that touch the edge it names
const MOST_FOREIGN = 0.04;  // share of a text that may lie on things it does not name
const LEAST_ON_OWN = 0.65;  // share of the inner part of a text that must lie on its thing
const LEAST_SEEN = 0.2;  // share of a thing that must be seen for its label to be shown
const LEADER_LINES = 0.8;  // a text farther from its anchor, in its heights, gets a leader
const PROBES = 33;  // where a leader is tested
const rounded = Math.round;

/** Places for labels, the most important first; null for one that has none.
 *
 * A label has anchor [x, y], sizes [[w, h], ...] of its texts, the longest first, below, own (row of
 * its thing in the cover or -1), upon, outline (8 corners) and inner (per thing) of a frame's title,
 * and former, the slot it had. A place has x, y, w, h, variant, slot, body (what no other text may
 * touch) and leader [x, y, x, y] or null.
 */
export function placeLabels(labels, cover, ink, width, height) {
  const table = new Table(cover, ink, width, height);
  return labels.map((label) => {
    const [x, y] = label.anchor;
    return x >= 0 && y >= 0 && x <= width && y <= height ? table.place(label) : null;
  });
}

class Table {
  constructor(cover, ink, width, height) {
    Object.assign(this, { cover, ink, width, height });
    this.columns = Math.ceil(width / CELL) + 1;
    this.rows = Math.ceil(height / CELL) + 1;
    this.taken = new Uint8Array(this.rows * this.columns);
  }

  place(label) {
    const { cover } = this;
    if (label.outline) return this.placeTitle(label);
    if (label.own < 0) return this.placeNear(label, label.anchor);
    if (cover.seen(label.own) < LEAST_SEEN) return null;
    const middle = cover.center(label.own);
    if (label.upon) return this.placeUpon(label, middle);
    // Something may stand before the anchor: then what is seen of the thing.
    const before = ![label.own, -1].includes(cover.at(...label.anchor));
    return this.placeNear(label, before ? middle : label.anchor) ?? this.placeFar(label, middle);
  }

  placeNear(label, anchor) {
    const slots = (w, h) => nearSlots(...anchor, w, h, label.below);
    let inked = null;
    for (const { variant, slot, r, h, former } of ordered(label, "near", slots)) {
      if (inked && variant > inked.variant) break;
      if (!this.clear(r, label.own, MOST_FOREIGN) || !this.free(r)) continue;
      const far = distance(r, anchor) > LEADER_LINES * h
        && (label.own < 0 || this.share(r, label.own) < 0.2);
      if (inked && far) continue;  // better across a line than away from what it names
      const place = { r, variant, slot, goal: far ? anchor : null };
      if (former || this.isPlain(r)) return this.take(place);
      inked ??= place;
    }
    return inked && this.take(inked);
  }

  placeFar(label, middle) {
    const bounds = this.cover.bounds(label.own);
    for (const [variant, [w, h]] of label.sizes.entries()) {
      for (const [x, y] of farSlots(bounds, w, h, label.below)) {
        const r = [x, y, x + w, y + h];
        if (!this.clear(r, label.own, MOST_FOREIGN / 2) || !this.free(r)) continue;
        const goal = this.leaderEnd(r, middle, label.own);
        if (!goal) continue;
        // Whoever reads it looks straight up or down from the text.
        const shared = Math.min(r[2], bounds[2]) - Math.max(r[0], bounds[0]);
        const plain = shared >= 0.4 * Math.min(w, bounds[2] - bounds[0])
          && distance(r, goal) <= LEADER_LINES * h;
        return this.take({ r, variant, slot: null, goal: plain ? null : goal });
      }
    }
    return null;
  }

  placeUpon(label, [mx, my]) {
    const [w, h] = label.sizes[0];
    const x = rounded(mx - w / 2), y = rounded(my - h / 2);
    const r = [x, y, x + w, y + h];
    // The rim of a text is a soft shadow: it may reach over the edge and under the next text.
    const inset = (part) => [x + Math.floor(w / part), y + Math.floor(h / part),
      x + w - Math.floor(w / part), y + h - Math.floor(h / part)];
    const body = inset(6);
    if (!this.free(r, body) || this.share(inset(4), label.own) < LEAST_ON_OWN) return null;
    return { ...this.take({ r: body, variant: 0, slot: null, goal: null }), x, y, w, h };
  }

  placeTitle(label) {
    const corners = label.outline;
    let left = Infinity, right = -Infinity;
    for (let c = 0; c < 16; c += 2) {
      left = Math.min(left, corners[c]);
      right = Math.max(right, corners[c]);
    }
    left = Math.max(left, 0);
    right = Math.min(right, this.width);
    const fits = ([w]) => w <= 1.1 * (right - left);
    const fitting = [...label.sizes.keys()].filter((k) => fits(label.sizes[k])).slice(0, 2);
    const variants = fitting.length ? fitting : [label.sizes.length - 1];
    const ticked = (one) => ({ ...one, goal: tick(corners, one.r[0] + 1) });
    const slots = (w, h) => titleSlots(corners, left, right, w, h, this.width);
    for (const allowed of label.inner ? [null, label.inner] : [null]) {
      let first = null;
      for (const one of ordered(label, allowed ? "in" : "on", slots, variants)) {
        if (first && one.variant !== first.variant) break;
        if (!this.free(one.r) || !this.onThings(one.r, allowed)) continue;
        // Beyond a line it would seem to name what is on the other side.
        if (one.former || (one.atEdge && this.isPlain(one.r))) return this.take(ticked(one));
        first ??= one;
      }
      if (first) return this.take(ticked(first));
    }
    return null;
  }

  /** Whether no other thing covers more than a share of a text. */
  clear([x, y, right, bottom], own, most) {
    if (x < 0 || y < 0 || right > this.width || bottom > this.height) return false;
    const cells = [Math.floor(x / CELL), Math.floor(y / CELL), Math.ceil(right / CELL),
      Math.ceil(bottom / CELL)];
    const room = most * (cells[2] - cells[0]) * (cells[3] - cells[1]);
    const covered = this.cover.covered(...cells);
    return covered <= room || covered - this.cover.count(cells, (who) => who === own) <= room;
  }

  /** Whether a title may lie here: on nothing, or on things of its own frame. */
  onThings(r, allowed) {
    const cells = cellsOf(r);
    const foreign = this.cover.count(cells, (who) => who >= 0 && !(allowed && allowed[who]));
    return foreign <= (MOST_FOREIGN / 2) * (cells[2] - cells[0]) * (cells[3] - cells[1]);
  }

  /** Whether a text is inside the viewport, and no other text on it (or on its body). */
  free(r, body = r) {
    if (r[0] < 0 || r[1] < 0 || r[2] > this.width || r[3] > this.height) return false;
    const [left, top, right, bottom] = cellsOf(body);
    for (let y = top; y < bottom; y++) {
      for (let x = left; x < right; x++) if (this.taken[y * this.columns + x]) return false;
    }
    return true;
  }

  /** Whether hardly an edge runs under a text. */
  isPlain(r) {
    return this.ink.share(r) <= MOST_INK;
  }

  take({ r, variant, slot, goal }) {
    const [left, top, right, bottom] = cellsOf(r);
    for (let y = top; y < bottom; y++) {
      this.taken.fill(1, y * this.columns + left, y * this.columns + right);
    }
    const leader = goal && [...nearest(r, goal), ...goal];
    return { x: r[0], y: r[1], w: r[2] - r[0], h: r[3] - r[1], variant, slot, body: r, leader };
  }

  share(r, own) {
    const cells = cellsOf(r);
    return this.cover.count(cells, (who) => who === own)
      / Math.max((cells[2] - cells[0]) * (cells[3] - cells[1]), 1);
  }

  /** Where a leader to a goal meets the thing; null if something else is in its way. */
  leaderEnd(r, goal, own) {
    const start = nearest(r, goal);
    const at = (k) => {
      const share = Math.min(k, PROBES - 1) / (PROBES - 1);
      return [start[0] + share * (goal[0] - start[0]), start[1] + share * (goal[1] - start[1])];
    };
    for (let k = 0; k < PROBES; k++) {
      const [x, y] = at(k);
      const who = this.cover.at(x, y);
      // A little into it, so that it is seen.
      if (who === own || k === PROBES - 1) return at(k + 2);
      const cell = Math.min(Math.floor(y / CELL), this.rows - 1) * this.columns + Math.floor(x / CELL);
      if (who >= 0 || this.taken[cell]) return null;
    }
    return null;
  }
}

/** All slots of all texts, the former one first. */
function* ordered(label, kind, slots, variants = label.sizes.keys()) {
  const { former } = label;
  const all = [...variants];
  const one = (variant, index, corners, again) => {
    const [w, h] = label.sizes[variant];
    const [x, y] = corners[index];
    return { variant, slot: { kind, variant, index }, r: [x, y, x + w, y + h], h, former: again,
      atEdge: index < AT_EDGE * corners.length };
  };
  if (former?.kind === kind && all.includes(former.variant)) {
    const corners = slots(...label.sizes[former.variant]);
    if (former.index < corners.length) yield one(former.variant, former.index, corners, true);
  }
  for (const variant of all) {
    const corners = slots(...label.sizes[variant]);
    for (let index = 0; index < corners.length; index++) yield one(variant, index, corners, false);
  }
}

function cellsOf(r) {
  return [Math.max(Math.floor(r[0] / CELL), 0), Math.max(Math.floor(r[1] / CELL), 0),
    Math.max(Math.ceil(r[2] / CELL), 0), Math.max(Math.ceil(r[3] / CELL), 0)];
}

function nearest(r, [x, y]) {
  return [Math.min(Math.max(x, r[0]), r[2]), Math.min(Math.max(y, r[1]), r[3])];
}

function distance(r, point) {
  const [x, y] = nearest(r, point);
  return Math.max(Math.abs(x - point[0]), Math.abs(y - point[1]));
}

/** Top left corners to try, best first: near the anchor, then a line or half a text away. */
function nearSlots(x, y, w, h, below) {
  const middle = rounded(x - w / 2);
  const over = rounded(y - h - GAP), under = rounded(y + GAP);
  const [first, second, line] = below ? [under, over, h] : [over, under, -h];
  const side = rounded(y - h / 2), aside = rounded(w * 0.4), half = Math.floor(aside / 2);
  return [
    [middle, first], [middle + half, first], [middle - half, first], [middle + aside, first],
    [middle - aside, first], [middle, first + line], [rounded(x + 2 * GAP), side],
    [rounded(x - w - 2 * GAP), side], [middle, second], [middle, second - line],
  ];
}

/** Top left corners under and over a thing, the nearest first, up to four lines away. */
function farSlots([left, top, right, bottom], w, h, below) {
  const middle = (left + right) / 2 - w / 2;
  const out = [];
  for (const line of [0, 1.2, 2.4, 3.6]) {
    const under = bottom + GAP + line * h, over = top - GAP - (line + 1) * h;
    for (const y of below ? [under, over] : [over, under]) {
      for (const aside of [0, 0.35, -0.35, 0.7, -0.7]) {
        out.push([rounded(middle + aside * w), rounded(y)]);
      }
    }
  }
  return out;
}

/** Top left corners of a title: above its frame's upper edge from where that begins, below it. */
function titleSlots(corners, begin, right, w, h, width) {
  const [first, last] = shoulders(corners);
  const left = Math.max(begin, Math.min(first, right - w));
  const shares = right - left - w > 0 ? [0, 0.15, 0.3, 0.5, 0.7, 0.9] : [0.5];
  const rows = [[], [], []];
  for (const share of shares) {
    const x = Math.max(0, Math.min(left + share * (right - left - w), Math.max(width - w, 0)));
    let over = Infinity;
    for (let k = 0; k <= 4; k++) {
      over = Math.min(over, upperEdge(corners, Math.max(first, Math.min(last, x + (k * w) / 4))));
    }
    let above = over - h;
    // At the upper edge of the picture a title may come to lie on its frame's own line.
    if (above > -0.7 * h) above = Math.max(above, 0);
    [above, over + GAP, above - h].forEach((y, i) => rows[i].push([rounded(x), rounded(y)]));
  }
  return rows.flat();
}

/** Where a line straight up or down from a title meets the upper edge of its frame. */
function tick(corners, x) {
  const [first, last] = shoulders(corners);
  const at = Math.max(first, Math.min(last, x));
  return [at, upperEdge(corners, at)];
}

/** Where the upper edge of a frame begins and ends: not down its steep sides. */
function shoulders(corners) {
  const ends = [1, -1].map((side) => {
    const points = [];
    for (let c = 0; c < 16; c += 2) points.push([side * corners[c], corners[c + 1]]);
    const [x, y] = points.reduce((a, b) => (b[0] < a[0] || (b[0] === a[0] && b[1] < a[1]) ? b : a));
    const steep = points.filter(([px, py]) => y - py > 1.5 * (px - x));
    return side * Math.max(x, ...steep.map(([px]) => px));
  });
  return ends[0] <= ends[1] ? ends : [corners[0], corners[0]];
}

/** Upper edge of the hull of eight points over x: the highest of all segments between two. */
function upperEdge(corners, x) {
  let least = Infinity, most = -Infinity, found = Infinity;
  for (let c = 0; c < 16; c += 2) {
    least = Math.min(least, corners[c]);
    most = Math.max(most, corners[c]);
  }
  const at = Math.max(least, Math.min(most, x));
  for (let a = 0; a < 16; a += 2) {
    for (let b = a + 2; b < 16; b += 2) {
      const ax = corners[a], bx = corners[b];
      if (at < Math.min(ax, bx) - 1e-9 || at > Math.max(ax, bx) + 1e-9) continue;
      const share = bx === ax ? 0 : (at - ax) / (bx - ax);
      found = Math.min(found, corners[a + 1] + share * (corners[b + 1] - corners[a + 1]));
    }
  }
  return found;
}
