/** Shaded balls on a canvas, each one a square that a shader makes round; where a place in space falls on the canvas. */
import type { RGB } from "./colour";
import { perInstance, program } from "./gl";

/** From the front at 0; angles in radians. */
export type Camera = { yaw: number; pitch: number; zoom: number };
export type Ball = { x: number; y: number; near: number; radius: number; colour: RGB; mark: "none" | "top" | "chosen" };
export type Scene = { width: number; height: number; balls: readonly Ball[]; ink: RGB; focus: RGB };

/** Right, down and towards the eye, of a place around the middle; `reach` is how far places are from it. */
export function project([x, y, z]: readonly [number, number, number], { yaw, pitch, zoom }: Camera, reach: number): { x: number; y: number; near: number; scale: number } {
  const [right, back] = [x * Math.cos(yaw) + z * Math.sin(yaw), z * Math.cos(yaw) - x * Math.sin(yaw)];
  const [down, near] = [y * Math.cos(pitch) - back * Math.sin(pitch), back * Math.cos(pitch) + y * Math.sin(pitch)];
  const far = 3.5 * reach;
  const scale = (zoom * far) / (far - near);
  return { x: right * scale, y: down * scale, near, scale };
}

/** The ball under a place on the canvas that is nearest to the eye. */
export function pick<One extends Ball>(balls: readonly One[], x: number, y: number): One | null {
  let found: One | null = null;
  for (const ball of balls) if (Math.hypot(ball.x - x, ball.y - y) <= Math.max(ball.radius, 5) && (!found || ball.near > found.near)) found = ball;
  return found;
}

const VERTEX = `
in vec4 ball; in vec4 tint; // left, top, radius and mark; colour
uniform vec2 canvas;
flat out vec3 paint; flat out float radius, mark; out vec2 at;
void main() {
  paint = tint.rgb; radius = ball.z; mark = ball.w;
  at = (vec2(gl_VertexID & 1, gl_VertexID >> 1) * 2.0 - 1.0) * (1.0 + 6.0 / radius);
  vec2 dot = (ball.xy + at * radius) / canvas * 2.0 - 1.0;
  gl_Position = vec4(dot.x, -dot.y, 0, 1);
}`;
const FRAGMENT = `
flat in vec3 paint; flat in float radius, mark; in vec2 at;
uniform vec3 ink, focus;
out vec4 colour;
void main() {
  float far = length(at), inside = clamp((1.0 - far) * radius + 0.5, 0.0, 1.0);
  vec3 normal = vec3(at.x, -at.y, sqrt(max(0.0, 1.0 - far * far)));
  vec3 lit = paint * (0.62 + 0.38 * max(0.0, dot(normal, normalize(vec3(-0.5, 0.6, 0.9)))));
  lit = mix(lit, ink, 0.45 * smoothstep(1.0 - 2.0 / radius, 1.0, far)); // a rim, so that pale ones stand out
  float gap = (far - 1.0) * radius, wide = mark > 1.5 ? 3.0 : 1.4;
  float ring = mark < 0.5 ? 0.0 : clamp(gap - 0.7, 0.0, 1.0) * clamp(1.7 + wide - gap, 0.0, 1.0);
  colour = vec4(lit, 1) * inside + vec4(mark > 1.5 ? focus : ink, 1) * ring * (1.0 - inside);
}`;
const MARK = { none: 0, top: 1, chosen: 2 } as const;

export class Spheres {
  private readonly made: WebGLProgram;
  private readonly place: (values: Float32Array) => void;
  private readonly paint: (values: Float32Array) => void;

  private constructor(private readonly gl: WebGL2RenderingContext, private readonly lost: () => void) {
    gl.canvas.addEventListener("webglcontextlost", lost);
    this.made = program(gl, VERTEX, FRAGMENT);
    this.place = perInstance(gl, this.made, "ball", 4);
    this.paint = perInstance(gl, this.made, "tint", 4);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  }

  /** Null where the browser has no WebGL. */
  static on(canvas: HTMLCanvasElement, lost: () => void): Spheres | null {
    const gl = canvas.getContext("webgl2", { preserveDrawingBuffer: true, antialias: false, depth: false });
    return gl && new Spheres(gl, lost);
  }

  draw({ width, height, balls, ink, focus }: Scene): void {
    const { gl, made } = this;
    if (gl.isContextLost()) return this.lost();
    const behind = [...balls].sort((one, other) => one.near - other.near); // far ones first: edges blend, no depth is kept
    this.place(Float32Array.from(behind.flatMap((ball) => [ball.x, ball.y, ball.radius, MARK[ball.mark]])));
    this.paint(Float32Array.from(behind.flatMap(({ colour: [red, green, blue] }) => [red / 255, green / 255, blue / 255, 1])));
    gl.viewport(0, 0, width, height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.uniform2f(gl.getUniformLocation(made, "canvas"), width, height);
    gl.uniform3f(gl.getUniformLocation(made, "ink"), ink[0] / 255, ink[1] / 255, ink[2] / 255);
    gl.uniform3f(gl.getUniformLocation(made, "focus"), focus[0] / 255, focus[1] / 255, focus[2] / 255);
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, behind.length);
  }

  dispose(): void {
    this.gl.canvas.removeEventListener("webglcontextlost", this.lost);
    this.gl.getExtension("WEBGL_lose_context")?.loseContext();
  }
}
