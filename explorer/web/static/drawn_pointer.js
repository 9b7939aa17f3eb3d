// Gestures of mouse, pen and fingers over the scene: the same as explorer/web/pointer.py reads.

const CLICK_SLACK = 4;  // pixels that a click may move
const HOVER_REST = 70;  // milliseconds that the pointer rests before it asks what lies under it

/** Calls turn(dx, dy), shift(dx, dy), zoom(factor, x, y), click(x, y), rest(x, y), leave() and end(). */
export class Pointer {
  constructor(element, calls) {
    this.element = element;
    this.calls = calls;
    this.down = new Map();
    this.role = null;
    this.dragging = false;
    const on = (name, call, options) => element.addEventListener(name, call, options);
    on("pointerdown", (event) => this.pressed(event));
    on("pointermove", (event) => this.moved(event));
    on("pointerup", (event) => this.released(event));
    on("pointercancel", (event) => this.released(event, true));
    on("pointerleave", () => this.rests(null));
    on("wheel", (event) => this.turned(event), { passive: false });
  }

  here(event) {
    const area = this.element.getBoundingClientRect();
    return [event.clientX - area.left, event.clientY - area.top];
  }

  pressed(event) {
    this.rests(null);
    this.element.setPointerCapture(event.pointerId);
    const [x, y] = this.here(event);
    this.down.set(event.pointerId, [x, y]);
    if (this.down.size > 1) {
      this.dragging = true;  // two fingers are no click
      return;
    }
    this.role = event.button === 0 && !event.shiftKey ? "turn" : "shift";
    this.left = event.button === 0;
    this.start = this.last = [x, y];
    this.dragging = false;
  }

  moved(event) {
    const [x, y] = this.here(event);
    if (!this.down.has(event.pointerId)) {
      this.rests([x, y]);
      return;
    }
    if (this.down.size > 1) {
      this.pinched(event.pointerId, [x, y]);
      return;
    }
    this.down.set(event.pointerId, [x, y]);
    if (!this.dragging && Math.hypot(x - this.start[0], y - this.start[1]) < CLICK_SLACK) return;
    this.dragging = true;
    const height = Math.max(this.element.clientHeight, 1);
    this.calls[this.role]((x - this.last[0]) / height, (y - this.last[1]) / height);
    this.last = [x, y];
  }

  pinched(id, [x, y]) {
    const [other] = [...this.down].filter(([key]) => key !== id).map(([, at]) => at);
    const old = this.down.get(id);
    const before = Math.hypot(old[0] - other[0], old[1] - other[1]);
    const now = Math.hypot(x - other[0], y - other[1]);
    this.down.set(id, [x, y]);
    const factor = Math.max(0.2, Math.min(5, now / Math.max(before, 1)));
    this.calls.zoom(factor, (x + other[0]) / 2, (y + other[1]) / 2);
  }

  released(event, cancelled = false) {
    if (!this.down.delete(event.pointerId)) return;
    if (this.down.size) {
      [this.last] = this.down.values();
      return;
    }
    if (this.dragging || cancelled) this.calls.end();
    else if (this.left) this.calls.click(...this.here(event));
    this.dragging = false;
  }

  turned(event) {
    event.preventDefault();
    this.rests(null);
    // One notch is 1 for a wheel, a little for a touch pad.
    const spin = event.deltaMode === 0 ? event.deltaY / 100 : event.deltaY / 3;
    const factor = Math.exp(-0.18 * Math.max(-3, Math.min(3, spin)));
    if (factor !== 1) this.calls.zoom(factor, ...this.here(event));
  }

  rests(at) {
    clearTimeout(this.timer);
    if (this.asked) this.calls.leave();
    this.asked = false;
    if (!at) return;
    this.timer = setTimeout(() => {
      this.asked = true;
      this.calls.rest(...at);
    }, HOVER_REST);
  }
}
