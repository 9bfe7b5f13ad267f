/** Which columns of a long table are near what is seen: only these are made. */
import { useEffect, useState } from "preact/hooks";
import type { RefObject } from "preact";

export const MANY = 64;
export const WIDE = 88; // pixels of a column where not all are made
const MARGIN = 12;

/** First and one past the last column to make; all where there are few. `box` is what scrolls. */
export function useSpan(count: number, box: RefObject<HTMLElement>): [number, number] {
  const [left, setLeft] = useState(0);
  const [seen, setSeen] = useState(12);
  const long = count > MANY;
  useEffect(() => {
    const element = box.current;
    if (!long || !element) return;
    const look = () => {
      setLeft(Math.floor(element.scrollLeft / WIDE));
      setSeen(Math.ceil(element.clientWidth / WIDE));
    };
    look();
    element.addEventListener("scroll", look, { passive: true });
    const watch = new ResizeObserver(look);
    watch.observe(element);
    return () => { element.removeEventListener("scroll", look); watch.disconnect(); };
  }, [long]);
  return long ? [Math.max(0, left - MARGIN), Math.min(count, left + seen + MARGIN)] : [0, count];
}
