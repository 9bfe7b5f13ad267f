// Bundles the lab into the package; the folder may be named, for tests. Panels further down are parts, fetched when they are near.
import { build } from "esbuild";
import { copyFile, mkdir, rm } from "node:fs/promises";

const out = process.argv[2] ?? new URL("../src/fluoroscope/server/static", import.meta.url).pathname;
await mkdir(out, { recursive: true });
await rm(`${out}/parts`, { recursive: true, force: true });
await build({
  entryPoints: { lab: "src/main.tsx" }, outdir: out, bundle: true, splitting: true, chunkNames: "parts/[name]-[hash]",
  minify: true, format: "esm", target: "es2022",
  jsx: "automatic", jsxImportSource: "preact", legalComments: "linked", logLevel: "warning",
});
await copyFile("src/index.html", `${out}/index.html`);
