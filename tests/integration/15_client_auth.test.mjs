// How Postern proves to Okta which application it is. npm's oidc-provider judges it: the method that the client is
// registered with is the only one that it takes.
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';

import { eventually } from '../support/eventually.mjs';
import { startWorld } from '../support/postern.mjs';
import { getToken, signOut } from '../support/sign_in.mjs';
import { tempDir } from '../support/temp.mjs';

/** A key pair: the private half in a file, the public one as a JWK with this kid. */
function clientKey(kind, options, alg) {
  const { privateKey, publicKey } = generateKeyPairSync(kind, options);
  const file = path.join(tempDir(), 'client.key');
  writeFileSync(file, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
  return { file, jwk: { ...publicKey.export({ format: 'jwk' }), kid: `kid-${alg}`, alg, use: 'sig' } };
}

function withKey({ file, jwk }) {
  return {
    okta: { clientAuth: { method: 'private_key_jwt', keys: [jwk] } },
    oidc: { token_endpoint_auth_method: 'private_key_jwt', client_secret_file: undefined, private_key_file: file, private_key_id: jwk.kid },
  };
}

const ec = clientKey('ec', { namedCurve: 'P-256' }, 'ES256');
const methods = [
  ['client_secret_post', { okta: { clientAuth: { method: 'client_secret_post' } }, oidc: { token_endpoint_auth_method: 'client_secret_post' } }],
  ['private_key_jwt with RS256', withKey(clientKey('rsa', { modulusLength: 2048 }, 'RS256'))],
  ['private_key_jwt with ES256', withKey(ec)],
  ['private_key_jwt for the issuer', { ...withKey(ec), audience: (issuer) => issuer }],
];

describe('client authentication', { timeout: 120_000 }, () => {
  for (const [name, { okta: oktaOptions, oidc, audience }] of methods) {
    test(`${name}: sign-in, refresh and revocation`, async (t) => {
      const change = (config) => {
        Object.assign(config.oidc, oidc);
        if (audience) config.oidc.client_assertion_audience = audience(config.oidc.issuer);
        for (const [key, value] of Object.entries(config.oidc)) if (value === undefined) delete config.oidc[key];
        config.identity = { fresh: '1ms', max_age: '1ms' };
        config.tokens.lifetime = '10m';
      };
      const world = await startWorld({ okta: oktaOptions, change });
      t.after(() => world.close());
      const { okta } = world;
      const browser = await world.signIn('ada');
      const { id_token: token } = await getToken(browser);

      okta.revokeTokens(okta.user('ada'), ['AccessToken']);
      const refreshed = () => okta.log.some((e) => e.grant === 'refresh_token' && e.status === 200);
      const status = await eventually(() => world.review(token), refreshed);
      assert.equal(status.authenticated, true);

      await signOut(browser);
      await eventually(() => okta.log.filter((e) => e.endpoint === 'revocation' && e.status === 200).length, (n) => n === 1);
      assert.ok(okta.log.every((e) => e.endpoint !== 'token' || e.status === 200), 'a token request was refused');
    });
  }

  test('a key that Okta does not know: nobody signs in, and the log has Okta’s word', async (t) => {
    const other = clientKey('ec', { namedCurve: 'P-256' }, 'ES256');
    const { okta, oidc } = withKey(ec);
    const change = (config) => {
      Object.assign(config.oidc, oidc, { private_key_file: other.file });
      delete config.oidc.client_secret_file;
    };
    const world = await startWorld({ okta, change });
    t.after(() => world.close());
    await assert.rejects(world.signIn('ada'));
    assert.equal(world.portalAnswers().at(-1).status, 502);
    await world.postern.logLine((r) => r.message === 'sign-in failed' && /invalid_client/.test(r.reason));
  });
});
