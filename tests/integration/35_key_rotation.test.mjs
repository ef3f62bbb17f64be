// Signing keys change while people work: by age, by command, and at once after a leak (peers 63).
import assert from 'node:assert/strict';
import { readFileSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';

import { createLocalJWKSet, jwtVerify } from 'jose';

import { writeConfig } from '../support/config.mjs';
import { eventually } from '../support/eventually.mjs';
import { startWorld } from '../support/postern.mjs';
import { runPostern } from '../support/process.mjs';
import { getToken, isSignedIn } from '../support/sign_in.mjs';

const day = 86_400_000;
const kidOf = (token) => JSON.parse(Buffer.from(token.split('.')[0], 'base64url')).kid;

describe('signing keys', { timeout: 240_000 }, () => {
  let world;
  let ada;
  let directory;
  before(async () => {
    world = await startWorld({
      change: (config) => {
        config.tokens.lifetime = '10m';
        config.identity = { fresh: '5m', max_age: '10m', stale_if_error: '20m' };
        config.portal.session = { per_user: 1000 };
        config.tokens.rotate_every = '0s'; // until a reload
      },
    });
    directory = world.postern.config.tokens.keys_directory;
    ada = await world.signIn('ada');
  });
  after(() => world.close());

  const keys = (...args) => runPostern(['keys', ...args, '-c', world.postern.configFile]);
  const files = () => readdirSync(directory).filter((name) => name.endsWith('.json'));
  const published = async () => (await world.browser().get('/keys')).json().keys.map((key) => key.kid);
  const yes = async (token) => (await world.review(token)).authenticated === true;
  const audit = (event, kid) => world.postern.logLine((line) => line.event === event && line.kid === kid);

  /** What `keys list` prints: kid to role. */
  async function roles() {
    const { code, stdout, stderr } = await keys('list');
    assert.equal(code, 0, stderr);
    return new Map(stdout.trim().split('\n').slice(1).map((row) => row.split(/\s{2,}/)).map((cells) => [cells[0], cells.at(-1)]));
  }

  /** Makes all keys older by `ms`, as time would. As Postern writes them: another file, then a rename. */
  function age(ms) {
    for (const name of files()) {
      const key = JSON.parse(readFileSync(path.join(directory, name), 'utf8'));
      key.created_at_ms -= ms;
      key.sign_from_ms -= ms;
      writeFileSync(path.join(directory, '.aged'), JSON.stringify(key), { mode: 0o600 });
      renameSync(path.join(directory, '.aged'), path.join(directory, name));
    }
  }

  /** Tokens are made and reviewed without a pause while `work` runs; every one must be good, the early ones too. */
  async function underLoad(work) {
    let over = false;
    const tokens = [];
    const stream = (async () => {
      while (!over) {
        const token = (await getToken(ada)).id_token;
        tokens.push(token);
        for (const one of [token, tokens[0], tokens[Math.floor(tokens.length / 2)]]) {
          const status = await world.review(one);
          assert.equal(status.authenticated, true, `${kidOf(one)}: ${JSON.stringify(status)}`);
        }
      }
    })();
    try {
      await Promise.race([work(), stream]); // who fails first says why
    } finally {
      over = true;
    }
    await stream;
    return tokens;
  }

  test('by age: published before it signs, and no token is refused', async () => {
    const [old] = await published();
    let next;
    const tokens = await underLoad(async () => {
      age(30 * day);
      world.postern.config.tokens.rotate_every = '30d';
      await writeConfig(world.postern.configFile, world.postern.config);
      world.postern.process.kill('SIGHUP');
      const both = await eventually(published, (kids) => kids.length === 2);
      assert.ok(both.includes(old));
      next = both.find((kid) => kid !== old);
      await audit('signing_key_added', next);
      assert.deepEqual(await roles(), new Map([[old, 'signs'], [next, 'next']]));
      assert.equal(kidOf((await getToken(ada)).id_token), old, 'it waits for its turn');
      age(600_000); // ten minutes pass
      await eventually(async () => kidOf((await getToken(ada)).id_token), (kid) => kid === next);
      assert.deepEqual((await published()).toSorted(), both.toSorted(), 'the JWKS has both while both verify');
    });
    assert.deepEqual(new Set(tokens.map(kidOf)), new Set([old, next]));
    assert.deepEqual(await roles(), new Map([[old, 'verifies'], [next, 'signs']]));

    age(day);
    await audit('signing_key_removed', old);
    assert.deepEqual(await published(), [next]);
    assert.deepEqual(files(), [`${next}.json`]);
    assert.ok(await isSignedIn(ada));
  });

  test('keys rotate: the next one waits, the running server publishes it, a second one is refused', async () => {
    const [old] = await published();
    await underLoad(async () => {
      const { code, stdout, stderr } = await keys('rotate');
      assert.equal(code, 0, stderr);
      assert.match(stdout, / next$/m);
      await eventually(published, (kids) => kids.length === 2 && kids.includes(old));
    });
    const again = await keys('rotate');
    assert.equal(again.code, 1);
    assert.match(again.stderr, /already waits/);
    assert.equal(files().length, 2);
  });

  test('keys rotate --now: old tokens are refused, new ones work, sessions go on', async () => {
    const before = await published();
    const leaked = (await getToken(ada)).id_token;
    assert.ok(await yes(leaked));
    const { code, stdout, stderr } = await keys('rotate', '--now');
    assert.equal(code, 0, stderr);
    assert.match(stderr, /DELETED/, 'said loudly');
    assert.match(stdout, / signs$/m);
    const status = await eventually(() => world.review(leaked), (s) => s.authenticated === false);
    assert.ok(status.error, 'not remembered by the API server');
    const [now, ...more] = await published();
    assert.deepEqual(more, []);
    assert.ok(!before.includes(now));
    assert.deepEqual(files(), [`${now}.json`]);
    assert.ok(await isSignedIn(ada));
    const fresh = (await getToken(ada)).id_token;
    assert.equal(kidOf(fresh), now);
    assert.ok(await yes(fresh));
    for (const kid of before) await audit('signing_key_removed', kid);
  });

  test('RS256: a restart changes the algorithm, tokens of before are good, and a stranger verifies both', async () => {
    const before = (await getToken(ada)).id_token;
    world.postern.config.tokens.algorithm = 'RS256';
    await writeConfig(world.postern.configFile, world.postern.config);
    await world.postern.restart();
    const fresh = (await getToken(ada)).id_token;
    const jwks = (await world.browser().get('/keys')).json();
    assert.deepEqual(jwks.keys.map((key) => key.alg), ['ES256', 'RS256']);
    for (const [token, alg] of [[before, 'ES256'], [fresh, 'RS256']]) {
      assert.ok(await yes(token));
      const { protectedHeader } = await jwtVerify(token, createLocalJWKSet(jwks), { issuer: world.postern.url, audience: 'kubernetes', algorithms: [alg] });
      assert.deepEqual(protectedHeader, { alg, kid: kidOf(token), typ: 'JWT' });
      const flipped = Buffer.from(token.split('.')[2], 'base64url');
      flipped[flipped.length >> 1] ^= 1;
      assert.equal(await yes([...token.split('.').slice(0, 2), flipped.toString('base64url')].join('.')), false);
    }
    assert.deepEqual([...(await roles()).values()], ['verifies', 'signs']);
  });

  test('a file that is no key harms nothing while the server runs, and is told', async () => {
    writeFileSync(path.join(directory, 'postern-000000000000.json'), '{}', { mode: 0o600 });
    await world.postern.logLine((line) => line.message === 'signing keys: the last good ones go on');
    assert.ok(await yes((await getToken(ada)).id_token));
    const { code, stderr } = await keys('list');
    assert.equal(code, 1);
    assert.match(stderr, /postern-000000000000\.json/);
  });

  test('--now is for keys rotate', async () => {
    const { code, stderr } = await keys('list', '--now');
    assert.equal(code, 2);
    assert.match(stderr, /does not know --now/);
  });
});
