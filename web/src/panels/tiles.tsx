/** A canvas of small pictures: drawn again when something changed, and at no other time. */
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Atlas } from "../draw/atlas";
import { painter, type Look, type Painter } from "../draw/gl";

type Props = { atlas: Atlas; look: Look; news?: unknown } & JSX.HTMLAttributes<HTMLCanvasElement>;

/** `news` is something else once the atlas has other bytes. */
export function Tiles({ atlas, look, news, ...rest }: Props) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const brush = useRef<Painter | null>(null);
  // A canvas that was drawn on by WebGL can be drawn on by nothing else: where it is lost, another one takes its place.
  const [flat, setFlat] = useState(false);
  useEffect(() => {
    const made = painter(canvas.current!, flat, () => setFlat(true));
    brush.current = made;
    return () => made.dispose();
  }, [flat]);
  useEffect(() => brush.current?.draw(atlas, look), [flat, atlas, look, news]);
  return <canvas key={String(flat)} ref={canvas} width={look.width} height={look.height} {...rest} />;
}

export const density = (): number => Math.min(2, devicePixelRatio || 1);

/** The width that an element has. */
export function useWidth(): [{ current: HTMLDivElement | null }, number] {
  const box = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(0);
  useEffect(() => {
    if (!box.current) return;
    const watch = new ResizeObserver(([entry]) => setWidth(Math.floor(entry!.contentRect.width)));
    watch.observe(box.current);
    return () => watch.disconnect();
  }, []);
  return [box, width];
}
