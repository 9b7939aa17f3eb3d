// Which thing is seen where on the screen, coarsely: explorer/screen_cover.py in the browser.

export const CELL = 4;
const EDGES = [[0, 1], [2, 3], [4, 5], [6, 7], [0, 2], [1, 3], [4, 6], [5, 7], [0, 4], [1, 5], [2, 6],
  [3, 7]];

/** Pixels of the eight corners of each box, 16 numbers a box; NaN behind the viewer. */
export function cornerPixels(projection, { count, centers, sizes }) {
  const out = new Float64Array(16 * count);
  const p = [0, 0, 0];
  for (let i = 0; i < count; i++) {
    for (let c = 0; c < 8; c++) {
      projection.project(
        centers[3 * i] + (c & 4 ? 0.5 : -0.5) * sizes[3 * i],
        centers[3 * i + 1] + (c & 2 ? 0.5 : -0.5) * sizes[3 * i + 1],
        centers[3 * i + 2] + (c & 1 ? 0.5 : -0.5) * sizes[3 * i + 2], p);
      out[16 * i + 2 * c] = p[0];
      out[16 * i + 2 * c + 1] = p[1];
    }
  }
  return out;
}

const MOST_LINES = 600;  // edges that texts keep clear of

/** Sums of a grid from its top left corner, one row and column larger. */
function summed(grid, rows, columns) {
  const wide = columns + 1;
  const sums = new Int32Array((rows + 1) * wide);
  for (let y = 0; y < rows; y++) {
    let here = 0;
    for (let x = 0; x < columns; x++) {
      if (grid(y * columns + x)) here++;
      sums[(y + 1) * wide + x + 1] = sums[y * wide + x + 1] + here;
    }
  }
  return (left, top, right, bottom) => sums[bottom * wide + right] - sums[top * wide + right]
    - sums[bottom * wide + left] + sums[top * wide + left];
}

/** Cells that edges are drawn in: one edge in so many, as strands lie close together. */
export class Ink {
  constructor(projection, { count, steps, points, row }, width, height) {
    this.columns = Math.ceil(width / CELL) + 1;
    this.rows = Math.ceil(height / CELL) + 1;
    this.grid = new Uint8Array(this.rows * this.columns);
    const every = Math.max(1, Math.ceil(count / MOST_LINES));
    const a = [0, 0, 0], b = [0, 0, 0];
    for (let i = 0; i < count; i++) {
      if (row[i] % every) continue;
      for (let s = 0; s < steps; s++) {
        const at = 3 * (i * steps + s);
        [a[0], a[1]] = b;
        projection.project(points[at], points[at + 1], points[at + 2], b);
        if (s > 0 && Number.isFinite(a[0] + b[0])) this.line(a[0] / CELL, a[1] / CELL, b[0] / CELL, b[1] / CELL);
      }
    }
    this.sum = summed((at) => this.grid[at], this.rows, this.columns);
  }

  line(ax, ay, bx, by) {
    const { columns, rows } = this;
    if (Math.max(ax, bx) < 0 || Math.max(ay, by) < 0 || Math.min(ax, bx) > columns
      || Math.min(ay, by) > rows) return;
    // One step per cell; what is so near that it spans many screens is drawn more coarsely.
    const far = Math.min(Math.abs(bx - ax) + Math.abs(by - ay), 4 * Math.max(columns, rows));
    const count = Math.ceil(far) + 1;
    for (let k = 0; k < count; k++) {
      const x = ax + ((bx - ax) * k) / count, y = ay + ((by - ay) * k) / count;
      if (x >= 0 && y >= 0 && x < columns && y < rows) this.grid[(y | 0) * columns + (x | 0)] = 1;
    }
  }

  /** Share of the cells of a rectangle with a line in. */
  share(r) {
    const left = Math.max(Math.floor(r[0] / CELL), 0), top = Math.max(Math.floor(r[1] / CELL), 0);
    const right = Math.min(Math.ceil(r[2] / CELL), this.columns);
    const bottom = Math.min(Math.ceil(r[3] / CELL), this.rows);
    if (right <= left || bottom <= top) return 0;
    return this.sum(left, top, right, bottom) / ((right - left) * (bottom - top));
  }
}

/** The silhouettes of boxes, the nearer over the farther; `covered` tells how many of the cells from
 * left, top to right, bottom are on any box. */
export class Cover {
  /** @param owner the box whose part each box is, itself for most. */
  constructor(projection, solids, width, height, owner) {
    this.columns = Math.ceil(width / CELL) + 1;
    this.rows = Math.ceil(height / CELL) + 1;
    this.grid = new Int32Array(this.rows * this.columns).fill(-1);
    const { count } = solids;
    this.full = new Int32Array(count);
    this.left = new Int32Array(count);
    this.box = new Float64Array(4 * count);  // left, top, right, bottom in pixels
    for (let i = 0; i < count; i++) this.box.set([Infinity, Infinity, -Infinity, -Infinity], 4 * i);
    const corners = cornerPixels(projection, solids);
    const p = [0, 0, 0];
    const seen = [];
    for (let i = 0; i < count; i++) {
      const own = 4 * owner[i];
      let left = Infinity, top = Infinity, right = -Infinity, bottom = -Infinity, finite = true;
      for (let c = 16 * i; c < 16 * i + 16; c += 2) {
        finite &&= Number.isFinite(corners[c]);
        left = Math.min(left, corners[c]); right = Math.max(right, corners[c]);
        top = Math.min(top, corners[c + 1]); bottom = Math.max(bottom, corners[c + 1]);
      }
      if (!finite || right <= 0 || bottom <= 0 || left >= width || top >= height) continue;
      this.box[own] = Math.min(this.box[own], left);
      this.box[own + 1] = Math.min(this.box[own + 1], top);
      this.box[own + 2] = Math.max(this.box[own + 2], right);
      this.box[own + 3] = Math.max(this.box[own + 3], bottom);
      const [x, y, z] = solids.centers.subarray(3 * i, 3 * i + 3);
      seen.push([projection.project(x, y, z, p)[2], i, top / CELL, bottom / CELL]);
    }
    seen.sort((a, b) => b[0] - a[0] || a[1] - b[1]);
    for (const [, i, top, bottom] of seen) this.fill(corners, 16 * i, owner[i], top, bottom);
    for (const who of this.grid) if (who >= 0) this.left[who]++;
    this.covered = summed((at) => this.grid[at] >= 0, this.rows, this.columns);
  }

  /** Rows of cells: a silhouette reaches between the outermost crossings of a row's middle. */
  fill(corners, base, who, top, bottom) {
    const last = Math.min(Math.ceil(bottom), this.rows);
    for (let row = Math.max(Math.floor(top), 0); row < last; row++) {
      const y = Math.max(top, Math.min(bottom, row + 0.5)) * CELL;
      let begin = Infinity, end = -Infinity;
      for (const [a, b] of EDGES) {
        const ax = corners[base + 2 * a], ay = corners[base + 2 * a + 1];
        const bx = corners[base + 2 * b], by = corners[base + 2 * b + 1];
        if (y < Math.min(ay, by) - 1e-9 || y > Math.max(ay, by) + 1e-9) continue;
        const x = ax + (by === ay ? 0 : ((y - ay) * (bx - ax)) / (by - ay));
        begin = Math.min(begin, x);
        end = Math.max(end, x);
      }
      if (!(begin <= end)) continue;
      const from = Math.max(0, Math.min(this.columns, Math.floor(begin / CELL)));
      const to = Math.max(from, Math.min(this.columns, Math.ceil(end / CELL)));
      this.full[who] += to - from;
      this.grid.fill(who, row * this.columns + from, row * this.columns + to);
    }
  }

  /** How many of those cells pass a test on the number of their box, -1 for none. */
  count([left, top, right, bottom], test) {
    let found = 0;
    const x0 = Math.max(left, 0), x1 = Math.min(right, this.columns);
    for (let y = Math.max(top, 0); y < Math.min(bottom, this.rows); y++) {
      for (let at = y * this.columns + x0; at < y * this.columns + x1; at++) {
        if (test(this.grid[at])) found++;
      }
    }
    return found;
  }

  /** The box seen at a pixel, -1 for none. */
  at(x, y) {
    const row = Math.max(0, Math.min(Math.floor(y / CELL), this.rows - 1));
    return this.grid[row * this.columns + Math.max(0, Math.min(Math.floor(x / CELL), this.columns - 1))];
  }

  /** Which share of a box's silhouette nothing hides. */
  seen(box) {
    return this.left[box] / Math.max(this.full[box], 1);
  }

  /** Left, top, right and bottom of a box's silhouette. */
  bounds(box) {
    return this.box.subarray(4 * box, 4 * box + 4);
  }

  /** Middle of what is seen of a box; only for one that is seen. */
  center(box) {
    const [left, top, right, bottom] = Array.from(this.bounds(box), (v) => Math.trunc(v / CELL));
    let x = 0, y = 0, found = 0;
    for (let row = Math.max(top, 0); row <= Math.min(bottom, this.rows - 1); row++) {
      for (let column = Math.max(left, 0); column <= Math.min(right, this.columns - 1); column++) {
        if (this.grid[row * this.columns + column] !== box) continue;
        x += column; y += row; found++;
      }
    }
    return [(x / found + 0.5) * CELL, (y / found + 0.5) * CELL];
  }
}
