// Prometheus' text format, as far as tests need it.
import assert from 'node:assert/strict';

/** Every series: [{family, labels, value}]. */
export function parseMetrics(text) {
  return text.split('\n').filter((line) => line && !line.startsWith('#')).map((line) => {
    const [, family, inner = '', value] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? assert.fail(`no series: ${line}`);
    const labels = Object.fromEntries([...inner.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, name, text]) => [name, text]));
    return { family, labels, value: Number(value) };
  });
}

/** The sum of the series of a family that have these labels; a test that names none that exists fails. */
export function sumOf(text, family, labels = {}) {
  const wanted = Object.entries(labels);
  const found = parseMetrics(text).filter((s) => s.family === family && wanted.every(([name, value]) => s.labels[name] === value));
  assert.notEqual(found.length, 0, `no series ${family} ${JSON.stringify(labels)}`);
  return found.reduce((sum, { value }) => sum + value, 0);
}

/** A function that tells by how much a counter has grown since now. */
export async function meter(postern) {
  const before = await postern.metrics();
  return async (family, labels) => sumOf(await postern.metrics(), family, labels) - sumOf(before, family, labels);
}
