/** The heads in space: a ball each, as large, as high and as coloured as its number; drawn only when something changed. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { shade, type RGB } from "../draw/colour";
import { pick, project, Spheres, type Ball, type Camera } from "../draw/spheres";
import { number } from "../draw/text";
import { focus, hover, NONE, select, selection } from "../state/selection";
import { dark } from "../state/theme";
import { placeOf, type Row } from "./headgrid";
import type { Grid } from "./measures";
import { density, useWidth } from "./tiles";

export type Props = { rows: readonly Row[]; columns: number; group: number; hide: boolean; marks: ReadonlyMap<string, number>; grid: Grid; maximum: number };
type Head = Ball & { layer: number; head: number; value: number };

const START: Camera = { yaw: 0.5, pitch: 0.55, zoom: 1 };
const FRONT: Camera = { yaw: 0, pitch: 0, zoom: 1 };
const TURN = 0.15;
const COLOURS: Record<"dark" | "light", { ink: RGB; focus: RGB }> = {
  dark: { ink: [162, 169, 184], focus: [140, 199, 255] }, light: { ink: [90, 98, 114], focus: [11, 95, 215] },
};

/** Where layers and heads stand around the middle, and how to bring them onto the canvas. */
function scene({ rows, columns, group, hide }: Props, camera: Camera, width: number) {
  const layers = rows.map((_, layer) => layer).filter((layer) => !hide || rows[layer]?.heads !== 0);
  const right = (head: number) => head + (group > 1 ? 0.6 * Math.floor(head / group) : 0);
  const [wide, high] = [right(columns - 1), layers.length - 1];
  const reach = Math.max(1, Math.hypot(wide, high) / 2);
  const height = Math.round(Math.min(width, Math.max(240, Math.min(460, (width * (high + 3)) / (wide + 4)))));
  const dots = Math.min(width / (wide + 3.2), height / (high + 3.2));
  const lift = Math.min(2.5, 0.3 * Math.max(2, Math.min(wide, high)));
  const place = (line: number, head: number, up = 0) => {
    const { x, y, near, scale } = project([head - wide / 2, line - high / 2, up * lift], camera, reach);
    return { x: width / 2 + x * dots, y: height / 2 + y * dots, near, scale: scale * dots };
  };
  return { layers, right, height, place };
}

export function Space(props: Props) {
  const { rows, columns, marks, grid, maximum } = props;
  const [box, width] = useWidth();
  const [camera, setCamera] = useState(START);
  const canvas = useRef<HTMLCanvasElement>(null);
  const spheres = useRef<Spheres | null>(null);
  const [lost, setLost] = useState(0);
  const [missing, setMissing] = useState(false);
  const night = dark.value;
  const at = selection.value;
  const { layers, right, height, place } = scene(props, camera, width);
  const heads = useMemo(() => layers.flatMap((layer, line) => (grid.values[layer] ?? []).flatMap((value, head): Head[] => {
    if (value === null || !rows[layer]) return [];
    const share = Math.min(1, Math.abs(value) / maximum);
    const { scale, ...where } = place(line, right(head), share);
    const mark = at.layer === layer && at.head === head ? "chosen" : marks.has(placeOf(layer, head)) ? "top" : "none";
    return [{ ...where, radius: scale * (0.1 + 0.34 * Math.sqrt(share)), colour: shade(night, value, maximum, grid.signed), mark, layer, head, value }];
  })), [rows, columns, props.hide, props.group, grid.values, maximum, camera, width, marks, night, at.layer, at.head]);
  useEffect(() => {
    if (!canvas.current) return;
    spheres.current = Spheres.on(canvas.current, () => setLost((times) => times + 1));
    setMissing(spheres.current === null);
    return () => spheres.current?.dispose();
  }, [lost, width > 0]);
  useEffect(() => {
    const dots = density();
    spheres.current?.draw({
      width: Math.round(width * dots), height: Math.round(height * dots), ...COLOURS[night ? "dark" : "light"],
      balls: heads.map((ball) => ({ ...ball, x: ball.x * dots, y: ball.y * dots, radius: ball.radius * dots })),
    });
  }, [heads, lost, width > 0, height]);
  const { layer, head } = focus.value;
  const value = layer === null || head === null ? undefined : grid.values[layer]?.[head];
  const said = typeof value === "number" ? `L${layer}H${head}: ${number(value, grid.signed)} ${grid.unit}` : "Point at a ball, or choose one with the arrows.";
  const turn = (yaw: number, pitch: number, zoom = 1) => setCamera((old) => ({ yaw: old.yaw + yaw, pitch: Math.max(-1.5, Math.min(1.5, old.pitch + pitch)), zoom: Math.max(0.5, Math.min(4, old.zoom * zoom)) }));
  const drag = useDrag(canvas, heads, turn);
  const step = Math.max(1, Math.ceil(Math.max(columns, layers.length) / 12));
  return (
    <div ref={box} class="space">
      {missing ? <p class="state">3D needs WebGL, which this browser does not offer: 2D shows the same heads.</p> : width > 0 && (
        <>
          <div class="stage" style={{ height: `${height}px` }}>
            <canvas key={lost} ref={canvas} width={Math.round(width * density())} height={Math.round(height * density())} tabIndex={0} role="img" style={{ width: `${width}px`, height: `${height}px` }}
              aria-label={`heads in space by ${grid.title}; arrows choose a head, with shift they turn, plus and minus zoom, 0 is the front. ${said}`}
              onKeyDown={(event) => keyed(event, layers, columns, { turn, front: () => setCamera(FRONT) })} {...drag} />
            {layers.map((layer, line) => line % step === 0 && <Label at={place(line, right(0) - 1.2)}>L{layer}</Label>)}
            {Array.from({ length: columns }, (_, head) => head % step === 0 && <Label at={place(layers.length - 0.1, right(head))}>H{head}</Label>)}
          </div>
          <p class="turns">
            <button class="quiet" aria-label="turn left" onClick={() => turn(-TURN, 0)}>⟲</button><button class="quiet" aria-label="turn right" onClick={() => turn(TURN, 0)}>⟳</button>
            <button class="quiet" aria-label="nearer" onClick={() => turn(0, 0, 1.2)}>+</button><button class="quiet" aria-label="farther" onClick={() => turn(0, 0, 1 / 1.2)}>−</button>
            <button class="quiet" onClick={() => setCamera(FRONT)}>from the front</button>
          </p>
          <p class="muted">By {grid.title}: the larger the number, the larger, nearer to the eye and stronger in colour the ball.</p>
          <p aria-live="polite">{said}</p>
        </>
      )}
    </div>
  );
}

const Label = ({ at, children }: { at: { x: number; y: number }; children: (string | number)[] }) =>
  <span class="axis-name muted" aria-hidden="true" style={{ left: `${at.x}px`, top: `${at.y}px` }}>{children}</span>;

/** Points at a ball, chooses it, or turns the whole. */
function useDrag(canvas: { current: HTMLCanvasElement | null }, heads: readonly Head[], turn: (yaw: number, pitch: number) => void) {
  const from = useRef<{ x: number; y: number; moved: boolean } | null>(null);
  const under = (event: PointerEvent) => {
    const corner = canvas.current!.getBoundingClientRect();
    return pick(heads, event.clientX - corner.left, event.clientY - corner.top);
  };
  return {
    onPointerDown: (event: PointerEvent) => { from.current = { x: event.clientX, y: event.clientY, moved: false }; },
    onPointerMove: (event: PointerEvent) => {
      const start = from.current;
      if (start && event.buttons === 0) from.current = null;
      else if (start) {
        const [right, down] = [event.clientX - start.x, event.clientY - start.y];
        if (!start.moved && Math.hypot(right, down) < 4) return;
        if (!start.moved) canvas.current!.setPointerCapture(event.pointerId);
        from.current = { x: event.clientX, y: event.clientY, moved: true };
        turn(right * 0.01, down * 0.01);
        return;
      }
      const ball = under(event);
      const { layer, head } = hover.value;
      if (layer !== (ball?.layer ?? null) || head !== (ball?.head ?? null)) hover.value = ball ? { ...NONE, layer: ball.layer, head: ball.head } : NONE;
    },
    onPointerLeave: () => { hover.value = NONE; },
    onPointerUp: (event: PointerEvent) => {
      const ball = from.current?.moved ? null : under(event);
      from.current = null;
      if (ball) select({ layer: ball.layer, head: ball.head });
    },
  };
}

type Turning = { turn: (yaw: number, pitch: number, zoom?: number) => void; front: () => void };

function keyed(event: KeyboardEvent, layers: readonly number[], columns: number, { turn, front }: Turning): void {
  const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
  const zoom = { "+": 1.2, "=": 1.2, "-": 1 / 1.2 }[event.key];
  if (step && event.shiftKey) turn(step[1]! * TURN, step[0]! * TURN);
  else if (step) {
    const { layer, head } = selection.value;
    const line = layer === null ? 0 : Math.max(0, Math.min(layers.length - 1, layers.indexOf(layer) + step[0]!));
    select({ layer: layers[line] ?? 0, head: head === null ? 0 : Math.max(0, Math.min(columns - 1, head + step[1]!)) });
  } else if (zoom) turn(0, 0, zoom);
  else if (event.key === "0") front();
  else return;
  event.preventDefault();
}
