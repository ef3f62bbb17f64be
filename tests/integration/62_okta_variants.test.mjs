// Okta set up in other ways: refresh tokens that rotate, fat id_tokens, and discovery that points elsewhere.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { eventually } from '../support/eventually.mjs';
import { makeSyncHold } from '../support/hold_sync.mjs';
import { alwaysAsk, down } from '../support/okta_faults.mjs';
import { startWorld } from '../support/postern.mjs';
import { posternBinary } from '../support/process.mjs';
import { getToken, isSignedIn } from '../support/sign_in.mjs';
import { startStandIn } from '../support/stand-in.mjs';
import { tempDir } from '../support/temp.mjs';

describe('variants of Okta', { timeout: 120_000, concurrency: true }, () => {
  const refreshes = (okta) => okta.count('token', (entry) => entry.grant === 'refresh_token');

  test('refresh tokens that rotate: the new one is on disk before it is used, and survives a restart', async () => {
    const hold = await makeSyncHold(tempDir(), posternBinary);
    const world = await startWorld({ okta: { rotate: true }, change: alwaysAsk, env: hold.env });
    const { okta } = world;
    try {
      const ada = await world.signIn('ada');
      const { id_token } = await getToken(ada);
      okta.revokeTokens(okta.user('ada'), ['AccessToken']);
      await hold.hold();
      const asked = okta.count('userinfo');
      const answer = world.review(id_token);
      await hold.waiting();
      assert.equal(refreshes(okta), 1);
      assert.equal(okta.count('userinfo') - asked, 1, 'the new token was used before it was written');
      await hold.release();
      assert.equal((await answer).authenticated, true);

      await world.postern.restart();
      okta.revokeTokens(okta.user('ada'), ['AccessToken']);
      const status = await world.review(id_token);
      assert.equal(status.authenticated, true);
      assert.deepEqual(status.user.groups.toSorted(), ['k8s-admins', 'k8s-viewers']);
      assert.equal(refreshes(okta), 2);
      assert.equal(await isSignedIn(ada), true);
    } finally {
      await hold.release();
      await world.close();
    }
  });

  test('a fat id_token: userinfo is what counts all the same', async () => {
    const world = await startWorld({ okta: { fatIdToken: true }, change: alwaysAsk });
    try {
      const grace = await world.signIn('grace');
      const { id_token, groups } = await getToken(grace);
      assert.deepEqual(groups, ['k8s-viewers']);
      world.okta.user('grace').groups = ['k8s-new'];
      await eventually(() => world.review(id_token), ({ user }) => user?.groups.join() === 'k8s-new');
      const linus = await getToken(await world.signIn('linus'));
      assert.equal(linus.groups.length, 300);
    } finally {
      await world.close();
    }
  });

  test('peers 44, 58: discovery with another issuer, or with endpoints elsewhere, is refused by name; it recovers by itself', async () => {
    const world = await startWorld({ idp: startStandIn });
    const idp = world.okta;
    try {
      const port = new URL(idp.issuer).port;
      const documents = [
        ['another issuer', { issuer: 'https://evil.example' }, /issuer is \\?"https:\/\/evil\.example/],
        ['plain http', { token_endpoint: idp.issuer.replace('https:', 'http:') }, /token_endpoint .* no https URL/],
        ['another host', { userinfo_endpoint: 'https://evil.example/userinfo' }, /userinfo_endpoint .* not on the issuer's host/],
        ['peers 44: a longer host', { jwks_uri: `https://127.0.0.1.evil.example:${port}/keys` }, /jwks_uri .* not on the issuer's host/],
        ['peers 44: a host at the end', { jwks_uri: `https://evil127.0.0.1:${port}/keys` }, /jwks_uri .* not on the issuer's host/],
        ['a user in the URL', { token_endpoint: `https://127.0.0.1:${port}@evil.example/token` }, /token_endpoint .* no https URL/],
      ];
      await world.postern.stop();
      for (const [what, change, words] of documents) {
        idp.bend.discovery = (document) => ({ ...document, ...change });
        await world.postern.start();
        const line = await world.postern.logLine((r) => words.test(r.reason ?? ''));
        assert.equal(line.level, 'warn', what);
        const answer = await world.browser().get('/login');
        assert.equal(answer.status, 502, what);
        assert.match(answer.text, down, what);
        await world.postern.stop();
      }
      assert.ok(idp.log.every(({ endpoint }) => endpoint !== 'other'));
      await world.postern.start();
      await world.postern.logLine((r) => /not on the issuer|no https/.test(r.reason ?? ''));
      idp.reset();
      await eventually(() => world.browser().get('/login'), ({ status }) => status === 303, { tries: 1200 });
    } finally {
      await world.close();
    }
  });
});
