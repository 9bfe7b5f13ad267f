/** Programs that are fetched when they are needed: panels that come near the window, pictures that few look at. */
import type { FunctionComponent } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";

type Props = {
  id: string; title: string; load: () => Promise<FunctionComponent>;
  /** Fetched as soon as the first page is there. */
  soon?: boolean;
};

export function Later({ id, title, load, soon = false }: Props) {
  const box = useRef<HTMLElement>(null);
  const focused = useRef(false);
  const [Panel, setPanel] = useState<FunctionComponent | null>(null);
  const [failed, setFailed] = useState(false);
  const fetchIt = () => {
    setFailed(false);
    load().then((found) => {
      focused.current = document.activeElement === box.current;
      setPanel(() => found);
    }, () => setFailed(true));
  };
  useEffect(() => {
    const watch = new IntersectionObserver((entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      watch.disconnect();
      fetchIt();
    }, { rootMargin: "500px" });
    watch.observe(box.current!);
    if (soon) requestAnimationFrame(() => setTimeout(fetchIt));
    return () => watch.disconnect();
  }, []);
  useLayoutEffect(() => { if (focused.current) document.getElementById(id)?.focus(); }, [Panel]);
  if (Panel) return <Panel />;
  return (
    <section ref={box} id={id} class="panel later" tabIndex={-1} aria-labelledby={`${id}-title`} data-status="later">
      <header><h2 id={`${id}-title`}>{title}</h2></header>
      <p class="state" role="status">{failed ? <>The server does not give this panel. Is fluoro lab still running? <button onClick={fetchIt}>Try again</button></> : "The program of this panel is on its way …"}</p>
    </section>
  );
}

/** A component that stands empty until its program has come. */
export function late<P extends object>(load: () => Promise<FunctionComponent<P>>): FunctionComponent<P> {
  let Found: FunctionComponent<P> | null = null;
  return function Late(props: P) {
    const [, come] = useState(0);
    const [failed, setFailed] = useState(false);
    useEffect(() => {
      if (!Found) load().then((found) => { Found = found; come((count) => count + 1); }, () => setFailed(true));
    }, []);
    return Found ? <Found {...props} /> : <p class="state" role="status">{failed ? "The server does not give this picture. Is fluoro lab still running?" : "Loading …"}</p>;
  };
}
