/** The page in chapters: where one is, and the way to the others. */
import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";

export const CHAPTERS = [
  { id: "look", title: "Look", about: "what the model does with the prompt" },
  { id: "why", title: "Why", about: "what wrote the answer: exact sums, not yet causes" },
  { id: "change", title: "Change", about: "what moves the answer: parts take their value from another prompt" },
  { id: "steps", title: "Steps and turns", about: "reasonings and chats, piece by piece" },
  { id: "parts", title: "Weights", about: "what the model is made of, whatever the prompt" },
  { id: "every", title: "Every analysis", about: "the whole catalogue, and what was found before" },
] as const;

const here = signal<string>(CHAPTERS[0].id);

/** The heading under which panels stand. */
export function Chapter({ id }: { id: (typeof CHAPTERS)[number]["id"] }) {
  const { title, about } = CHAPTERS.find((each) => each.id === id)!;
  return <h2 id={id} class="chapter" tabIndex={-1}>{title} <small class="muted">{about}</small></h2>;
}

export function Contents() {
  useEffect(() => {
    const look = () => {
      const passed = CHAPTERS.filter(({ id }) => (document.getElementById(id)?.getBoundingClientRect().top ?? 0) < innerHeight * 0.4);
      here.value = (passed[passed.length - 1] ?? CHAPTERS[0]).id;
    };
    addEventListener("scroll", look, { passive: true });
    return () => removeEventListener("scroll", look);
  }, []);
  return (
    <nav class="chapters" aria-label="Chapters">
      {CHAPTERS.map(({ id, title }) => (
        <button class="quiet" aria-current={here.value === id ? "location" : undefined} onClick={() => go(id)}>{title}</button>
      ))}
    </nav>
  );
}

function go(id: string): void {
  const target = document.getElementById(id)!;
  target.scrollIntoView({ block: "start" });
  target.focus({ preventScroll: true });
}
