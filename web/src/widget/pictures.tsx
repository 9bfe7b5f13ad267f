/** The pictures of one result in a root of their own, so that their styles and those around them do not meet. */
import { effect } from "@preact/signals";
import { render } from "preact";
import type { View } from "../api/generated";
import { plain } from "../draw/text";
import { clear, counted } from "../state/selection";
import { dark } from "../state/theme";
import { Picture } from "../views";
import "./widget.css"; // behind the views' own, which it changes

/** Every rule that the modules of this bundle import; put in by build.mjs. */
declare const RULES: string;

export type Given = { title: string; summary: string; views: readonly View[] };

/** Draws into an element; returns what takes the pictures and all that listens away. */
export function draw(place: HTMLElement, { title, summary, views }: Given): () => void {
  const root = place.attachShadow({ mode: "open" });
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(RULES);
  root.adoptedStyleSheets = [sheet];
  const coloured = effect(() => { place.dataset.theme = dark.value ? "dark" : "light"; });
  counted.value = tokens(views);
  const keys = (event: KeyboardEvent) => { if (event.key === "Escape") clear(); };
  root.addEventListener("keydown", keys as EventListener);
  render(
    <>
      {title && <h2>{plain(title)}</h2>}
      {summary && <p class="summary">{plain(summary)}</p>}
      {views.map((view) => <Picture view={view} />)}
    </>, root);
  return () => {
    render(null, root);
    root.removeEventListener("keydown", keys as EventListener);
    coloured();
  };
}

/** The prompt that the pictures of a result are about: the first text that one of them shows token by token. */
function tokens(views: readonly View[]): readonly string[] {
  for (const view of views) {
    if (view.kind === "tokens" || view.kind === "arcs") return view.items.map((item) => item.text);
    if (view.kind === "heatmap" && view.columns.every((mark) => mark.token)) return view.columns.map((mark) => mark.label);
  }
  return [];
}
