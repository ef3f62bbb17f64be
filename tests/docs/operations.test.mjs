// docs/operations.md against the code: every metric, audit event, log line and label value is in its table,
// and nothing else is.
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const read = (file) => readFileSync(path.join(root, file), 'utf8');
const doc = read('docs/operations.md');

const folders = /^folders=\(([^)]*)\)/m.exec(read('tests/layout'))[1].split(' ');
const sources = folders.flatMap((folder) => {
  try {
    return readdirSync(path.join(root, folder)).filter((name) => name.endsWith('.c')).map((name) => `${folder}/${name}`);
  } catch (error) {
    if (error.code === 'ENOENT') return []; // a room that is not built yet
    throw error;
  }
});
// How these two work is no use of them.
const code = sources.filter((file) => !/^base\/(log|metrics)\.c$/.test(file)).map(read).join('\n');

/** First cell to second cell of the rows between a heading and the next one. */
function table(heading) {
  const start = doc.indexOf(`\n${heading}\n`);
  assert.ok(start >= 0, `docs/operations.md has no "${heading}"`);
  const rest = doc.slice(start + heading.length + 2);
  const end = rest.search(/^#+ /m);
  const rows = [...rest.slice(0, end < 0 ? rest.length : end).matchAll(/^\| `([^`]+)` \|([^|]*)\|/gm)];
  const found = new Map(rows.map(([, name, second]) => [name, second.trim()]));
  assert.equal(found.size, rows.length, `${heading}: a row stands there twice`);
  return found;
}

/** What `pattern` captures: name to kind. Every call must be understood, or something would be missed. */
function calls(call, pattern) {
  const found = [...code.matchAll(pattern)];
  assert.ok(found.length > 0 && found.length === [...code.matchAll(call)].length, `a call of ${call} has no name that can be read`);
  return new Map(found.map(({ groups }) => [groups.name, groups.kind]));
}

const same = (documented, real) => assert.deepEqual([...documented].sort(), [...real].sort());

test('metrics', () => {
  same(table('## Metrics'), calls(/\bmetrics_(counter|gauge|histogram)\(/g, /\bmetrics_(?<kind>counter|gauge|histogram)\([^;"]*"(?<name>postern_\w+)"/g));
});

test('audit lines', () => {
  same(table('## Audit lines').keys(), calls(/\blog_audit\(/g, /\blog_audit\(\s*"(?<name>\w+)"/g).keys());
});

test('log lines', () => {
  const real = calls(/\blog_(info|warn|error)\(/g, /\blog_(?<kind>info|warn|error)\(\s*"(?<name>[^"]+)"/g);
  for (const [, level, message] of read('base/log.c').matchAll(/log_line_new\(LOG_(WARN|ERROR), "([^"]+)"/g)) real.set(message, level.toLowerCase());
  same(table('## Log lines'), real);
});

const values = [
  ['### Reasons of a review', 'webhook/reasons.c', /\[REASON_\w+\] = "(\w+)"/g],
  ['### Results of a question to Okta', 'okta/answers.c', /\[OUTCOME_\w+\] = "(\w+)"/g],
  ['### Results of a sign-in', 'portal/portal.c', /case SIGN_IN_\w+:\s+return "(\w+)"/g],
  ['### Why a session ended', 'cache/sessions_end.c', /case SESSION_\w+:\s+return "(\w+)"/g],
  ['### Why a connection was ended', 'server/guard.c', /(?<=REASON_NAMES\[GUARD_REASONS\] = \{[^}]*)"(\w+)"/g],
];
for (const [heading, file, pattern] of values) {
  test(heading.slice(4), () => {
    const real = [...read(file).matchAll(pattern)].map(([, name]) => name);
    assert.ok(real.length > 2, `${file}: nothing found`);
    same(table(heading).keys(), real);
  });
}
