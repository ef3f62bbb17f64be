// /metrics as Prometheus reads it, after traffic of every kind that a test can make cheaply.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { after, before, describe, test } from 'node:test';

import { plainGet, startWorld } from '../support/postern.mjs';
import { sumOf } from '../support/metrics.mjs';
import { getToken, signOut } from '../support/sign_in.mjs';

/** Families in the order of the page: {name, help, type, samples: [{name, labels, value}]}; what is no line of the format fails. */
function parsePage(text) {
  const families = new Map();
  let current;
  for (const line of text.split('\n').slice(0, -1)) {
    const [, keyword, name, rest] = /^# (HELP|TYPE) ([a-zA-Z_:][\w:]*) (.+)$/.exec(line) ?? [];
    if (keyword === 'HELP') {
      assert.ok(!families.has(name), `HELP of ${name} twice, or its series do not stand together`);
      current = { name, help: rest, samples: [] };
      families.set(name, current);
    } else if (keyword === 'TYPE') {
      assert.equal(current?.name, name, `TYPE of ${name} without HELP before it`);
      assert.equal(current.type, undefined, `TYPE of ${name} twice`);
      current.type = rest;
    } else {
      const sample = /^([a-zA-Z_:][\w:]*)(\{(?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\[\\"n])*",?)*\})? (NaN|[+-]Inf|-?[\d.]+(?:e[+-]?\d+)?)$/.exec(line);
      assert.ok(sample, `no line of the format: ${line}`);
      current.samples.push({ name: sample[1], labels: sample[2] ?? '', value: Number(sample[3].replace('Inf', 'Infinity')) });
    }
  }
  return [...families.values()];
}

function checkHistogram({ name, samples }) {
  const withoutLe = (labels) => labels.replace(/,?le="[^"]*"/, '').replace('{}', '');
  const series = Map.groupBy(samples, ({ labels }) => withoutLe(labels));
  for (const [labels, list] of series) {
    const of = (suffix) => list.filter((sample) => sample.name === name + suffix);
    const buckets = of('_bucket').map(({ labels: own, value }) => ({ le: /le="([^"]*)"/.exec(own)[1], value }));
    assert.equal(buckets.at(-1)?.le, '+Inf', `${name}${labels} does not end in +Inf`);
    for (let i = 1; i < buckets.length; i += 1) {
      assert.ok(buckets[i].value >= buckets[i - 1].value, `${name}${labels} is not cumulative`);
      assert.ok(buckets[i].le === '+Inf' || Number(buckets[i].le) > Number(buckets[i - 1].le), `${name}${labels}: buckets out of order`);
    }
    assert.equal(of('_sum').length, 1);
    assert.deepEqual(of('_count').map(({ value }) => value), [buckets.at(-1).value]);
  }
}

describe('metrics', { timeout: 120_000 }, () => {
  let world;
  let page;
  before(async () => {
    world = await startWorld();
    const ada = await world.signIn('ada');
    const { id_token: token } = await getToken(ada);
    assert.equal((await world.review(token)).authenticated, true);
    await world.review('junk');
    await world.reviewer().request({ path: '/tokenreview/nowhere', body: '{}' });
    await signOut(ada);
    assert.equal((await world.review(token)).authenticated, false);
    page = await plainGet(`${world.postern.operationsUrl}/metrics`);
  });
  after(() => world.close());

  test('the format: HELP and TYPE once for each family, names, labels, values', () => {
    assert.match(page.headers['content-type'], /^text\/plain; version=0\.0\.4/);
    assert.ok(page.text.endsWith('\n'));
    const families = parsePage(page.text);
    assert.ok(families.length > 10, `${families.length} families`);
    const seen = new Set();
    for (const { name, help, type, samples } of families) {
      assert.ok(help.length > 10 && samples.length > 0, name);
      assert.match(name, type === 'counter' ? /^postern_\w+_total$/ : /^postern_(?!\w*_total$)\w+$/);
      assert.ok(['counter', 'gauge', 'histogram'].includes(type), `${name} is a ${type}`);
      for (const sample of samples) {
        assert.ok(sample.name === name || (type === 'histogram' && /^_(bucket|sum|count)$/.test(sample.name.slice(name.length))), `${sample.name} stands under ${name}`);
        assert.ok(!seen.has(sample.name + sample.labels), `${sample.name}${sample.labels} twice`);
        seen.add(sample.name + sample.labels);
        if (type !== 'gauge') assert.ok(sample.value >= 0, `${sample.name} is ${sample.value}`);
      }
    }
    families.filter(({ type }) => type === 'histogram').forEach(checkHistogram);
  });

  test('every answer is counted under its reason, every refusal under its status', () => {
    assert.equal(sumOf(page.text, 'postern_reviews_total'), 3);
    for (const [decision, reason] of [['yes', 'ok'], ['no', 'foreign_token'], ['no', 'session_unknown']]) {
      assert.equal(sumOf(page.text, 'postern_reviews_total', { decision, reason }), 1, reason);
    }
    assert.equal(sumOf(page.text, 'postern_review_refused_total', { status: '404' }), 1);
    assert.equal(sumOf(page.text, 'postern_review_duration_seconds_count'), 3);
    assert.equal(sumOf(page.text, 'postern_sign_ins_total'), 1);
    assert.equal(sumOf(page.text, 'postern_tokens_issued_total'), 1);
    assert.equal(sumOf(page.text, 'postern_sessions'), 0);
  });

  const hasPromtool = spawnSync('promtool', ['--version']).status === 0;
  test('promtool check metrics', { skip: hasPromtool ? false : 'promtool is not installed' }, () => {
    const { status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], { input: page.text, encoding: 'utf8' });
    assert.equal(status, 0, stdout + stderr);
  });
});
