/** The saved run that is shown instead of what the server computes, if any. */
import { signal } from "@preact/signals";
import type { Trouble } from "../api/session";
import type { RunFile } from "./run-file";

/** Where the page of a file carries its run. */
export const PLACE = "fluoroscope-run";
export const opened = signal<RunFile | null>(null);
export const fault = signal<Trouble | null>(null);
/** Whether this page is such a file, opened by itself: there is no server. */
export const alone = document.getElementById(PLACE) !== null;

/** What reads and writes such files, fetched when it is wanted. */
export const saving = () => import("./saved");
