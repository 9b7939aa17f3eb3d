// The scene as the browser draws it: a canvas, the labels over it, the camera and what moves it.

import { dolly, kept } from "./drawn_dolly.js";
import { Labels, textScale } from "./drawn_labels.js";
import { recolored, unpack } from "./drawn_message.js";
import { Motion } from "./drawn_motion.js";
import { Painter } from "./drawn_paint.js";
import { Pointer } from "./drawn_pointer.js";
import {
  Projection, clipping, edgeAt, rowOf, shift, solidAt, turn } from "./drawn_space.js";

const STILL_AFTER = 160;  // milliseconds without a change until the camera is told, the rims smooth
const PLACE_EVERY = 90;  // milliseconds between two placings of the labels while things move
const MOST_PIXELS = 2_600_000;  // of a picture that the processor draws
const SHARES = [1, 0.71, 0.5];  // sizes of quick pictures that the processor draws
const SLOW = 90;  // milliseconds of a picture beyond which the next is smaller
const FARTHEST = 1e9;  // world units that the server takes

/** Calls rest(number, row, focus) when a new picture came to rest, hit(kind, number, node, edge, x, y) on a
 * click or a rest of the pointer, leave() when it moves on, lost() when the graphics are gone. */
export class DrawnView {
  /** Throws where WebGL2 is missing. */
  constructor(host, calls) {
    this.host = host;
    this.calls = calls;
    this.canvas = document.createElement("canvas");
    this.canvas.className = "nd-canvas";
    this.painter = new Painter(this.canvas);
    const over = document.createElement("div");
    over.className = "nd-labels";
    this.root = document.createElement("div");
    this.root.className = "nd-root";
    this.root.style.visibility = "hidden";  // until there is a picture
    this.root.append(this.canvas, over);
    host.append(this.root);
    this.labels = new Labels(over);
    this.canvas.addEventListener("webglcontextlost", () => {
      if (this.closed) return;
      this.close();
      calls.lost();
    });
    this.pointer = new Pointer(this.root, {
      turn: (dx, dy) => this.steer((camera) => turn(camera, dx, dy), null),
      shift: (dx, dy) => this.steer((camera) => (
        kept(camera, shift(camera, dx, dy), this.list.solids, this.size)), null),
      zoom: (factor, x, y) => this.steer((camera) => (
        dolly(camera, this.list.solids, this.size, factor, [x, y])), [x, y]),
      click: (x, y) => this.ask("click", x, y),
      rest: (x, y) => this.ask("rest", x, y),
      leave: () => calls.leave(),
      end: () => this.wake(),
    });
    this.focus = this.list = this.camera = this.motion = this.frame = this.size = null;
    this.number = -1;
    this.told = "";
    this.share = SHARES[0];
    this.placed = -Infinity;
    this.pictures = 0;
    this.fresh = this.closed = this.coming = false;
    this.watcher = new ResizeObserver(() => this.resize());
    this.watcher.observe(host);
    this.resize();
  }

  /** Take what the server sends. */
  receive(bytes) {
    const message = unpack(bytes);
    const present = this.motion?.last ?? this.list;
    if (present) {
      message.lists = message.lists.map((one) => (one.recolors ? recolored(present, one) : one));
    }
    this.number = message.number;
    this.look = message.look;
    // News of a picture that is still on its way: the way goes on.
    const under = this.motion && !message.cameras.length && message.lists.length === 1;
    if (under) [this.motion.last] = message.lists;
    else this.motion = new Motion(message, present, performance.now());
    this.expect(false);
  }

  /** Whether the server has something new that is not here yet: until then nothing is at rest. */
  expect(coming) {
    this.coming = coming;
    if (!this.closed) this.wake();
  }

  close() {
    this.closed = true;
    cancelAnimationFrame(this.frame);
    this.watcher.disconnect();
    this.root.remove();
    this.painter.close();
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.host;
    if (!width || !height) return;
    const most = this.painter.software ? Math.sqrt(MOST_PIXELS / (width * height)) : Infinity;
    this.ratio = Math.min(Math.max(devicePixelRatio || 1, 1), 4, most);
    this.size = [width, height];
    this.scale = textScale(height * this.ratio) / this.ratio;
    if (this.list) this.labels.load(this.list, this.look, this.scale);
    this.placed = -Infinity;
    this.wake();
  }

  /** Move the camera; `focus` is the point of the page that a zoom is about. */
  steer(move, focus) {
    if (!this.camera || !this.list) return;
    this.settle();
    const camera = move(this.camera);
    if (!Object.values(camera).flat().every((v) => Number.isFinite(v) && Math.abs(v) < FARTHEST)) return;
    this.focus = focus;
    this.camera = camera;
    this.wake();
  }

  /** End a move under way: the camera, too, where it was going along with nodes. */
  settle() {
    if (!this.motion) return;
    const { list, camera } = this.motion.at(Infinity);
    if (camera && this.motion.keys.length) this.camera = camera;
    this.motion = null;
    this.take(list);
  }

  take(list) {
    this.painter.load(list, this.look);
    // What is between two lists is one object whose numbers change.
    if (list.labels === this.list?.labels) this.labels.list = list;  // in other colours
    else if (list !== this.list) {
      this.labels.load(list, this.look, this.scale);
      this.placed = -Infinity;
    }
    this.list = list;
  }

  wake() {
    this.changed = performance.now();
    this.fresh = false;
    this.host.dataset.still = "false";
    if (!this.closed) this.frame ??= requestAnimationFrame((now) => this.tick(now));
  }

  tick(now) {
    this.frame = null;
    if (this.closed || !this.size) return;
    try {
      if (this.motion) this.move(now);
      if (!this.list || !this.camera) return;
      const rests = now - this.changed > STILL_AFTER;
      if (!this.fresh || rests) this.paint(rests, now);
      if (rests) this.rest();
      else this.frame = requestAnimationFrame((next) => this.tick(next));
    } catch (error) {
      this.close();
      this.calls.lost(error);
    }
  }

  move(now) {
    const { list, camera, done } = this.motion.at(now);
    if (list !== this.list || this.motion.keys.length) this.take(list);
    if (camera) this.camera = camera;
    if (done) this.motion = null;
    this.changed = now;
    this.fresh = false;
  }

  paint(rests, now) {
    const { painter, camera, labels } = this;
    const quick = painter.software && !rests;
    if (quick) this.adapt(now);
    const ratio = this.ratio * (quick ? this.share : 1);
    this.fit(ratio);
    painter.draw(camera, quick ? 1 : painter.samples, this.scale * ratio);
    const projection = new Projection(camera, ...this.size, clipping(this.list, camera)[0]);
    if (rests || now - this.placed > PLACE_EVERY) {
      labels.place(projection);
      this.placed = now;
    } else labels.follow(projection);
    this.fresh = true;
    this.root.style.visibility = "";
    this.host.dataset.pictures = ++this.pictures;
  }

  /** Give the canvas so many pixels for one of the page's. */
  fit(ratio) {
    const [width, height] = this.size.map((side) => Math.max(1, Math.round(side * ratio)));
    const { canvas } = this;
    if (canvas.width === width && canvas.height === height) return;
    canvas.width = width;
    canvas.height = height;
  }

  /** A processor that cannot keep up draws smaller pictures while things move. */
  adapt(now) {
    const spent = now - (this.painted ?? -Infinity);
    this.painted = now;
    if (spent > 500) return;  // the first of a movement
    this.spent = 0.7 * (this.spent ?? SLOW / 2) + 0.3 * spent;
    const step = SHARES.indexOf(this.share);
    if (this.spent > SLOW && step + 1 < SHARES.length) this.share = SHARES[step + 1];
    else if (this.spent < SLOW / 3 && step > 0) this.share = SHARES[step - 1];
    else return;
    this.spent = SLOW / 2;
  }

  rest() {
    this.tell();
    if (this.coming) return;
    Object.assign(this.host.dataset, {
      still: "true", number: this.number, camera: rowOf(this.camera).join(" ") });
  }

  /** Tell the server where the viewer stands, if it does not know. */
  tell() {
    const row = rowOf(this.camera);
    const now = `${this.number} ${row}`;
    if (this.told === now) return;
    this.told = now;
    this.calls.rest(this.number, row, this.focus ?? []);
  }

  /** What lies under a point of the page, told to the server: text first, then what is nearest. */
  ask(kind, x, y) {
    if (!this.list || !this.camera || this.motion) return;
    const label = this.labels.at(x, y);
    let node = label ? label.node : -1, edge = -1;
    if (!label) {
      const [near] = clipping(this.list, this.camera);
      const projection = new Projection(this.camera, ...this.size, near);
      const [row] = solidAt(projection, this.list.solids, x, y);
      node = row < 0 ? -1 : this.list.solids.node[row];
      if (node < 0) edge = edgeAt(projection, this.list, x, y, this.look.reach * this.scale);
    }
    if (kind === "rest" && node < 0 && edge < 0) return;
    this.tell();
    this.calls.hit(kind, this.number, node, edge, Math.round(x), Math.round(y));
  }
}
