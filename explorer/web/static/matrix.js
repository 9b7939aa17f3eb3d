// The figure of a weight in the panel: the wheel zooms about the pointer, a drag moves, a double
// click shows all again. What is there moves at once; its cells are asked of the server.
(function () {
  "use strict";
  const LARGEST = 44, ASK_EVERY = 40, LEFT = 36, BELOW = 18;
  let plane = null, view = null, picture = null, image = null, latest = null;
  let told = "", pointer = null, waiting = null, grip = null;

  const canvas = () => document.getElementById("nn-matrix");
  const act = (...what) => window.trame.trigger("act", what);
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  /** The view inside the plane, neither nearer nor farther than makes sense. */
  function keep([top, left, height, width]) {
    const [across, down] = plane.figure;
    const one = (length, size, pixels) => Math.min(
      Math.max(length, pixels / Math.max(LARGEST, pixels / size)),
      plane.least ? pixels / plane.least : Infinity, size);
    height = one(height, plane.rows, down);
    width = one(width, plane.columns, across);
    return [clamp(top, 0, plane.rows - height), clamp(left, 0, plane.columns - width), height, width];
  }

  function ask() {
    if (waiting !== null) return;
    waiting = setTimeout(() => {
      waiting = null;
      act("matrix_look", plane.id, ...view);
    }, ASK_EVERY);
  }

  function move(next) {
    next = keep(next);
    if (next.every((value, i) => value === view[i])) return;
    view = next;
    draw();
    ask();
  }

  function zoom(x, y, factor) {
    const [across, down] = plane.figure;
    const row = view[0] + (y / down) * view[2], column = view[1] + (x / across) * view[3];
    const [, , height, width] = keep([view[0], view[1], Math.min(view[2] / factor, plane.rows), Math.min(view[3] / factor, plane.columns)]);
    move([row - (y / down) * height, column - (x / across) * width, height, width]);
  }

  function draw() {
    const target = canvas();
    if (!target || !plane || !view) return;
    const [across, down] = plane.figure, ratio = Math.max(window.devicePixelRatio || 1, 1);
    const size = [Math.round((across + LEFT) * ratio), Math.round((down + BELOW) * ratio)];
    if (target.width !== size[0] || target.height !== size[1]) [target.width, target.height] = size;
    target.style.width = `${across + LEFT}px`;
    target.style.height = `${down + BELOW}px`;
    const pen = target.getContext("2d"), style = getComputedStyle(target);
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, across + LEFT, down + BELOW);
    const x = (column) => LEFT + ((column - view[1]) / view[3]) * across;
    const y = (row) => ((row - view[0]) / view[2]) * down;
    if (picture && image) {
      pen.save();
      pen.beginPath();
      pen.rect(LEFT, 0, across, down);
      pen.clip();
      cells(pen, x, y);
      gaps(pen, x, y);
      numbers(pen, x, y);
      pen.restore();
      ticks(pen, x, y, style.color);
    }
    pen.strokeStyle = style.borderColor;
    pen.strokeRect(LEFT + 0.5, 0.5, across - 1, down - 1);
    target.dataset.view = view.map((value) => value.toFixed(3)).join(" ");
    target.dataset.final = String(Boolean(picture && image && picture.final));
  }

  function cells(pen, x, y) {
    // The last cell may stand for fewer rows than the others: it is drawn as if it were whole.
    const [r0, , rs] = picture.rows, [c0, , cs] = picture.columns;
    pen.imageSmoothingEnabled = false;
    pen.drawImage(image, x(c0), y(r0), x(c0 + image.width * cs) - x(c0), y(r0 + image.height * rs) - y(r0));
  }

  /** Lines between images, and between weights that are large. */
  function gaps(pen, x, y) {
    const style = getComputedStyle(canvas());
    const [th, tw] = plane.tile, high = y(1) - y(0), wide = x(1) - x(0);
    const lines = (step, pixels, from, to, at, along) => {
      if (step * pixels < 8) return;
      for (let i = Math.ceil(from / step) * step; i <= to; i += step) along(at(i));
    };
    pen.fillStyle = style.getPropertyValue("--ground").trim() || "#10151e";
    const images = th > 1 || tw > 1;
    const thick = images ? clamp(Math.min(th * high, tw * wide) / 9, 1, 3) : 1;
    if (!images && Math.min(high, wide) < 12) return;
    lines(th, high, view[0], view[0] + view[2], y, (at) => pen.fillRect(LEFT, at - thick / 2, plane.figure[0], thick));
    lines(tw, wide, view[1], view[1] + view[3], x, (at) => pen.fillRect(at - thick / 2, 0, thick, plane.figure[1]));
  }

  function numbers(pen, x, y) {
    if (!picture.numbers.length) return;
    const [r0, , rs] = picture.rows, [c0, , cs] = picture.columns;
    if (Math.abs(x(cs) - x(0)) < 34) return;
    const tiny = document.createElement("canvas"), size = [image.width, image.height];
    [tiny.width, tiny.height] = size;
    const probe = tiny.getContext("2d", { willReadFrequently: true });
    probe.drawImage(image, 0, 0);
    const colors = probe.getImageData(0, 0, ...size).data;
    pen.font = "11px Roboto, system-ui, sans-serif";
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    picture.numbers.forEach((line, i) => line.forEach((text, j) => {
      const at = 4 * (i * size[0] + j);
      const light = 0.3 * colors[at] + 0.59 * colors[at + 1] + 0.11 * colors[at + 2] > 128;
      pen.fillStyle = light ? "#10151e" : "#f2f5fa";
      pen.fillText(text, x(c0 + (j + 0.5) * cs), y(r0 + (i + 0.5) * rs));
    }));
  }

  function ticks(pen, x, y, color) {
    const [across, down] = plane.figure;
    pen.fillStyle = color;
    pen.font = "10px Roboto, system-ui, sans-serif";
    pen.textBaseline = "middle";
    pen.textAlign = "right";
    for (const [at, text] of picture.ticks[0]) {
      if (y(at) < 4 || y(at) > down - 4) continue;
      pen.fillText(text, LEFT - 6, y(at));
      pen.fillRect(LEFT - 4, y(at) - 0.5, 4, 1);
    }
    pen.textAlign = "center";
    for (const [at, text] of picture.ticks[1]) {
      if (x(at) < LEFT || x(at) > LEFT + across) continue;
      const half = pen.measureText(text).width / 2;
      pen.fillText(text, clamp(x(at), LEFT + half, LEFT + across - half), down + 12);
      pen.fillRect(x(at) - 0.5, down, 1, 4);
    }
  }

  // -- what a person does ------------------------------------------------------------------------

  function place(event) {
    const box = canvas().getBoundingClientRect();
    return [event.clientX - box.left - LEFT, event.clientY - box.top];
  }

  function inside([x, y]) {
    return x >= 0 && y >= 0 && x < plane.figure[0] && y < plane.figure[1];
  }

  const ours = (event) => plane && plane.id && event.target === canvas();

  document.addEventListener("wheel", (event) => {
    if (!ours(event) || !inside(place(event))) return;
    event.preventDefault();
    zoom(...place(event), Math.pow(1.2, -Math.sign(event.deltaY)));
  }, { passive: false });

  document.addEventListener("pointerdown", (event) => {
    if (!ours(event) || event.button !== 0) return;
    grip = { at: [event.clientX, event.clientY], view: [...view] };
    event.target.setPointerCapture(event.pointerId);
  });
  document.addEventListener("pointerup", () => { grip = null; });
  document.addEventListener("pointermove", (event) => {
    if (!ours(event)) {
      pointer = null;
      if (told) point();
      return;
    }
    const [across, down] = plane.figure;
    if (grip) {
      const shift = [event.clientX - grip.at[0], event.clientY - grip.at[1]];
      const [top, left, height, width] = grip.view;
      move([top - (shift[1] / down) * height, left - (shift[0] / across) * width, height, width]);
      return;
    }
    pointer = place(event);
    point();
  });
  document.addEventListener("dblclick", (event) => { if (ours(event)) move(whole()); });

  /** Ask what is under the pointer, where that is something else than before. */
  function point() {
    if (!plane) return;
    let key = "", at = [-1, -1];
    if (pointer && inside(pointer)) {
      const [x, y] = pointer, [across, down] = plane.figure;
      at = [Math.floor(view[0] + (y / down) * view[2]), Math.floor(view[1] + (x / across) * view[3])];
      key = at.join(" ");
    }
    if (key === told) return;
    told = key;
    act("matrix_point", plane.id, ...at);
  }

  function whole() {
    return plane.least ? plane.view : [0, 0, plane.rows, plane.columns];
  }

  document.addEventListener("keydown", (event) => {
    if (!ours(event)) return;
    const [across, down] = plane.figure, [top, left, height, width] = view;
    const deeds = {
      ArrowLeft: () => move([top, left - width / 4, height, width]),
      ArrowRight: () => move([top, left + width / 4, height, width]),
      ArrowUp: () => move([top - height / 4, left, height, width]),
      ArrowDown: () => move([top + height / 4, left, height, width]),
      "+": () => zoom(across / 2, down / 2, 1.5),
      "-": () => zoom(across / 2, down / 2, 1 / 1.5),
      Home: () => move(whole()),
    };
    if (!deeds[event.key]) return;
    deeds[event.key]();
    event.preventDefault();
    event.stopPropagation();
  }, true);

  document.addEventListener("click", (event) => {
    const button = event.target.closest && event.target.closest("[data-export]");
    if (button) save(button.dataset.export);
  });

  /** What is shown, as a file. */
  function save(form) {
    let key = new URLSearchParams(location.search).get("secret") || "";
    try { key = sessionStorage.getItem("neuronaut-key") || key; } catch (_) { /* shut in some frames */ }
    const [what, kind] = form.split(".");
    const link = document.createElement("a");
    const query = new URLSearchParams({ key, tab: window.trame.state.get("tab_name"), what, kind });
    link.href = new URL(`shown?${query}`, document.baseURI).href;
    link.download = "";
    document.body.append(link);
    link.click();
    link.remove();
  }

  // -- what the server sends -----------------------------------------------------------------------

  function begin(next) {
    if (plane && next && plane.id === next.id) return;
    plane = next && next.id ? next : null;
    view = plane && [...plane.view];
    picture = image = null;
    requestAnimationFrame(draw);
  }

  function receive(next) {
    if (!next || !next.url) { if (!next) { picture = image = null; requestAnimationFrame(draw); } return; }
    const made = new Image();
    made.onload = () => {
      if (next !== latest) return;  // a newer one is on its way
      picture = next;
      image = made;
      told = "";  // other numbers lie under the pointer now
      point();
      requestAnimationFrame(draw);
    };
    latest = next;
    made.src = next.url;
  }
  function listen() {
    if (!window.trame || !window.trame.state) { setTimeout(listen, 50); return; }
    const { state } = window.trame;
    state.watch(["matrix"], begin);
    state.watch(["matrix_picture"], receive);
    state.watch(["theme"], () => requestAnimationFrame(draw));
    state.watch(["panel_shown"], () => requestAnimationFrame(() => requestAnimationFrame(draw)));
  }
  listen();
})();
