// The labels of the scene as elements over it. Names come from files of strangers: they are set as
// text, never as markup.

import { Cover, Ink, cornerPixels } from "./drawn_cover.js";
import { placeLabels } from "./drawn_places.js";

const TITLE = 1, BELOW = 2, FADED = 4, LEVEL = 8;
const SHORTER = [[14], [22, 14]];  // characters of the texts tried when one does not fit
const FACE = '"DejaVu Sans", Verdana, Geneva, sans-serif';
const SVG = "http://www.w3.org/2000/svg";

/** Size of text in a picture of this height in device pixels, 1 at 900. */
export function textScale(height) {
  return Math.min(Math.max(height / 900, 0.8), 6);
}

export class Labels {
  constructor(host) {
    this.host = host;
    this.lines = document.createElementNS(SVG, "svg");
    this.lines.setAttribute("class", "nd-leaders");
    host.append(this.lines);
    this.context = document.createElement("canvas").getContext("2d");
    this.widths = new Map();
    this.labels = [];
    this.slots = new Map();
    this.elements = [];
  }

  /** Take the labels of a list; `scale` is the size of text in the page's pixels. */
  load(list, look, scale) {
    this.keepSlots();
    this.list = list;
    this.look = look;
    this.scale = scale;
    const rowOf = firstRows(list.solids), frameOf = firstRows(list.frames);
    this.owner = Int32Array.from(list.solids.node, (node) => rowOf.get(node));
    const { count, texts, anchors, priorities, node, flags } = list.labels;
    const order = [...Array(count).keys()].sort((a, b) => priorities[b] - priorities[a] || a - b);
    const seen = new Map();
    this.labels = order.map((i) => {
      const title = (flags[i] & TITLE) > 0, below = (flags[i] & BELOW) > 0;
      const level = Math.floor(flags[i] / LEVEL);
      const own = title ? -1 : rowOf.get(node[i]) ?? -1;
      const frame = title ? frameOf.get(node[i]) ?? -1 : -1;
      const variants = variantsOf(texts[i], title);
      const text = `${title}:${texts[i]}`;
      seen.set(text, (seen.get(text) ?? 0) + 1);
      return {
        key: `${seen.get(text)}:${text}`, node: node[i], title, below, own, frame, variants,
        faded: (flags[i] & FADED) > 0, level,
        upon: !title && !below && own >= 0, sizes: variants.map((v) => this.measure(v, title, level)),
        inner: frame < 0 ? null : insideOf(list, frame),
        point: anchors.subarray(3 * i, 3 * i + 3), place: null, anchor: [0, 0], outline: null,
      };
    });
    this.show();
  }

  keepSlots() {
    for (const { key, place } of this.labels) this.slots.set(key, place?.slot ?? null);
    if (this.slots.size > 5000) this.slots.clear();
  }

  measure(text, title, level) {
    const { px, pad, rise } = this.metrics(title, level);
    const key = `${px}:${title}:${text}`;
    let width = this.widths.get(key);
    if (width === undefined) {
      this.context.font = `${title ? "bold " : ""}${px}px ${FACE}`;
      width = Math.ceil(this.context.measureText(text).width);
      if (this.widths.size > 5000) this.widths.clear();
      this.widths.set(key, width);
    }
    return [width + 2 * pad + 1, rise + 2 * pad];
  }

  metrics(title, level) {
    const { title: sizes, label } = this.look.px;
    const px = Math.round((title ? sizes[Math.min(level, sizes.length - 1)] : label) * this.scale);
    const rise = Math.round(px * 0.98) + Math.round(px * 0.28);
    return { px, rise, pad: Math.max(2, Math.round(px * 0.22)) };
  }

  /** Choose the places anew for this projection. */
  place(projection) {
    this.keepSlots();
    const { width, height } = projection;
    const { solids, frames, edges } = this.list;
    const cover = new Cover(projection, solids, width, height, this.owner);
    const corners = cornerPixels(projection, frames);
    for (const label of this.labels) {
      label.former = this.slots.get(label.key);
      label.anchor = [...projection.project(...label.point, [0, 0, 0])].slice(0, 2);
      const outline = label.frame < 0 ? null : corners.subarray(16 * label.frame, 16 * label.frame + 16);
      label.outline = outline?.every(Number.isFinite) ? outline : null;
    }
    const ink = new Ink(projection, edges, width, height);
    placeLabels(this.labels, cover, ink, width, height).forEach((place, i) => {
      this.labels[i].place = place;
      this.labels[i].from = place && this.reference(projection, this.labels[i]);
    });
    this.follow(projection);
  }

  reference(projection, { upon, own, point }) {
    const { centers } = this.list.solids;
    const at = upon ? centers.subarray(3 * own, 3 * own + 3) : point;
    return projection.project(...at, [0, 0, 0]);
  }

  /** Let the labels go along with what they name; one that meets another goes, the lesser one. */
  follow(projection) {
    const { width, height } = projection;
    const kept = [];
    for (const label of this.labels) {
      label.shown = null;
      const { place, from } = label;
      if (!place) continue;
      const [x, y] = this.reference(projection, label);
      const dx = Math.round(x - from[0]), dy = Math.round(y - from[1]);
      if (!Number.isFinite(dx + dy)) continue;
      const left = place.x + dx, top = place.y + dy;
      const body = [place.body[0] + dx, place.body[1] + dy, place.body[2] + dx, place.body[3] + dy];
      const inside = left >= 0 && top >= 0 && left + place.w <= width && top + place.h <= height;
      if (!inside || kept.some((other) => meet(body, other))) continue;
      kept.push(body);
      label.shown = { x: left, y: top, leader: place.leader?.map((v, i) => v + (i % 2 ? dy : dx)) };
    }
    this.show();
  }

  show() {
    const { look } = this;
    const shown = this.labels.filter((label) => label.shown);
    while (this.elements.length < shown.length) {
      const element = document.createElement("span");
      this.host.append(element);
      this.elements.push({ element, state: "" });
    }
    this.elements.forEach((one, i) => {
      const label = shown[i];
      if (one.element.hidden !== !label) one.element.hidden = !label;
      if (label) this.dress(one, label);
    });
    const lines = shown.filter((label) => label.shown.leader);
    while (this.lines.childElementCount < lines.length) {
      this.lines.append(document.createElementNS(SVG, "line"));
    }
    [...this.lines.children].forEach((line, i) => {
      const leader = lines[i]?.shown.leader;
      line.style.display = leader ? "" : "none";
      if (!leader) return;
      ["x1", "y1", "x2", "y2"].forEach((name, k) => line.setAttribute(name, leader[k].toFixed(1)));
    });
    if (look) this.lines.style.stroke = css(look.ink.text);
    if (look) this.lines.style.strokeWidth = `${Math.max(1, this.scale)}px`;
  }

  dress(one, label) {
    const { element } = one;
    const { place, title, faded, level, shown } = label;
    const text = label.variants[place.variant];
    const state = `${this.look.theme}:${this.scale}:${title}:${level}:${faded}:${text}`;
    if (one.state !== state) {
      one.state = state;
      const { px, pad, rise } = this.metrics(title, level);
      const { ink } = this.look;
      const halo = `0 0 ${(pad * 0.9).toFixed(1)}px ${css(ink.halo)}`;
      element.textContent = text;
      element.className = title ? "nd-label nd-title" : "nd-label";
      Object.assign(element.style, {
        font: `${title ? "bold " : ""}${px}px/${rise}px ${FACE}`, padding: `${pad}px`,
        color: css(faded ? ink.faded : title && !level ? ink.title : ink.text), textShadow: Array(5).fill(halo).join(","),
      });
    }
    element.style.width = `${place.w}px`;
    element.style.height = `${place.h}px`;
    element.style.transform = `translate(${shown.x}px, ${shown.y}px)`;
  }

  /** The label at a pixel of the page, or undefined. */
  at(x, y) {
    return this.labels.find(({ shown, place, node }) => shown && node >= 0 && x >= shown.x
      && y >= shown.y && x < shown.x + place.w && y < shown.y + place.h);
  }
}

function css([r, g, b]) {
  return `rgb(${r},${g},${b})`;
}

function meet(a, b) {
  return a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
}

function firstRows({ count, node }) {
  const rows = new Map();
  for (let i = 0; i < count; i++) if (!rows.has(node[i])) rows.set(node[i], i);
  return rows;
}

function variantsOf(text, title) {
  const letters = [...text];
  const short = (limit) => {
    const tail = Math.floor((limit - 1) / 3);
    return letters.slice(0, limit - 1 - tail).join("") + "…" + letters.slice(letters.length - tail).join("");
  };
  return [text, ...SHORTER[+title].filter((n) => n < letters.length).map(short)];
}

/** Which solids stand inside a frame. */
function insideOf({ solids, frames }, frame) {
  const inside = new Uint8Array(solids.count);
  for (let i = 0; i < solids.count; i++) {
    let within = true;
    for (let a = 0; a < 3; a++) {
      const away = Math.abs(solids.centers[3 * i + a] - frames.centers[3 * frame + a]);
      within &&= away <= frames.sizes[3 * frame + a] / 2;
    }
    inside[i] = +within;
  }
  return inside;
}
