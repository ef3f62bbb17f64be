// What the documents point to exists: links with their anchors, paths of this repository, and, where a test is cited as
// `file: name`, that name in that file.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const documents = ['.', 'docs', 'tests'].flatMap((dir) => readdirSync(path.join(root, dir))
  .filter((name) => name.endsWith('.md')).map((name) => path.join(dir, name)));
const read = (file) => readFileSync(path.join(root, file), 'utf8');
const withoutCode = (text) => text.replace(/^ *```[^]*?^ *```/gm, '');

/** As the usual forges make them of headings. */
const anchors = (file) => [...withoutCode(read(file)).matchAll(/^#+ (.*)$/gm)]
  .map(([, heading]) => heading.toLowerCase().replace(/[^\p{L}\p{N} _-]/gu, '').replaceAll(' ', '-'));

for (const file of documents) {
  test(`${file}: links`, () => {
    for (const [, target] of withoutCode(read(file)).matchAll(/\]\((?!https?:)([^)\s]+)\)/g)) {
      const [where, anchor] = target.split('#');
      const linked = where ? path.join(path.dirname(file), where) : file;
      assert.ok(existsSync(path.join(root, linked)), `${target} is not there`);
      if (anchor) assert.ok(anchors(linked).includes(anchor), `${target}: no such heading`);
    }
  });

  test(`${file}: paths`, () => {
    for (const [, where] of withoutCode(read(file)).matchAll(/`((?:base|http|token|login|cache|okta|webhook|portal|server|tests|docs|deploy)\/[\w./-]*)`/g)) {
      const found = [where, `${where}.c`, `${where}.h`].some((name) => existsSync(path.join(root, name)));
      assert.ok(found, `${where} is not there`);
    }
  });
}

test('SECURITY.md: each cited test is there', () => {
  const cited = [...read('SECURITY.md').matchAll(/`((?:unit|integration|data|fuzz)\/[\w./-]+): ([^`]+)`/g)];
  assert.ok(cited.length > 40, `only ${cited.length} tests are cited`);
  for (const [, file, name] of cited) assert.ok(read(`tests/${file}`).includes(name), `tests/${file} has no "${name}"`);
});
