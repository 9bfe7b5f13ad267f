/** Draws the pictures of an atlas in one call: by WebGL where there is one, else dot by dot with the same result. */
import type { Atlas } from "./atlas";

/** Where a picture of the atlas stands on the canvas, in its dots. */
export type Tile = { column: number; row: number; x: number; y: number };
export type Look = {
  width: number; height: number; tiles: readonly Tile[];
  /** Dots on a side of each picture, and which part of it they show: left, top and side, in its cells. */
  size: number; part: readonly [number, number, number];
  colours: Uint8Array;
  /** Cells beyond the diagonal are clear: above it, below where rows and columns are exchanged; none where `whole`. */
  clear: "above" | "below" | "none";
};

export interface Painter { draw(atlas: Atlas, look: Look): void; dispose(): void }

/** Coarser copies are used where a dot would cover more than two cells. */
export const levelOf = (atlas: Atlas, cellsPerDot: number): number =>
  Math.max(0, Math.min(atlas.levels.length - 1, Math.floor(Math.log2(Math.max(1, cellsPerDot)))));

/** `lost` is called once the canvas can no longer be drawn on. */
export function painter(canvas: HTMLCanvasElement, flat: boolean, lost: () => void): Painter {
  const gl = flat ? null : canvas.getContext("webgl2", { preserveDrawingBuffer: true, antialias: false, depth: false });
  return gl ? new Shaded(gl, lost) : new Plain(canvas.getContext("2d")!);
}

export function program(gl: WebGL2RenderingContext, vertex: string, fragment: string): WebGLProgram {
  const made = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]] as const) {
    const shader = gl.createShader(kind)!;
    gl.shaderSource(shader, `#version 300 es\nprecision highp float; precision highp int; precision highp sampler2D;\n${source}`);
    gl.compileShader(shader);
    gl.attachShader(made, shader);
  }
  gl.linkProgram(made);
  if (!gl.getProgramParameter(made, gl.LINK_STATUS) && !gl.isContextLost()) {
    const logs = gl.getAttachedShaders(made)!.map((shader) => gl.getShaderInfoLog(shader));
    throw new Error(`a shader of ours does not compile: ${[gl.getProgramInfoLog(made), ...logs].join(" ")}`);
  }
  gl.useProgram(made);
  return made;
}

/** An attribute that is another for each instance; what it gives back fills it. */
export function perInstance(gl: WebGL2RenderingContext, made: WebGLProgram, name: string, width: number): (values: Float32Array) => void {
  const buffer = gl.createBuffer();
  const place = gl.getAttribLocation(made, name);
  gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
  gl.enableVertexAttribArray(place);
  gl.vertexAttribPointer(place, width, gl.FLOAT, false, 0, 0);
  gl.vertexAttribDivisor(place, 1);
  return (values) => {
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.bufferData(gl.ARRAY_BUFFER, values, gl.DYNAMIC_DRAW);
  };
}

const VERTEX = `
in vec4 tile; // column and row in the atlas, left and top on the canvas
uniform vec2 canvas; uniform float size;
flat out ivec2 of; out vec2 at;
void main() {
  at = vec2(gl_VertexID & 1, gl_VertexID >> 1);
  of = ivec2(tile.xy);
  vec2 dot = (tile.zw + at * size) / canvas * 2.0 - 1.0;
  gl_Position = vec4(dot.x, -dot.y, 0, 1);
}`;
const FRAGMENT = `
flat in ivec2 of; in vec2 at;
uniform sampler2D bytes, colours;
uniform vec3 part; uniform float size; uniform int side, pitch, level, clear; uniform bool both;
out vec4 colour;
void main() {
  float cells = part.z / size;
  vec2 middle = part.xy + at * part.z, half_ = vec2(cells > 1.0 ? cells / 2.0 : 0.0);
  ivec2 low = clamp(ivec2(floor(middle - half_)), ivec2(0), ivec2(side - 1));
  ivec2 high = clamp(ivec2(cells > 1.0 ? ceil(middle + half_) - 1.0 : floor(middle)), low, ivec2(side - 1));
  colour = vec4(0);
  if (clear == 1 && low.x > high.y || clear == 2 && low.y > high.x) return;
  ivec2 from = of * (pitch >> level);
  float found = both ? 128.0 / 255.0 : 0.0, furthest = -1.0;
  for (int y = low.y >> level; y <= high.y >> level; y++) for (int x = low.x >> level; x <= high.x >> level; x++) {
    float byte = texelFetch(bytes, from + ivec2(x, y), level).r;
    float far = both ? abs(byte - 128.0 / 255.0) : byte;
    if (far > furthest) { furthest = far; found = byte; }
  }
  colour = texelFetch(colours, ivec2(found * 255.0 + 0.5, 0), 0);
}`;
const CLEAR = { none: 0, above: 1, below: 2 } as const;

class Shaded implements Painter {
  private readonly made: WebGLProgram;
  private loaded: Atlas | null = null;
  private texture: WebGLTexture | null = null;
  private readonly colours: WebGLTexture;
  private readonly place: (tiles: Float32Array) => void;

  constructor(private readonly gl: WebGL2RenderingContext, private readonly lost: () => void) {
    gl.canvas.addEventListener("webglcontextlost", lost);
    this.made = program(gl, VERTEX, FRAGMENT);
    this.place = perInstance(gl, this.made, "tile", 4);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    this.colours = this.table(gl.TEXTURE1);
    gl.texStorage2D(gl.TEXTURE_2D, 1, gl.RGBA8, 256, 1);
  }

  private table(unit: number): WebGLTexture {
    const { gl } = this;
    const texture = gl.createTexture()!;
    gl.activeTexture(unit);
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST_MIPMAP_NEAREST);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
    return texture;
  }

  private load(atlas: Atlas): void {
    const { gl } = this;
    const news = atlas.takeNews();
    gl.activeTexture(gl.TEXTURE0);
    if (this.loaded !== atlas) {
      gl.deleteTexture(this.texture);
      this.texture = this.table(gl.TEXTURE0);
      gl.texStorage2D(gl.TEXTURE_2D, atlas.levels.length, gl.R8, atlas.stride(0), atlas.rows * atlas.pitch);
      this.loaded = atlas;
      atlas.levels.forEach((bytes, level) => this.upload(atlas, bytes, level, 0, atlas.rows));
    } else for (const row of news) atlas.levels.forEach((bytes, level) => this.upload(atlas, bytes, level, row, 1));
  }

  private upload(atlas: Atlas, bytes: Uint8Array, level: number, row: number, count: number): void {
    const { gl } = this;
    const [lines, width] = [atlas.pitch >> level, atlas.stride(level)];
    const part = bytes.subarray(row * lines * width, (row + count) * lines * width);
    gl.texSubImage2D(gl.TEXTURE_2D, level, 0, row * lines, width, count * lines, gl.RED, gl.UNSIGNED_BYTE, part);
  }

  draw(atlas: Atlas, look: Look): void {
    const { gl, made } = this;
    const most = gl.getParameter(gl.MAX_TEXTURE_SIZE) as number;
    if (gl.isContextLost() || atlas.stride(0) > most || atlas.rows * atlas.pitch > most) return this.lost();
    this.load(atlas);
    gl.activeTexture(gl.TEXTURE1);
    gl.bindTexture(gl.TEXTURE_2D, this.colours);
    gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, 256, 1, gl.RGBA, gl.UNSIGNED_BYTE, look.colours);
    gl.viewport(0, 0, look.width, look.height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    const place = (name: string) => gl.getUniformLocation(made, name);
    gl.uniform2f(place("canvas"), look.width, look.height);
    gl.uniform3f(place("part"), ...look.part);
    gl.uniform1f(place("size"), look.size);
    for (const [name, value] of Object.entries({
      bytes: 0, colours: 1, side: atlas.side, pitch: atlas.pitch, both: Number(atlas.signed),
      level: levelOf(atlas, look.part[2] / look.size), clear: CLEAR[look.clear],
    })) gl.uniform1i(place(name), value);
    this.place(Float32Array.from(look.tiles.flatMap(({ column, row, x, y }) => [column, row, x, y])));
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, look.tiles.length);
  }

  dispose(): void {
    this.gl.canvas.removeEventListener("webglcontextlost", this.lost);
    this.gl.getExtension("WEBGL_lose_context")?.loseContext();
  }
}

class Plain implements Painter {
  constructor(private readonly context: CanvasRenderingContext2D) {}

  draw(atlas: Atlas, look: Look): void {
    this.context.clearRect(0, 0, look.width, look.height);
    const size = Math.round(look.size);
    for (const tile of look.tiles) {
      const image = this.context.createImageData(size, size);
      const dots = new Uint32Array(image.data.buffer);
      const colours = new Uint32Array(look.colours.buffer);
      for (let y = 0; y < size; y++) for (let x = 0; x < size; x++) {
        const byte = sample(atlas, look, tile, (x + 0.5) / size, (y + 0.5) / size);
        if (byte !== null) dots[y * size + x] = colours[byte]!;
      }
      this.context.putImageData(image, Math.round(tile.x), Math.round(tile.y));
    }
  }

  dispose(): void {}
}

/** What the shader does. */
function sample(atlas: Atlas, look: Look, tile: Tile, x: number, y: number): number | null {
  const [left, top, span] = look.part;
  const cells = span / look.size;
  const reach = (middle: number): [number, number] => {
    const within = (cell: number, least: number) => Math.min(Math.max(cell, least), atlas.side - 1);
    if (cells <= 1) return [within(Math.floor(middle), 0), within(Math.floor(middle), 0)];
    const low = within(Math.floor(middle - cells / 2), 0);
    return [low, within(Math.ceil(middle + cells / 2) - 1, low)];
  };
  const [[lowX, highX], [lowY, highY]] = [reach(left + x * span), reach(top + y * span)];
  if ((look.clear === "above" && lowX > highY) || (look.clear === "below" && lowY > highX)) return null;
  const level = levelOf(atlas, cells);
  const [bytes, stride, pitch] = [atlas.levels[level]!, atlas.stride(level), atlas.pitch >> level];
  let found = atlas.signed ? 128 : 0;
  for (let line = lowY >> level; line <= highY >> level; line++) for (let cell = lowX >> level; cell <= highX >> level; cell++) {
    found = atlas.stronger(bytes[(tile.row * pitch + line) * stride + tile.column * pitch + cell]!, found);
  }
  return found;
}
