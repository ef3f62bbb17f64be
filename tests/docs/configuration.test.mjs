// docs/configuration.md against the binary: its keys, which of them are required, defaults, types and ranges.
// Nothing is listed here. Which keys there are is what `postern` says of an unknown one in each block;
// defaults are what `postern print config` adds to the document's own smallest config.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const binary = path.resolve(root, process.env.POSTERN ?? 'build/dev/postern');
const doc = readFileSync(path.join(root, 'docs/configuration.md'), 'utf8');
const dir = mkdtempSync(path.join(os.tmpdir(), 'postern-docs-'));
after(() => rmSync(dir, { recursive: true }));

/** What `print config` makes of a text, or of data: JSON is YAML, too. */
function printConfig(config) {
  const file = path.join(dir, 'config.yaml');
  writeFileSync(file, typeof config === 'string' ? config : JSON.stringify(config));
  const env = { ...process.env, LSAN_OPTIONS: `suppressions=${root}/tests/lsan.supp:print_suppressions=0` };
  const { status, stdout, stderr, error } = spawnSync(binary, ['print', 'config', '-c', file], { encoding: 'utf8', env });
  if (error) throw error;
  assert.ok(status === 0 || status === 1, stderr);
  return { ok: status === 0, text: stdout, complaints: stderr };
}

// ---- the keys that there are ----

const unknownKey = (config) => /zzz: unknown key \(known here: (.*)\)/.exec(printConfig(config).complaints)?.[1].split(', ');

/** Path to 'text' or 'list', for every key below the block that `wrap` puts its argument into. */
function walk(wrap, prefix = '', found = new Map()) {
  for (const key of unknownKey(wrap({ zzz: '1' }))) {
    const put = (value) => wrap({ [key]: value });
    const answer = printConfig(put({ zzz: '1' })).complaints;
    if (answer.includes('unknown key')) walk(put, `${prefix}${key}.`, found);
    else if (!answer.includes('must be a list')) found.set(prefix + key, 'text');
    else if (unknownKey(put([{ zzz: '1' }]))) walk((value) => put([value]), `${prefix}${key}[].`, found);
    else found.set(prefix + key, 'list');
  }
  return found;
}
const keys = walk((value) => value);

// ---- what the document says ----

const rows = new Map();
for (const [, key, type, fallback] of doc.matchAll(/^\| `([a-z_.[\]]+)` \| ([^|]*) \| ([^|]*) \|/gm)) {
  assert.ok(!rows.has(key), `${key} stands there twice`);
  rows.set(key, { type: type.replaceAll('`', '').trim(), fallback: fallback.trim() });
}

function yamlUnder(heading) {
  const block = new RegExp(`^## ${heading}$[^]*?^\`\`\`yaml\n([^]*?)^\`\`\``, 'm').exec(doc);
  assert.ok(block, `docs/configuration.md has no yaml below "${heading}"`);
  return block[1];
}

/** "a:\n  b: c" to [["a.b", "c"]]; enough for what `print config` writes, and for the smallest config. */
function flatten(yaml) {
  const above = [];
  const values = [];
  for (const line of yaml.split('\n').filter((l) => l.trim() !== '')) {
    const [, indent, dash, key, value] = /^( *)(- )?([a-z_]+):(?: (.*))?$/.exec(line) ?? assert.fail(`not understood: ${line}`);
    const depth = (indent.length + (dash ? 2 : 0)) / 2;
    above.length = depth;
    if (dash) above[depth - 1] = '[]';
    above[depth] = key;
    if (value !== undefined) values.push([[...above].join('.').replaceAll('.[]', '[]'), value]);
  }
  return values;
}

/** Data from what flatten() gave; lists of blocks have one entry. */
function build(values) {
  const data = {};
  for (const [where, value] of values) {
    let at = data;
    const steps = where.split('.');
    for (const step of steps.slice(0, -1)) {
      const name = step.replace('[]', '');
      at[name] ??= step.endsWith('[]') ? [{}] : {};
      at = step.endsWith('[]') ? at[name][0] : at[name];
    }
    at[steps.at(-1)] = /^["[]/.test(value) ? JSON.parse(value) : value;
  }
  return data;
}

const given = (values, key) => values.find(([name]) => name === key)?.[1];
const smallest = flatten(yamlUnder('The smallest config'));
const base = [...smallest, ['portal.links[].label', 'x'], ['portal.links[].url', 'https://x.example'],
  ['clusters[].additional_servers[].name', 'x'], ['clusters[].additional_servers[].server', 'https://x.example']];
// A cluster behind the proxy has one address.
const proxied = [...smallest, ['proxy.listen', '0.0.0.0:8444'], ['proxy.tls.certificate_file', 'x'], ['proxy.tls.key_file', 'x'],
  ['clusters[].api.url', 'https://api.example'], ['clusters[].api.upstream', 'https://x.example']];
const listening = proxied.filter(([name]) => !/\.api\./.test(name));
const anApp = [...listening, ['proxy.apps[].name', given(smallest, 'clusters[].name')], ['proxy.apps[].url', 'https://app.example'], ['proxy.apps[].upstream', 'https://x.example']];
const inParts = [...anApp.filter(([name]) => name !== 'proxy.apps[].upstream'), ['proxy.apps[].kind', 'kubernetes-dashboard-7'],
  ['proxy.apps[].cluster', given(smallest, 'clusters[].name')], ...['api', 'auth', 'web'].map((part) => [`proxy.apps[].upstreams.${part}`, 'https://x.example'])];
/** A config in which that key has a meaning. */
const around = (key) => key.startsWith('proxy.apps[].upstreams.') ? inParts
  : key.startsWith('proxy.apps[].') ? anApp : /^proxy\.|\.api\./.test(key) ? proxied : base;
/** Further addresses want a first one, so they go with it. */
const goesWith = (key, name) => name === key || (key === 'clusters[].server' && name.includes('additional_servers'));
const without = (key) => printConfig(build(around(key).filter(([name]) => !goesWith(key, name))));
const withValue = (key, value) => printConfig(build([...base.filter(([name]) => name !== key), [key, value]]));
const placeholders = {
  '<host of portal.url>': new URL(given(base, 'portal.url')).host,
  '<store.path>': given(base, 'store.path'),
  '<name>': given(base, 'clusters[].name'),
  '<webhook.tls.client_ca_file>': given(base, 'webhook.tls.client_ca_file'),
};

/** The key's default as the document writes it: "required", "none", or the value. */
function realDefault(key) {
  const { ok, text, complaints } = without(key);
  const place = `${key.replaceAll('[]', '[0]')}: is missing`;
  if (complaints.includes(place)) return 'required';
  // A CA may be named for the listener or for each cluster; nothing else may end the reading here.
  if (!ok) assert.equal(key, 'webhook.tls.client_ca_file', complaints);
  const value = ok ? new Map(flatten(text)).get(key) : undefined;
  if (value === undefined) return 'none';
  return `\`${value.startsWith('"') && value !== '""' ? JSON.parse(value) : value}\``;
}

const writtenDefault = (key) => Object.entries(placeholders).reduce((text, [name, value]) => text.replaceAll(name, value), rows.get(key).fallback);

// ---- the tests ----

test('every key is documented, and no other', () => {
  assert.ok(keys.size > 40, `only ${keys.size} keys were found`);
  assert.deepEqual([...rows.keys()].sort(), [...keys.keys()].sort());
});

test('the smallest config and the full example load', () => {
  for (const heading of ['The smallest config', 'Everything at once']) {
    const { ok, complaints } = printConfig(yamlUnder(heading));
    assert.ok(ok, `${heading}: ${complaints}`);
  }
});

test('the full example has every key', () => {
  const yaml = yamlUnder('Everything at once').replace(/ *#.*$/gm, '');
  const there = new Set(flatten(yaml).map(([key]) => key));
  assert.deepEqual([...there].sort(), [...keys.keys()].sort());
});

test('what is required, and the defaults', () => {
  for (const key of rows.keys()) assert.equal(writtenDefault(key), realDefault(key), key);
});

test('types and ranges', () => {
  for (const [key, { type }] of rows) {
    assert.equal(type.startsWith('list'), keys.get(key) === 'list', `${key}: ${type}`);
    if (keys.get(key) === 'list') continue;
    const { complaints } = withValue(key, '36500d');
    const [, least, most] = /: (?:36500d is out of range:|must be a whole number) from (\S+) to (\S+)/.exec(complaints) ?? [];
    const [, words] = /"36500d" is not one of: (.*)/.exec(complaints) ?? [];
    assert.equal(/ (\S+) to (\S+)$/.exec(type)?.slice(1).join(), least && `${least},${most}`, key);
    assert.equal(/^one of: (.*)/.exec(type)?.[1], words, key);
  }
});
