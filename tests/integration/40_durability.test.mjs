// What was answered holds: through restarts, kill -9, and a disk that takes its time.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { DatabaseSync } from 'node:sqlite';

import { makeSyncHold } from '../support/hold_sync.mjs';
import { preparePostern, startWorld } from '../support/postern.mjs';
import { posternBinary, runPostern } from '../support/process.mjs';
import { getToken, isSignedIn, signInAtOkta, signOut, startSignIn } from '../support/sign_in.mjs';
import { tempDir } from '../support/temp.mjs';

const longTokens = (config) => { config.tokens.lifetime = '10m'; };

describe('what was answered holds', { timeout: 240_000 }, () => {
  test('a restart ends no session and no token', async () => {
    const world = await startWorld({ change: longTokens });
    try {
      const ada = await world.signIn('ada');
      const { id_token } = await getToken(ada);
      await world.postern.restart();
      assert.equal(await isSignedIn(ada), true);
      const { authenticated, user } = await world.review(id_token);
      assert.equal(authenticated, true);
      assert.deepEqual(user.groups.toSorted(), ['k8s-admins', 'k8s-viewers']);
    } finally {
      await world.close();
    }
  });

  test('kill -9 right after an acknowledged sign-in or sign-out, 50 rounds', async () => {
    const world = await startWorld({ change: (config) => {
      longTokens(config);
      config.portal.session = { per_user: 100 };
    } });
    try {
      // Each round judges what the round before it did, then acts, is answered, and is killed.
      let before;
      for (let round = 0; round <= 50; round += 1) {
        if (before) await judge(world, before, round);
        if (round === 50) break;
        before = round % 2 === 0 ? await signInAndToken(world, round) : await signedOutAgain(before);
        await world.postern.kill9();
        await world.postern.start();
      }
    } finally {
      await world.close();
    }
  });

  async function signInAndToken(world, round) {
    const browser = await world.signIn(['ada', 'grace', 'linus'][(round / 2) % 3]);
    const { id_token } = await getToken(browser);
    return { browser, id_token, signedIn: true };
  }

  async function signedOutAgain({ browser, id_token }) {
    const thief = browser.clone();
    await signOut(browser);
    return { browser: thief, id_token, signedIn: false };
  }

  async function judge(world, { browser, id_token, signedIn }, round) {
    assert.equal(await isSignedIn(browser), signedIn, `round ${round}: the browser`);
    assert.equal((await world.review(id_token)).authenticated, signedIn, `round ${round}: the token`);
  }

  test('with fdatasync held back, no answer leaves before the commit', async () => {
    const hold = await makeSyncHold(tempDir(), posternBinary);
    const world = await startWorld({ env: hold.env, change: longTokens });
    try {
      const browser = world.browser();
      const callback = await signInAtOkta(browser, await startSignIn(browser), world.okta.user('ada'));
      const signIn = await heldBack(world, hold, () => browser.get(callback));
      assert.equal(signIn.status, 303, signIn.text);

      const token = await heldBack(world, hold, () => getToken(browser));
      assert.equal((await world.review(token.id_token)).authenticated, true);

      const thief = browser.clone();
      const out = await heldBack(world, hold, () => signOut(browser), async () => {
        // Sign-out leaves memory first: the token is refused though the disk has not answered yet.
        assert.equal((await world.review(token.id_token)).authenticated, false);
        assert.equal(await isSignedIn(thief), false);
      });
      assert.equal(out.status, 200);
    } finally {
      await hold.release();
      await world.close();
    }
  });

  /** Asks while the sync is held, sees that no answer comes, and returns it after the release. */
  async function heldBack(world, hold, ask, meanwhile = () => {}) {
    let answered = false;
    await hold.hold();
    const done = ask().then((result) => { answered = true; return result; });
    await hold.waiting();
    // Other work goes on meanwhile: an answer that was on its way would be here after it.
    for (let i = 0; i < 20; i += 1) assert.equal((await world.review('junk')).authenticated, false);
    await meanwhile();
    assert.equal(answered, false, 'the answer left before the commit');
    await hold.release();
    return done;
  }

  test('killed before the commit: the sign-in never was', async () => {
    const hold = await makeSyncHold(tempDir(), posternBinary);
    const world = await startWorld({ env: hold.env });
    try {
      const browser = world.browser();
      const callback = await signInAtOkta(browser, await startSignIn(browser), world.okta.user('ada'));
      await hold.hold();
      const answer = browser.get(callback);
      answer.catch(() => {});
      await hold.waiting();
      await world.postern.kill9();
      await assert.rejects(answer);
      await hold.release();
      await world.postern.start();
      assert.equal(await isSignedIn(browser), false);
    } finally {
      await hold.release();
      await world.close();
    }
  });

  test('SIGTERM lets a question in flight be answered', async () => {
    const world = await startWorld({ change: (config) => {
      longTokens(config);
      config.identity = { fresh: '1ms', max_age: '1ms', stale_if_error: '10m' };
    } });
    try {
      const { id_token } = await getToken(await world.signIn('ada'));
      const held = world.okta.hold('userinfo');
      const answer = world.review(id_token);
      await held.arrived;
      const stopped = world.postern.stop();
      held.release();
      assert.equal((await answer).authenticated, true);
      await stopped;
    } finally {
      await world.close();
    }
  });
});

describe('the database file', { timeout: 120_000 }, () => {
  const databaseOf = (world) => world.postern.config.store.path;

  async function stoppedWorld() {
    const world = await startWorld();
    await world.signIn('ada');
    await world.postern.stop();
    return world;
  }

  /** Starts postern on a file it must refuse; the file stays as it is. */
  async function assertRefused(world, pattern) {
    const digest = () => createHash('sha256').update(readFileSync(databaseOf(world))).digest('hex');
    const before = digest();
    const { code, stderr } = await runPostern(['serve', '-c', world.postern.configFile], { timeout: 30_000 });
    assert.notEqual(code, 0);
    assert.match(stderr, pattern);
    assert.ok(stderr.includes(databaseOf(world)), `the file is not named: ${stderr}`);
    assert.equal(digest(), before, 'it was overwritten');
  }

  test('a second process on the same file is refused', async () => {
    const world = await startWorld();
    try {
      // Ports and keys of its own, so that nothing but the file is in the way.
      const { store } = world.postern.config;
      const second = await preparePostern({ pki: world.pki, okta: world.okta, change: (config) => { config.store = store; } });
      const { code, stderr } = await runPostern(['serve', '-c', second.configFile], { timeout: 30_000 });
      assert.notEqual(code, 0);
      assert.ok(stderr.includes(databaseOf(world)), stderr);
      assert.equal(await isSignedIn(await world.signIn('ada')), true);
    } finally {
      await world.close();
    }
  });

  test('peers 65: a corrupt, a truncated and a foreign file are refused and left alone', async () => {
    const world = await stoppedWorld();
    const bytes = readFileSync(databaseOf(world));
    try {
      for (const bad of [Buffer.from('this is no database, and longer than its header would be '.repeat(20)), damaged(bytes), bytes.subarray(0, 700)]) {
        writeFileSync(databaseOf(world), bad);
        await assertRefused(world, /database|corrupt|damaged|malformed|not a/i);
      }
    } finally {
      await world.close();
    }
  });

  test('peers 65: a file of a newer version is refused and left alone', async () => {
    const world = await stoppedWorld();
    try {
      const database = new DatabaseSync(databaseOf(world));
      database.exec('PRAGMA user_version = 999');
      database.close();
      await assertRefused(world, /newer|version/i);
    } finally {
      await world.close();
    }
  });

  test('no Okta token lies in it in the clear', async () => {
    const world = await startWorld();
    try {
      await getToken(await world.signIn('ada'));
      await world.postern.stop();
      const dir = path.dirname(databaseOf(world));
      const files = readdirSync(dir).filter((name) => name.startsWith(path.basename(databaseOf(world))));
      assert.ok(files.length > 0);
      const secrets = world.secrets();
      for (const name of files) {
        const text = readFileSync(path.join(dir, name), 'latin1');
        for (const secret of secrets) assert.ok(!text.includes(secret), `${name} holds a secret`);
      }
    } finally {
      await world.close();
    }
  });

  // The middle pages, so that the header still looks like a database.
  function damaged(bytes) {
    const copy = Buffer.from(bytes);
    copy.fill(0xa5, 4096, Math.min(copy.length, 4 * 4096));
    return copy;
  }
});
