// Keeps compiled files in step with their sources where `tsc -b` does not: it leaves the output of a deleted source behind
// (a deleted test would run on) and does not notice deleted output.
const fs = require('node:fs');
const path = require('node:path');
const { root } = require('./workspace.cjs');

const SKIPPED = new Set(['node_modules', 'dist', 'build']);

function filesUnder(folder) {
  if (!fs.existsSync(folder)) return [];
  return fs.readdirSync(folder, { withFileTypes: true }).reduce((files, entry) => {
    const file = path.join(folder, entry.name);
    if (entry.isDirectory()) return SKIPPED.has(entry.name) ? files : files.concat(filesUnder(file));
    return files.concat(file);
  }, []);
}

const outputFor = (source) => source.replace(/\.ts$/, '.js');

/** Where a project of `tsc -b` reads and writes, from its tsconfig.json (which must be plain JSON). */
function project(folder) {
  const { compilerOptions, include } = JSON.parse(
    fs.readFileSync(path.join(folder, 'tsconfig.json'), 'utf8'),
  );
  const rootDir = path.resolve(folder, compilerOptions.rootDir);
  const outDir = path.resolve(folder, compilerOptions.outDir);
  const sources = include
    .map((entry) => path.resolve(folder, entry))
    .reduce((files, entry) => files.concat(entry.endsWith('.ts') ? entry : filesUnder(entry)), [])
    .filter((file) => file.endsWith('.ts') && !file.endsWith('.d.ts'))
    .map((file) => path.relative(rootDir, file));
  // TypeScript puts it where the tsconfig.json would be if it were compiled from rootDir to outDir.
  const buildInfo = path.join(outDir, path.relative(rootDir, folder), 'tsconfig.tsbuildinfo');
  return { outDir, sources, buildInfo };
}

/** Deletes compiled files without a source, and the build record of a project that lacks a compiled file. */
function reconcileOutputs() {
  const { references } = JSON.parse(fs.readFileSync(path.join(root, 'tsconfig.json'), 'utf8'));
  for (const reference of references) {
    const { outDir, sources, buildInfo } = project(path.join(root, reference.path));
    const expected = new Set(sources.map(outputFor));
    for (const file of filesUnder(outDir)) {
      const output = path.relative(outDir, file);
      // A source map beside it: the compiler wrote it.
      if (!output.endsWith('.js') || expected.has(output) || !fs.existsSync(`${file}.map`)) continue;
      const stem = file.slice(0, -'.js'.length);
      for (const ending of ['.js', '.js.map', '.d.ts', '.d.ts.map'])
        fs.rmSync(stem + ending, { force: true });
    }
    const complete = Array.from(expected).every((output) => fs.existsSync(path.join(outDir, output)));
    if (!complete) fs.rmSync(buildInfo, { force: true });
  }
}

module.exports = { filesUnder, reconcileOutputs };
