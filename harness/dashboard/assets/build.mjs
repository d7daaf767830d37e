// Builds ../static from src: Tailwind makes the style sheet, esbuild bundles, minifies and names files by their content.
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { build } from "esbuild";

const out = process.argv[2] ?? "../static";
const passing = mkdtempSync(join(tmpdir(), "assets-"));
const css = join(passing, "app.css");

execFileSync("node_modules/.bin/tailwindcss", ["--input", "src/app.css", "--output", css], { stdio: ["ignore", "inherit", "pipe"] });
rmSync(out, { recursive: true, force: true });
const { metafile } = await build({
  entryPoints: { "app": "src/app.js", "app-style": css, "icon": "src/icon.svg" },
  outdir: out,
  bundle: true,
  minify: true,
  format: "esm",
  target: ["es2022"],
  loader: { ".svg": "copy" },
  entryNames: "[name]-[hash]",
  metafile: true,
  legalComments: "inline",
});
rmSync(passing, { recursive: true });

const manifest = {};
for (const file of Object.keys(metafile.outputs).map((path) => basename(path)).sort()) {
  manifest[file.replace(/(-style)?-[A-Z0-9]{8}\./, ".")] = file;
}
writeFileSync(join(out, "manifest.json"), JSON.stringify(manifest, null, 2) + "\n");
