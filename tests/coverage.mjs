// Reads what gcov knows of a coverage build and tells, for each folder, how many lines were run.
//
//   node tests/coverage.mjs BUILD-DIRECTORY     lists the lines that were not; fails under 90 % in a watched folder
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '..');
const build = path.resolve(process.argv[2] ?? 'build/coverage');
const floor = 90;
const watched = ['webhook', 'token', 'okta', 'cache'];
const others = ['base', 'http', 'portal', 'server'];

/** The .gcda files of a folder's library: what the unit tests and the binary ran, counted together. */
function dataFiles(folder) {
  const dir = path.join(build, folder, 'CMakeFiles', `postern_${folder}.dir`);
  return readdirSync(dir).filter((name) => name.endsWith('.gcda')).map((name) => path.join(dir, name));
}

/** file → line → how often. Static inline functions of headers are left to the files that use them. */
function linesOf(folder) {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'postern-gcov-'));
  try {
    const text = execFileSync('gcov', ['--json-format', '--stdout', ...dataFiles(folder)], { cwd: dir, maxBuffer: 1 << 28, stdio: ['ignore', 'pipe', 'ignore'] }).toString();
    const files = new Map();
    for (const json of text.split('\n').filter(Boolean)) {
      for (const { file, lines } of JSON.parse(json).files) {
        const name = path.relative(root, path.resolve(build, file));
        if (!name.startsWith(`${folder}/`) || !name.endsWith('.c')) continue;
        const counts = files.get(name) ?? new Map();
        for (const { line_number: n, count } of lines) counts.set(n, (counts.get(n) ?? 0) + count);
        files.set(name, counts);
      }
    }
    return files;
  } finally {
    rmSync(dir, { recursive: true });
  }
}

/** 3, 4, 5, 9 → "3-5 9" */
function ranges(numbers) {
  const parts = [];
  for (const n of numbers) {
    const last = parts.at(-1);
    if (last && last[1] === n - 1) last[1] = n;
    else parts.push([n, n]);
  }
  return parts.map(([a, b]) => (a === b ? a : `${a}-${b}`)).join(' ');
}

let low = 0;
for (const folder of [...others, ...watched]) {
  let all = 0;
  let run = 0;
  for (const [file, counts] of linesOf(folder)) {
    const missed = [...counts].filter(([, count]) => count === 0).map(([n]) => n).sort((a, b) => a - b);
    all += counts.size;
    run += counts.size - missed.length;
    if (missed.length && watched.includes(folder)) console.log(`  ${file}: not run: ${ranges(missed)}`);
  }
  const percent = (100 * run) / all;
  console.log(`${folder}: ${percent.toFixed(1)} % of ${all} lines`);
  if (all === 0 || (watched.includes(folder) && percent < floor)) low += 1;
}
if (low) {
  console.error(`coverage: under ${floor} % in ${low} folder(s)`);
  process.exitCode = 1;
}
