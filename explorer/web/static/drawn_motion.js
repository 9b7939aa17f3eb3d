// A move under way: lists between two others, and a flight of the camera.

import { alongFlight } from "./drawn_space.js";

/** Smooth start and stop, as explorer.view_state.ease. */
export function ease(t) {
  const x = Math.min(Math.max(t, 0), 1);
  return x * x * (3 - 2 * x);
}

export class Motion {
  /** @param message what `unpack` gives; it begins now, with `list` where it brings none. */
  constructor(message, list, now) {
    const { lists, cameras, seconds } = message;
    this.keys = lists.slice(0, -1);
    this.last = lists.at(-1) ?? list;
    this.flight = cameras;
    this.begin = now;
    this.span = 1000 * seconds;
    this.scratch = null;
  }

  /** {list, camera, done} at a time; camera is null where it stays. */
  at(now) {
    const t = this.span > 0 ? Math.min((now - this.begin) / this.span, 1) : 1;
    const camera = this.flight.length ? alongFlight(this.flight, ease(t)) : null;
    if (t >= 1 || !this.keys.length) return { list: this.last, camera, done: t >= 1 };
    return { list: this.between(ease(t)), camera, done: false };
  }

  between(t) {
    const next = this.keys.findIndex((key, i) => i % 2 === 1 && t <= key.at);
    const [a, b] = next < 0 ? this.keys.slice(-2) : this.keys.slice(next - 1, next + 1);
    const share = Math.max(0, Math.min(1, (t - a.at) / Math.max(b.at - a.at, 1e-9)));
    if (this.scratch?.from !== a) this.scratch = { from: a, list: copyOf(a) };
    const { list } = this.scratch;
    for (const name of ["solids", "frames"]) {
      for (const part of ["centers", "sizes", "colors"]) {
        mix(a[name][part], b[name][part], share, list[name][part]);
      }
    }
    for (const part of ["points", "colors", "widths"]) {
      mix(a.edges[part], b.edges[part], share, list.edges[part]);
    }
    mix(a.labels.anchors, b.labels.anchors, share, list.labels.anchors);
    return list;
  }
}

function copyOf(list) {
  const { solids, frames, edges, labels } = list;
  const boxes = (one) => ({
    ...one, centers: one.centers.slice(), sizes: one.sizes.slice(), colors: one.colors.slice() });
  return {
    ...list, moving: true, solids: boxes(solids), frames: boxes(frames),
    edges: { ...edges, points: edges.points.slice(), colors: edges.colors.slice(), widths: edges.widths.slice() },
    labels: { ...labels, anchors: labels.anchors.slice() },
  };
}

function mix(a, b, share, out) {
  const whole = out instanceof Uint8Array ? 0.5 : 0;
  for (let i = 0; i < out.length; i++) out[i] = a[i] + (b[i] - a[i]) * share + whole;
}
