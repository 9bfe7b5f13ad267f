/** A panel whose program is fetched when it comes near the window. */
import type { FunctionComponent } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

type Props = { id: string; title: string; load: () => Promise<FunctionComponent> };

export function Later({ id, title, load }: Props) {
  const box = useRef<HTMLElement>(null);
  const [Panel, setPanel] = useState<FunctionComponent | null>(null);
  const [failed, setFailed] = useState(false);
  const fetchIt = () => {
    setFailed(false);
    load().then((found) => {
      const focused = document.activeElement === box.current;
      setPanel(() => found);
      if (focused) requestAnimationFrame(() => document.getElementById(id)?.focus());
    }, () => setFailed(true));
  };
  useEffect(() => {
    const watch = new IntersectionObserver((entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      watch.disconnect();
      fetchIt();
    }, { rootMargin: "500px" });
    watch.observe(box.current!);
    return () => watch.disconnect();
  }, []);
  if (Panel) return <Panel />;
  return (
    <section ref={box} id={id} class="panel later" tabIndex={-1} aria-labelledby={`${id}-title`} data-status="later">
      <header><h2 id={`${id}-title`}>{title}</h2></header>
      <p class="state" role="status">{failed ? <>The server does not give this panel. Is fluoro lab still running? <button onClick={fetchIt}>Try again</button></> : "Loading …"}</p>
    </section>
  );
}

/** A component that is fetched once it is wanted; null until it is there. */
export function useLate<Props>(wanted: boolean, load: () => Promise<FunctionComponent<Props>>): FunctionComponent<Props> | null {
  const [late, setLate] = useState<FunctionComponent<Props> | null>(null);
  useEffect(() => { if (wanted && !late) void load().then((found) => setLate(() => found)); }, [wanted]);
  return late;
}
