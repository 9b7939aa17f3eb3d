// The shaders of drawn_paint.js.

const HEAD = `#version 300 es
precision highp float;
precision highp int;
precision highp sampler2D;
out vec4 paint;
`;

// Axes of the view are rows; lens: pixels at depth 1, near, and the two numbers of the depth buffer.
const SPACE = `
uniform vec3 origin;
uniform mat3 axes;
uniform vec4 lens;
uniform vec2 half_size;

ivec2 cell(int i) { return ivec2(i % 1024, i / 1024); }
vec3 seen(vec3 world) { return axes * (world - origin); }
vec4 clipped(vec3 view) {
  return vec4(view.xy * lens.x / half_size, lens.z * view.z + lens.w, view.z);
}
// The end of a segment, pulled along it onto the near plane where it lies behind that.
vec3 ahead(vec3 end, vec3 other) {
  if (end.z >= lens.y || other.z < lens.y) return end;
  return mix(end, other, (lens.y * 1.00001 - end.z) / (other.z - end.z));
}
vec2 pixel(vec3 view) { return view.xy * lens.x / max(view.z, lens.y); }
vec4 moved(vec3 view, vec2 by) {
  vec4 place = clipped(view);
  place.xy += by / half_size * place.w;
  return place;
}
vec2 along(vec2 from, vec2 to) {
  vec2 way = to - from;
  float far = length(way);
  return far > 1e-6 ? way / far : vec2(1.0, 0.0);
}
const vec4 NOWHERE = vec4(2.0, 2.0, 2.0, 1.0);
const ivec2 QUAD[6] = ivec2[6](ivec2(0, -1), ivec2(1, -1), ivec2(1, 1), ivec2(0, -1), ivec2(1, 1), ivec2(0, 1));
`;

export const BACKGROUND = `${HEAD}
uniform vec3 bottom;
uniform vec3 top;
void main() {
  vec2 corner = vec2(gl_VertexID == 1 ? 3.0 : -1.0, gl_VertexID == 2 ? 3.0 : -1.0);
  paint = vec4(mix(bottom, top, corner.y * 0.5 + 0.5), 1.0);
  gl_Position = vec4(corner, 0.0, 1.0);
}`;

export const BOXES = `${HEAD}${SPACE}
uniform sampler2D centers;
uniform sampler2D sizes;
uniform sampler2D colors;
uniform float light[6];
uniform float alpha;
// Corners 4 ix + 2 iy + iz of the faces -x, +x, -y, +y, -z, +z, counter-clockwise from outside.
const int CORNERS[24] = int[24](0,1,3,2, 4,6,7,5, 0,4,5,1, 2,3,7,6, 0,2,6,4, 1,5,7,3);
const int TURN[6] = int[6](0, 1, 2, 0, 2, 3);
void main() {
  int box = gl_VertexID / 36, face = (gl_VertexID % 36) / 6;
  int corner = CORNERS[4 * face + TURN[gl_VertexID % 6]];
  vec3 at = vec3((corner >> 2) & 1, (corner >> 1) & 1, corner & 1) - 0.5;
  vec3 view = seen(texelFetch(centers, cell(box), 0).xyz + at * texelFetch(sizes, cell(box), 0).xyz);
  vec4 color = texelFetch(colors, cell(box), 0);
  // What exceeds full brightness goes to white instead of being cut: the hue stays.
  float shine = max(light[face] - 1.0, 0.0) * (90.0 / 255.0);
  paint = vec4(min(color.rgb * light[face] + shine, 1.0), color.a * alpha);
  gl_Position = clipped(view);
}`;

export const OUTLINES = `${HEAD}${SPACE}
uniform sampler2D centers;
uniform sampler2D sizes;
uniform sampler2D colors;
uniform float width;
uniform float grow;
uniform vec4 towards;
uniform float alpha;
uniform bool ribbon;
const int ENDS[24] = int[24](0,1, 2,3, 4,5, 6,7, 0,2, 1,3, 4,6, 5,7, 0,4, 1,5, 2,6, 3,7);
void main() {
  int each = ribbon ? 6 : 2;
  int box = gl_VertexID / (12 * each), side = (gl_VertexID / each) % 12;
  vec3 center = texelFetch(centers, cell(box), 0).xyz, size = texelFetch(sizes, cell(box), 0).xyz;
  vec3 ends[2];
  for (int e = 0; e < 2; e++) {
    int corner = ENDS[2 * side + e];
    ends[e] = seen(center + (vec3((corner >> 2) & 1, (corner >> 1) & 1, corner & 1) - 0.5) * size * grow);
  }
  vec4 color = texelFetch(colors, cell(box), 0);
  paint = vec4(mix(color.rgb, towards.rgb, towards.a), color.a * alpha);
  ivec2 corner = ribbon ? QUAD[gl_VertexID % 6] : ivec2(gl_VertexID % 2, 0);
  if (ends[0].z < lens.y && ends[1].z < lens.y) { gl_Position = NOWHERE; return; }
  vec3 a = ahead(ends[0], ends[1]), b = ahead(ends[1], ends[0]);
  vec2 way = along(pixel(a), pixel(b));
  gl_Position = moved(corner.x == 0 ? a : b, vec2(-way.y, way.x) * float(corner.y) * width * 0.5);
}`;

export const CURVES = `${HEAD}${SPACE}
uniform sampler2D points;
uniform sampler2D widths;
uniform sampler2D colors;
uniform int steps;
uniform int stride;
uniform int segments;
uniform float scale;
uniform bool ribbon;
// The point at the end of so many segments of a curve.
vec3 place(int curve, int end) {
  return seen(texelFetch(points, cell(curve * steps + min(end * stride, steps - 1)), 0).xyz);
}
void main() {
  int each = ribbon ? 6 : 2;
  int segment = (gl_VertexID / each) % segments, curve = gl_VertexID / (each * segments);
  ivec2 corner = ribbon ? QUAD[gl_VertexID % 6] : ivec2(gl_VertexID % 2, 0);
  vec3 p = place(curve, segment), q = place(curve, segment + 1);
  paint = texelFetch(colors, cell(curve), 0);
  if (p.z < lens.y && q.z < lens.y) { gl_Position = NOWHERE; return; }
  vec3 a = ahead(p, q), b = ahead(q, p);
  if (!ribbon) { gl_Position = clipped(corner.x == 0 ? a : b); return; }
  // Mitred where two segments meet: translucent ribbons must not lie over each other there.
  vec2 way = along(pixel(a), pixel(b)), other = way;
  if (corner.x == 0 && segment > 0) {
    vec3 before = place(curve, segment - 1);
    if (before.z >= lens.y && p.z >= lens.y) other = along(pixel(before), pixel(a));
  } else if (corner.x == 1 && segment < segments - 1) {
    vec3 after = place(curve, segment + 2);
    if (after.z >= lens.y && q.z >= lens.y) other = along(pixel(b), pixel(after));
  }
  vec2 sum = way + other;
  vec2 middle = dot(sum, sum) > 1e-4 ? normalize(sum) : way;
  float reach = 1.0 / max(dot(middle, way), 0.5);
  float width = max(texelFetch(widths, cell(curve), 0).r * scale, 1.0) * 0.5 * reach;
  gl_Position = moved(corner.x == 0 ? a : b, vec2(-middle.y, middle.x) * float(corner.y) * width);
}`;

export const COPY = `#version 300 es
void main() {
  vec2 corner = vec2(gl_VertexID == 1 ? 3.0 : -1.0, gl_VertexID == 2 ? 3.0 : -1.0);
  gl_Position = vec4(corner, 0.0, 1.0);
}`;

export const FRAGMENT = `#version 300 es
precision mediump float;
in vec4 paint;
out vec4 color;
void main() { color = paint; }`;

export const FRAGMENT_COPY = `#version 300 es
precision mediump float;
uniform sampler2D picture;
out vec4 color;
void main() { color = texelFetch(picture, ivec2(gl_FragCoord.xy), 0); }`;
