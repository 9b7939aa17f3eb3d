// Cameras, their moves, and what they see: the same rules as explorer/orbit.py and
// explorer/renderer/projection.py.

const STEEPEST = (88 * Math.PI) / 180;
const SPEED = (130 * Math.PI) / 180;
// Nearest depth drawn, as a share of the farthest: what depth precision allows.
const NEAREST = 5e-5;

const add = (a, b, s = 1) => [a[0] + s * b[0], a[1] + s * b[1], a[2] + s * b[2]];
const sub = (a, b) => add(a, b, -1);
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const cross = (a, b) => [
  a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
const scaled = (a, s) => [a[0] * s, a[1] * s, a[2] * s];
const size = (a) => Math.hypot(a[0], a[1], a[2]);
const unit = (a) => scaled(a, 1 / Math.max(size(a), 1e-300));

/** A camera from ten numbers: position, focal point, up, view angle in degrees. */
export function cameraOf(row) {
  return { position: row.slice(0, 3), focal: row.slice(3, 6), up: row.slice(6, 9), angle: row[9] };
}

/** The ten numbers of a camera. */
export function rowOf(camera) {
  return [...camera.position, ...camera.focal, ...camera.up, camera.angle];
}

/** Turn about the focal point by a movement in shares of the picture's height, down positive. */
export function turn(camera, dx, dy) {
  const offset = sub(camera.position, camera.focal);
  const radius = size(offset);
  const azimuth = Math.atan2(offset[0], offset[2]) - dx * SPEED;
  const rise = Math.asin(Math.max(-1, Math.min(1, offset[1] / radius))) + dy * SPEED;
  const height = Math.max(-STEEPEST, Math.min(STEEPEST, rise));
  const flat = radius * Math.cos(height);
  const way = [flat * Math.sin(azimuth), radius * Math.sin(height), flat * Math.cos(azimuth)];
  return { ...camera, position: add(camera.focal, way), up: [0, 1, 0] };
}

/** Move sideways so that what lies at the focal point's depth follows the pointer. */
export function shift(camera, dx, dy) {
  const { right, up, radius } = axes(camera);
  const height = 2 * radius * Math.tan((camera.angle * Math.PI) / 360);
  const move = add(scaled(right, -dx * height), up, dy * height);
  return { ...camera, position: add(camera.position, move), focal: add(camera.focal, move) };
}

function axes(camera) {
  const offset = sub(camera.position, camera.focal);
  const radius = size(offset);
  const back = scaled(offset, 1 / radius);
  const right = unit(cross(camera.up, back));
  return { right, up: cross(back, right), back, radius };
}

/** The camera at a time 0..1 of a flight given by cameras at even times. */
export function alongFlight(rows, t) {
  const at = Math.max(0, Math.min(1, t)) * (rows.length - 1);
  const low = Math.min(Math.floor(at), rows.length - 2);
  if (low < 0) return cameraOf(rows[0]);
  const share = at - low;
  return cameraOf(rows[low].map((v, i) => v + (rows[low + 1][i] - v) * share));
}

/** A perspective camera over a picture of this size; pixels count from the top left. */
export class Projection {
  constructor(camera, width, height, near = 1e-9) {
    Object.assign(this, { width, height, near });
    this.origin = camera.position;
    this.forward = unit(sub(camera.focal, camera.position));
    let right = cross(this.forward, camera.up);
    if (size(right) < 1e-9) {
      right = cross(this.forward, Math.abs(this.forward[2]) < 0.9 ? [0, 0, 1] : [1, 0, 0]);
    }
    this.right = unit(right);
    this.up = cross(this.right, this.forward);
    this.slope = Math.tan((camera.angle * Math.PI) / 360);
    this.scale = height / 2 / this.slope;
  }

  /** Writes x, y in pixels and the depth to `out`; NaN pixels behind the near plane. */
  project(px, py, pz, out) {
    const x = px - this.origin[0], y = py - this.origin[1], z = pz - this.origin[2];
    const { right: r, up: u, forward: f } = this;
    const depth = x * f[0] + y * f[1] + z * f[2];
    const scale = depth >= this.near ? this.scale / depth : NaN;
    out[0] = this.width / 2 + scale * (x * r[0] + y * r[1] + z * r[2]);
    out[1] = this.height / 2 - scale * (x * u[0] + y * u[1] + z * u[2]);
    out[2] = depth;
    return out;
  }

  /** Direction through a pixel; a step of 1 is a step of 1 in depth. */
  ray(x, y) {
    const across = add(this.forward, this.right, (x - this.width / 2) / this.scale);
    return add(across, this.up, (this.height / 2 - y) / this.scale);
  }
}

/** Nearest and farthest depth of a list for a camera. */
export function clipping(list, camera) {
  const o = camera.position;
  const f = unit(sub(camera.focal, o));
  const base = dot(o, f);
  let least = Infinity, most = 0, behind = false;
  const take = (depth) => {
    if (depth <= 0) behind = true;
    else {
      if (depth < least) least = depth;
      if (depth > most) most = depth;
    }
  };
  for (const { count, centers, sizes } of [list.solids, list.frames]) {
    for (let i = 0; i < 3 * count; i += 3) {
      const middle = centers[i] * f[0] + centers[i + 1] * f[1] + centers[i + 2] * f[2] - base;
      const half = (Math.abs(sizes[i] * f[0]) + Math.abs(sizes[i + 1] * f[1])
        + Math.abs(sizes[i + 2] * f[2])) / 2;
      take(middle - half);
      take(middle + half);
    }
  }
  const points = list.edges.points;
  for (let i = 0; i < points.length; i += 3) {
    take(points[i] * f[0] + points[i + 1] * f[1] + points[i + 2] * f[2] - base);
  }
  if (!most) return [0.01, 1000];
  const far = most * 1.01 + 1e-6;
  return [Math.max(behind ? 0 : least * 0.5, far * NEAREST), far];
}

/** Row of the first solid that a pixel's ray meets, or -1, and its depth. */
export function solidAt(projection, solids, x, y) {
  const ray = projection.ray(x, y).map((v) => (Math.abs(v) < 1e-12 ? 1e-12 : v));
  const o = projection.origin;
  let row = -1, nearest = Infinity;
  for (let i = 0; i < solids.count; i++) {
    let enter = -Infinity, leave = Infinity;
    for (let a = 0; a < 3; a++) {
      const middle = solids.centers[3 * i + a] - o[a], half = Math.abs(solids.sizes[3 * i + a]) / 2;
      const one = (middle - half) / ray[a], two = (middle + half) / ray[a];
      enter = Math.max(enter, Math.min(one, two));
      leave = Math.min(leave, Math.max(one, two));
    }
    if (enter <= leave && enter >= projection.near && enter < nearest) [row, nearest] = [i, enter];
  }
  return [row, nearest];
}

/** The edge nearest to a pixel within reach that no solid hides there, as the server numbers it, or
 * -1; of several within 1.5 pixels the strongest. */
export function edgeAt(projection, list, x, y, reach) {
  const { count, steps, points, row: rows } = list.edges;
  const near = [];
  const a = [0, 0, 0], b = [0, 0, 0];
  for (let row = 0; row < count; row++) {
    for (let s = 0; s < steps; s++) {
      const at = 3 * (row * steps + s);
      [a[0], a[1], a[2]] = b;
      projection.project(points[at], points[at + 1], points[at + 2], b);
      if (s === 0 || !(a[2] >= projection.near && b[2] >= projection.near)) continue;
      if (Math.min(a[0], b[0]) > x + reach || Math.max(a[0], b[0]) < x - reach
        || Math.min(a[1], b[1]) > y + reach || Math.max(a[1], b[1]) < y - reach) continue;
      const dx = b[0] - a[0], dy = b[1] - a[1];
      const length = Math.max(dx * dx + dy * dy, 1e-12);
      const share = Math.max(0, Math.min(1, ((x - a[0]) * dx + (y - a[1]) * dy) / length));
      const px = a[0] + share * dx, py = a[1] + share * dy;
      const distance = Math.hypot(px - x, py - y);
      // Along a projected segment it is 1 / depth that changes evenly.
      const depth = 1 / (1 / a[2] + share * (1 / b[2] - 1 / a[2]));
      if (distance <= reach) near.push({ row: rows[row], px, py, depth, touch: Math.max(distance, 1.5) });
    }
  }
  near.sort((p, q) => p.touch - q.touch || q.row - p.row);
  for (const hit of near.slice(0, 64)) {
    if (solidAt(projection, list.solids, hit.px, hit.py)[1] >= hit.depth * (1 - 1e-4)) return hit.row;
  }
  return -1;
}
