/** Light or dark: as where the pictures are has it, until somebody chooses. */
import { computed, effect, signal } from "@preact/signals";

export const theme = signal<"system" | "light" | "dark">("system");
/** What a page, or a notebook, that nobody told otherwise looks like. */
export const night = signal(false);
export const dark = computed(() => (theme.value === "system" ? night.value : theme.value === "dark"));

/** Follows the system, where `told` says nothing else; gives what looks again, and what ends it. */
export function follow(told: () => boolean | null = () => null): [look: () => void, end: () => void] {
  const prefers = matchMedia("(prefers-color-scheme: dark)");
  const look = () => { night.value = told() ?? prefers.matches; };
  look();
  prefers.addEventListener("change", look);
  return [look, () => prefers.removeEventListener("change", look)];
}

/** The page's own theme, which is remembered. */
export function beginTheme(): void {
  const kept = remembered();
  follow();
  if (kept === "light" || kept === "dark") theme.value = kept;
  effect(() => {
    document.documentElement.dataset.theme = dark.value ? "dark" : "light";
    remember(theme.value);
  });
}

// A file, or a page in a frame, may have no storage; then nothing is remembered.

function remembered(): string | null {
  try { return localStorage.getItem("theme"); } catch { return null; }
}

function remember(chosen: string): void {
  try {
    if (chosen === "system") localStorage.removeItem("theme");
    else localStorage.setItem("theme", chosen);
  } catch { /* as above */ }
}
