// The two ends of the colour scale: dragged, moved by arrow keys, or typed. What is dragged follows the
// pointer at once, in variables of the style; the server says where it came to be.
(function () {
  "use strict";
  const EVERY = 40;  // milliseconds between two messages of a drag
  const APART = 1.001;  // least ratio of the two ends
  const STEP = 0.01;  // of the axis, for an arrow key
  let gesture = 0, drag = null, sent = null, due = 0, last = 0;

  const act = (...what) => window.trame.trigger("act", what);
  const card = () => document.getElementById("nn-bins");
  const axisOf = (box) => box.dataset.axis.split(" ").map(Number);

  /** What a drag begins with: ends, axis and kind as they are now. */
  function begin(end) {
    const box = card().querySelector(".nn-bins-axis");
    return { end, box, axis: axisOf(box), kind: box.dataset.kind, low: +box.dataset.low, high: +box.dataset.high };
  }

  function shareOf(value, [low, high]) {
    return value <= low ? 0 : Math.min(Math.log(value / low) / Math.log(high / low), 1);
  }

  /** Move the end to a share of the axis; both ends stay apart. */
  function move(one, share) {
    const [first, stop] = one.axis, x = Math.min(Math.max(share, 0), 1);
    const value = x === 0 ? first : x === 1 ? stop : first * Math.pow(stop / first, x);
    if (one.end === "high") one.high = Math.max(value, one.low * APART, first * APART);
    // Where zero has a place on the scale it lies at the end of the axis.
    else one.low = Math.min(x === 0 && one.kind === "linear" ? 0 : value, one.high / APART);
    card()?.style.setProperty(`--${one.end}`, `${100 * shareOf(one[one.end], one.axis)}%`);
    send(one, false);
  }

  function send(one, now) {
    clearTimeout(due);
    const wait = now ? 0 : EVERY - (performance.now() - last);
    if (wait > 0) { due = setTimeout(() => send(one, true), wait); return; }
    last = performance.now();
    sent = [one.low, one.high];
    act("range", one.low, one.high, gesture);
  }

  /** Where the server has what was sent last, its own places are shown again. */
  function settle() {
    const box = card()?.querySelector(".nn-bins-axis");
    if (drag || !box || !sent) return;
    if (+box.dataset.low === sent[0] && +box.dataset.high === sent[1]) release();
  }

  function release() {
    if (drag) return;
    sent = null;
    for (const end of ["low", "high"]) card()?.style.removeProperty(`--${end}`);
  }

  function shareAt(box, x) {
    const { left, width } = box.getBoundingClientRect();
    return (x - left) / Math.max(width, 1);
  }

  document.addEventListener("pointerdown", (event) => {
    const box = event.target.closest?.(".nn-bins-axis");
    if (!box || event.button !== 0) return;
    const at = shareAt(box, event.clientX), axis = axisOf(box);
    const [low, high] = [box.dataset.low, box.dataset.high].map((value) => shareOf(+value, axis));
    const end = event.target.dataset.end
      ?? (Math.abs(at - low) < Math.abs(at - high) || (low === high && at < low) ? "low" : "high");
    gesture += 1;
    drag = { ...begin(end), pointer: event.pointerId, from: event.clientX, moved: false };
    box.querySelector(`[data-end=${end}]`)?.focus({ preventScroll: true });
    box.setPointerCapture(event.pointerId);
    event.preventDefault();
  });
  document.addEventListener("pointermove", (event) => {
    if (drag?.pointer !== event.pointerId) return;
    drag.moved ||= Math.abs(event.clientX - drag.from) > 1;
    if (drag.moved) move(drag, shareAt(drag.box, event.clientX));
  });
  for (const name of ["pointerup", "pointercancel"]) {
    document.addEventListener(name, (event) => {
      if (drag?.pointer !== event.pointerId) return;
      if (drag.moved) send(drag, true);
      drag = null;
      setTimeout(release, 1000);  // at the latest
    });
  }
  document.addEventListener("dblclick", (event) => {
    if (event.target.closest?.(".nn-bins-axis")) act("fit_scale");
  });

  document.addEventListener("keydown", (event) => {
    const end = event.target.dataset?.end;
    const by = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10 }[event.key];
    if (!end || (by === undefined && event.key !== "Home" && event.key !== "End")) return;
    if (!event.repeat) gesture += 1;
    const one = sent ? { ...begin(end), low: sent[0], high: sent[1] } : begin(end);
    const now = shareOf(one[end], one.axis);
    move(one, event.key === "Home" ? 0 : event.key === "End" ? 1 : now + by * STEP * (event.shiftKey ? 10 : 1));
    event.preventDefault();
  });
  document.addEventListener("change", (event) => {
    const end = event.target.dataset?.number, value = Number(String(event.target.value).replace(",", "."));
    if (!end) return;
    const one = begin(end);
    if (String(event.target.value).trim() && Number.isFinite(value)) one[end] = value;
    gesture += 1;
    send(one, true);
    // What is refused is not shown; what is taken comes back from the server.
    event.target.value = window.trame.state.get("legend").bar.texts[end === "low" ? 0 : 1];
  });

  function listen() {
    if (!window.trame?.state) { setTimeout(listen, 50); return; }
    window.trame.state.watch(["legend"], () => requestAnimationFrame(settle));
  }
  listen();
})();
