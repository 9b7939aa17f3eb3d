// Draws a list with WebGL2. Positions and colours lie in textures that the vertex shaders read by
// the number of the vertex: no instances, which a software renderer draws one by one.

import { Projection, clipping } from "./drawn_space.js";
import { BACKGROUND, BOXES, COPY, CURVES, FRAGMENT, FRAGMENT_COPY, OUTLINES } from "./drawn_shaders.js";

const WIDE = 1024;  // texels in a row of a data texture
const THIN = 1.4;  // pixels: in a quick picture thinner ones are plain lines
const MOST_STEPS = 16;  // points of a curve in a quick picture
const MOST_RUNS = 24;

export class Painter {
  /** Throws where WebGL2 is missing. */
  constructor(canvas) {
    const gl = canvas.getContext("webgl2", {
      alpha: false, antialias: false, depth: true, powerPreference: "high-performance",
    });
    if (!gl) throw new Error("no WebGL2");
    this.gl = gl;
    this.canvas = canvas;
    this.software = isSoftware(gl);
    this.programs = {
      background: program(gl, BACKGROUND, FRAGMENT), boxes: program(gl, BOXES, FRAGMENT),
      outlines: program(gl, OUTLINES, FRAGMENT), curves: program(gl, CURVES, FRAGMENT),
      copy: program(gl, COPY, FRAGMENT_COPY),
    };
    this.textures = new Map();
    this.most = gl.getParameter(gl.MAX_TEXTURE_SIZE);
    this.target = null;
    this.samples = Math.min(4, gl.getParameter(gl.MAX_SAMPLES));
    gl.bindVertexArray(gl.createVertexArray());
    gl.blendFunc(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA);
    gl.depthFunc(gl.LEQUAL);
  }

  /** Take a list; one of the same shape as before costs no more than writing the numbers that changed. */
  load(list, look) {
    this.list = list;
    this.look = look;
    for (const name of ["solids", "frames"]) {
      this.write(`${name}.centers`, list[name].centers, 3);
      this.write(`${name}.sizes`, list[name].sizes, 3);
      this.write(`${name}.colors`, list[name].colors, 4);
    }
    this.write("edges.points", list.edges.points, 3);
    this.write("edges.colors", list.edges.colors, 4);
    this.write("edges.widths", list.edges.widths, 1);
    const marked = markOf(list);
    this.marks = marked.count;
    this.write("mark.centers", marked.centers, 3);
    this.write("mark.sizes", marked.sizes, 3);
    this.write("mark.colors", marked.colors, 4);
    this.runs = null;
  }

  write(name, values, parts) {
    const { gl } = this;
    // The arrays of a list on its way change in place; those of all others never do.
    if (!this.list.moving && this.textures.get(name)?.values === values) return;
    const rows = Math.max(1, Math.ceil(values.length / parts / WIDE));
    const kind = values instanceof Uint8Array ? Uint8Array : Float32Array;
    let one = this.textures.get(name);
    const [inner, format] = {
      1: [gl.R32F, gl.RED], 3: [gl.RGB32F, gl.RGB], 4: [gl.RGBA8, gl.RGBA] }[parts];
    const type = kind === Uint8Array ? gl.UNSIGNED_BYTE : gl.FLOAT;
    if (rows > this.most) throw new Error("too much to draw here");
    if (!one || one.rows < rows) {
      if (one) gl.deleteTexture(one.texture);
      const room = Math.min(Math.ceil(rows * 1.25), this.most);
      one = { texture: gl.createTexture(), rows: room, data: new kind(room * WIDE * parts) };
      gl.bindTexture(gl.TEXTURE_2D, one.texture);
      gl.texStorage2D(gl.TEXTURE_2D, 1, inner, WIDE, room);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
      this.textures.set(name, one);
    }
    one.data.set(values);
    one.values = this.list.moving ? null : values;
    gl.bindTexture(gl.TEXTURE_2D, one.texture);
    gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, WIDE, rows, format, type, one.data);
  }

  /** Draw the picture with so many samples per pixel, lines `scale` times as wide as they say. */
  draw(camera, samples, scale) {
    const { gl, list, look } = this;
    const { width, height } = this.canvas;
    gl.bindFramebuffer(gl.FRAMEBUFFER, samples > 1 ? this.buffer(width, height, samples) : null);
    gl.viewport(0, 0, width, height);
    gl.depthMask(true);
    gl.clear(gl.DEPTH_BUFFER_BIT);
    const [near, far] = clipping(list, camera);
    this.view = { projection: new Projection(camera, width, height, near), near, far };
    this.lines = scale;
    this.quick = this.software && samples <= 1;
    gl.disable(gl.BLEND);
    gl.disable(gl.DEPTH_TEST);
    this.background(look);
    gl.enable(gl.DEPTH_TEST);
    this.boxes("solids", list.solids.count, gl.BACK, 1);
    gl.depthMask(false);
    gl.enable(gl.BLEND);
    const { rim, widths, glass } = look;
    this.outlines("solids", list.solids.count, widths.rim, 1.004, [...rim.towards, rim.share], rim.alpha);
    // Only the far walls of the glass are painted: what stands inside keeps its own colour.
    this.boxes("frames", list.frames.count, gl.FRONT, glass);
    this.outlines("frames", list.frames.count, widths.frame, 1.004, [0, 0, 0, 0], 1);
    this.curves();
    this.outlines("mark", this.marks, widths.mark, 1.004, [...look.accent, 1], 1);
    if (samples > 1) this.copy(width, height);
  }

  /** Give the graphics memory back at once; browsers keep few contexts. */
  close() {
    this.gl.getExtension("WEBGL_lose_context")?.loseContext();
  }

  background({ background }) {
    const { gl } = this;
    const { uniforms } = this.use("background");
    gl.uniform3fv(uniforms.bottom, background[0].map((v) => v / 255));
    gl.uniform3fv(uniforms.top, background[1].map((v) => v / 255));
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }

  boxes(name, count, culled, alpha) {
    if (!count) return;
    const { gl } = this;
    const { uniforms } = this.use("boxes", name);
    gl.uniform1fv(uniforms.light, this.look.light);
    gl.uniform1f(uniforms.alpha, alpha);
    gl.enable(gl.CULL_FACE);
    gl.cullFace(culled);
    gl.drawArrays(gl.TRIANGLES, 0, 36 * count);
    gl.disable(gl.CULL_FACE);
  }

  outlines(name, count, width, grow, mix, alpha) {
    if (!count) return;
    const { gl } = this;
    const { uniforms } = this.use("outlines", name);
    const px = width * this.lines;
    const ribbon = !this.quick || px > THIN;
    gl.uniform1f(uniforms.width, px);
    gl.uniform1f(uniforms.grow, grow);
    gl.uniform4f(uniforms.towards, mix[0] / 255, mix[1] / 255, mix[2] / 255, mix[3]);
    gl.uniform1f(uniforms.alpha, alpha);
    gl.uniform1i(uniforms.ribbon, +ribbon);
    gl.drawArrays(ribbon ? gl.TRIANGLES : gl.LINES, 0, (ribbon ? 72 : 24) * count);
  }

  curves() {
    const { gl, list: { edges } } = this;
    if (!edges.count || edges.steps < 2) return;
    const { uniforms } = this.use("curves", "edges");
    const stride = this.quick ? Math.ceil(edges.steps / MOST_STEPS) : 1;
    const segments = Math.ceil((edges.steps - 1) / stride);
    gl.uniform1i(uniforms.steps, edges.steps);
    gl.uniform1i(uniforms.stride, stride);
    gl.uniform1i(uniforms.segments, segments);
    gl.uniform1f(uniforms.scale, this.lines);
    for (const [first, end, ribbon] of this.runsOf(edges)) {
      const each = segments * (ribbon ? 6 : 2);
      gl.uniform1i(uniforms.ribbon, +ribbon);
      gl.drawArrays(ribbon ? gl.TRIANGLES : gl.LINES, first * each, (end - first) * each);
    }
  }

  /** Edges in their order, weakest first, as runs of thin and of wide ones. */
  runsOf({ count, widths }) {
    if (!this.quick) return [[0, count, true]];
    if (this.runs?.lines === this.lines) return this.runs.found;
    const found = [];
    for (let i = 0; i < count; i++) {
      const ribbon = widths[i] * this.lines > THIN;
      if (!found.length || found.at(-1)[2] !== ribbon) found.push([i, i, ribbon]);
      found.at(-1)[1] = i + 1;
    }
    this.runs = { lines: this.lines, found: found.length > MOST_RUNS ? [[0, count, true]] : found };
    return this.runs.found;
  }

  use(name, group) {
    const { gl } = this;
    const { program: one, uniforms } = this.programs[name];
    gl.useProgram(one);
    const parts = { boxes: ["centers", "sizes", "colors"], outlines: ["centers", "sizes", "colors"],
      curves: ["points", "widths", "colors"] }[name] ?? [];
    parts.forEach((part, i) => {
      gl.activeTexture(gl.TEXTURE0 + i);
      gl.bindTexture(gl.TEXTURE_2D, this.textures.get(`${group}.${part}`).texture);
      gl.uniform1i(uniforms[part], i);
    });
    gl.activeTexture(gl.TEXTURE0);
    if (parts.length) {
      const { projection: p, near, far } = this.view;
      gl.uniform3fv(uniforms.origin, p.origin);
      gl.uniformMatrix3fv(uniforms.axes, true, [...p.right, ...p.up, ...p.forward]);
      gl.uniform4f(uniforms.lens, p.scale, near, (far + near) / (far - near), (-2 * far * near) / (far - near));
      gl.uniform2f(uniforms.half_size, p.width / 2, p.height / 2);
    }
    return this.programs[name];
  }

  buffer(width, height, samples) {
    const { gl } = this;
    const same = this.target;
    if (same && same.width === width && same.height === height && same.samples === samples) {
      return same.draw;
    }
    if (same) {
      for (const f of [same.draw, same.read]) gl.deleteFramebuffer(f);
      for (const r of [same.color, same.depth]) gl.deleteRenderbuffer(r);
      gl.deleteTexture(same.texture);
    }
    const color = gl.createRenderbuffer(), depth = gl.createRenderbuffer();
    const draw = gl.createFramebuffer(), read = gl.createFramebuffer(), texture = gl.createTexture();
    gl.bindFramebuffer(gl.FRAMEBUFFER, draw);
    [[color, gl.RGBA8, gl.COLOR_ATTACHMENT0], [depth, gl.DEPTH_COMPONENT24, gl.DEPTH_ATTACHMENT]]
      .forEach(([buffer, format, at]) => {
        gl.bindRenderbuffer(gl.RENDERBUFFER, buffer);
        gl.renderbufferStorageMultisample(gl.RENDERBUFFER, samples, format, width, height);
        gl.framebufferRenderbuffer(gl.FRAMEBUFFER, at, gl.RENDERBUFFER, buffer);
      });
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.texStorage2D(gl.TEXTURE_2D, 1, gl.RGBA8, width, height);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
    gl.bindFramebuffer(gl.FRAMEBUFFER, read);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, texture, 0);
    this.target = { width, height, samples, color, depth, draw, read, texture };
    return draw;
  }

  copy(width, height) {
    const { gl, target } = this;
    gl.bindFramebuffer(gl.READ_FRAMEBUFFER, target.draw);
    gl.bindFramebuffer(gl.DRAW_FRAMEBUFFER, target.read);
    gl.blitFramebuffer(0, 0, width, height, 0, 0, width, height, gl.COLOR_BUFFER_BIT, gl.NEAREST);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.disable(gl.BLEND);
    gl.disable(gl.DEPTH_TEST);
    const { uniforms } = this.use("copy");
    gl.bindTexture(gl.TEXTURE_2D, target.texture);
    gl.uniform1i(uniforms.picture, 0);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }
}

/** Whether the graphics are computed by the processor. */
export function isSoftware(gl) {
  const info = gl.getExtension("WEBGL_debug_renderer_info");
  const name = String(gl.getParameter(info ? info.UNMASKED_RENDERER_WEBGL : gl.RENDERER));
  return /swiftshader|llvmpipe|softpipe|software|basic render|lavapipe/i.test(name);
}

/** Boxes around what is selected, a little larger than it. */
function markOf({ solids, frames, selected }) {
  const centers = [], sizes = [];
  for (const boxes of selected >= 0 ? [solids, frames] : []) {
    for (let i = 0; i < boxes.count; i++) {
      if (boxes.node[i] !== selected) continue;
      const size = boxes.sizes.subarray(3 * i, 3 * i + 3);
      centers.push(...boxes.centers.subarray(3 * i, 3 * i + 3));
      sizes.push(...Array.from(size, (v) => v + 0.012 * Math.max(...size)));
    }
  }
  const count = centers.length / 3;
  return { count, centers: Float32Array.from(centers), sizes: Float32Array.from(sizes),
    colors: new Uint8Array(4 * count).fill(255) };
}

function program(gl, vertex, fragment) {
  const one = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(one, shader);
  }
  gl.linkProgram(one);
  if (!gl.getProgramParameter(one, gl.LINK_STATUS) && !gl.isContextLost()) {
    throw new Error(`a shader failed: ${gl.getProgramInfoLog(one)}`);
  }
  const uniforms = {};
  for (let i = 0; i < gl.getProgramParameter(one, gl.ACTIVE_UNIFORMS); i++) {
    const name = gl.getActiveUniform(one, i).name.replace("[0]", "");
    uniforms[name] = gl.getUniformLocation(one, name);
  }
  return { program: one, uniforms };
}
