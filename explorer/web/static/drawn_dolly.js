// Coming nearer and going back with a wheel: the same rules as explorer/viewing/dolly.py.

import { Projection } from "./drawn_space.js";

const CLOSEST = 12;  // times the height of the picture that a box may reach at the nearest
const FARTHEST = 12;  // diagonals of the network that the height of the picture may span
const RIM = 0.03;  // of the picture: what is seen there only does not count as in sight
const LEAST_STEP = 0.05;  // of the network's diagonal: where nothing is in sight

const along = (a, b, s) => [0, 1, 2].map((i) => a[i] + s * (b[i] - a[i]));
const distance = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]);

/** The camera nearer by a factor to what is under a pixel, or farther; it never loses the solids. */
export function dolly(camera, solids, [width, height], factor, [x, y]) {
  const projection = new Projection(camera, width, height);
  const radius = distance(camera.position, camera.focal);
  const before = (depth, px, py) => projection.ray(px, py).map((v, i) => camera.position[i] + depth * v);
  if (!solids.count) return scaled(camera, before(radius, x, y), 1 / factor);
  const goal = goalOf(projection, solids, x, y);
  const slope = 2 * projection.slope;
  if (factor >= 1) {
    if (!goal) return camera;
    const nearest = goal.size / CLOSEST / slope;
    return scaled(camera, goal.point, Math.max(1 / factor, Math.min(nearest / goal.depth, 1)));
  }
  const [low, high] = extent(solids);
  const across = distance(low, high);
  const back = () => before(Math.max(radius, LEAST_STEP * across), width / 2, height / 2);
  const moved = scaled(camera, goal ? goal.point : back(), 1 / factor);
  const [was, is] = [camera, moved].map((one) => distance(one.position, along(low, high, 0.5)));
  return is > Math.max((FARTHEST * across) / slope, was) ? camera : moved;
}

/** A camera that was moved sideways, or the one before if the solids would be lost from sight. */
export function kept(camera, moved, solids, [width, height]) {
  const any = (one) => nearest(new Projection(one, width, height), solids, width / 2, height / 2);
  return any(camera) && !any(moved) ? camera : moved;
}

function scaled(camera, goal, keep) {
  return { ...camera, position: along(goal, camera.position, keep), focal: along(goal, camera.focal, keep) };
}

function extent({ count, centers, sizes }) {
  const low = [Infinity, Infinity, Infinity], high = [-Infinity, -Infinity, -Infinity];
  for (let i = 0; i < 3 * count; i++) {
    low[i % 3] = Math.min(low[i % 3], centers[i] - sizes[i] / 2);
    high[i % 3] = Math.max(high[i % 3], centers[i] + sizes[i] / 2);
  }
  return [low, high];
}

/** What the wheel leads to, {point, depth, size}: where the pixel's line of sight meets the first
 * solid, else the point of a solid that is seen nearest to the pixel; null where none is in sight. */
function goalOf(projection, solids, x, y) {
  const { width, height, origin, forward } = projection;
  let way = projection.ray(x, y), met = first(origin, way, solids);
  if (!met) {
    const point = nearest(projection, solids, x, y) ?? nearest(projection, solids, width / 2, height / 2);
    if (!point) return null;
    way = point.map((v, i) => v - origin[i]);
    met = first(origin, way, solids);  // another one may stand before it
    if (!met) return null;
  }
  const step = way.map((v) => v * met.share);
  return {
    point: step.map((v, i) => origin[i] + v), depth: step[0] * forward[0] + step[1] * forward[1] + step[2] * forward[2],
    size: Math.max(solids.sizes[3 * met.row + 1], solids.sizes[3 * met.row + 2]) };
}

/** The solid that a line of sight meets first, and after how many of its steps. */
function first(eye, way, { count, centers, sizes }) {
  const steps = way.map((v) => (Math.abs(v) < 1e-12 ? 1e-12 : v));
  let found = null;
  for (let row = 0; row < count; row++) {
    let enter = -Infinity, leave = Infinity;
    for (let a = 0; a < 3; a++) {
      const middle = centers[3 * row + a] - eye[a], half = sizes[3 * row + a] / 2;
      const one = (middle - half) / steps[a], two = (middle + half) / steps[a];
      enter = Math.max(enter, Math.min(one, two));
      leave = Math.min(leave, Math.max(one, two));
    }
    if (enter <= leave + 1e-9 && enter > 0 && enter < (found?.share ?? Infinity)) found = { row, share: enter };
  }
  return found;
}

/** Of the solids in sight the point closest to a pixel's line of sight, or null. */
function nearest(projection, { count, centers, sizes }, x, y) {
  const { width, height, origin, forward } = projection;
  const ray = projection.ray(x, y);
  const out = [0, 0, 0];
  let best = Infinity, found = null;
  for (let i = 0; i < 3 * count; i += 3) {
    let depth = 0;
    for (let a = 0; a < 3; a++) depth += (centers[i + a] - origin[a]) * forward[a];
    const point = [0, 1, 2].map((a) => Math.min(Math.max(origin[a] + depth * ray[a],
      centers[i + a] - sizes[i + a] / 2), centers[i + a] + sizes[i + a] / 2));
    const [px, py, far] = projection.project(...point, out);
    if (!(far > 0) || px < RIM * width || px > (1 - RIM) * width
      || py < RIM * height || py > (1 - RIM) * height) continue;
    const away = Math.hypot(px - x, py - y);
    if (away < best) [best, found] = [away, point];
  }
  return found;
}
