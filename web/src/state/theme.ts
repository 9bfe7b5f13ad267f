/** Light or dark: as the system has it, until somebody chooses. */
import { computed, effect, signal } from "@preact/signals";

export const theme = signal<"system" | "light" | "dark">((localStorage.getItem("theme") as "light" | "dark" | null) ?? "system");
const prefersDark = matchMedia("(prefers-color-scheme: dark)");
const systemDark = signal(prefersDark.matches);
prefersDark.addEventListener("change", (event) => (systemDark.value = event.matches));
export const dark = computed(() => (theme.value === "system" ? systemDark.value : theme.value === "dark"));
effect(() => {
  document.documentElement.dataset.theme = dark.value ? "dark" : "light";
  if (theme.value === "system") localStorage.removeItem("theme");
  else localStorage.setItem("theme", theme.value);
});
