// What the config demands of a sign-in beyond Okta's yes: that Okta asked anew, and how. Asked for in the address
// that the browser is sent to, and checked in what comes back.
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';

import { eventually } from '../support/eventually.mjs';
import { locationOf } from '../support/http.mjs';
import { startWorld } from '../support/postern.mjs';
import { getToken, startSignIn } from '../support/sign_in.mjs';
import { startStandIn } from '../support/stand-in.mjs';

const change = (config) => {
  Object.assign(config.oidc, { force_authentication: true, acr_values: ['urn:okta:loa:2fa:any', 'phr'] });
  config.identity = { fresh: '1ms', max_age: '1ms' };
  config.tokens.lifetime = '10m';
};
const nowS = () => Math.floor(Date.now() / 1000);

describe('demands on a sign-in', { timeout: 60_000 }, () => {
  let world;
  let idp;
  before(async () => {
    world = await startWorld({ idp: startStandIn, change });
    idp = world.okta;
  });
  after(() => world.close());
  afterEach(() => idp.reset());

  async function signIn(claims) {
    idp.bend.idToken = (c) => ({ ...c, acr: 'phr', ...claims });
    const browser = world.browser();
    const address = await startSignIn(browser);
    assert.equal(address.searchParams.get('max_age'), '0');
    assert.equal(address.searchParams.get('acr_values'), 'urn:okta:loa:2fa:any phr');
    return { browser, answer: await browser.get(locationOf(await browser.get(address))) };
  }

  test('met: signed in, and a refresh does not have to meet them again', async () => {
    const { browser, answer } = await signIn({ auth_time: nowS() - 60 });
    assert.equal(answer.status, 303, answer.text);
    const { id_token: token } = await getToken(browser);
    idp.bend.idToken = ({ auth_time, ...claims }) => claims;
    idp.forceOnce('userinfo', { status: 401 });
    const asked = idp.count('token');
    assert.equal((await world.review(token)).authenticated, true);
    assert.equal(idp.count('token'), asked + 1);
  });

  const unmet = [
    ['Okta let an old session in', { auth_time: 1 }, 'not_authenticated_anew', /did not ask who you are/],
    ['no auth_time', { auth_time: undefined }, 'not_authenticated_anew', /did not ask who you are/],
    ['a weaker way', { acr: 'urn:okta:loa:1fa:any' }, 'acr_not_met', /stronger sign-in/],
    ['no acr', { acr: undefined }, 'acr_not_met', /stronger sign-in/],
  ];
  for (const [what, claims, reason, page] of unmet) {
    test(`${what}: a page that says so, no session, and the tokens are given back`, async () => {
      const from = world.postern.process.lines.length;
      const revoked = idp.count('revoke');
      const { browser, answer } = await signIn(claims);
      assert.equal(answer.status, 403);
      assert.match(answer.text, page);
      assert.equal(browser.jar.get('__Host-postern'), undefined);
      await world.postern.logLine((r) => r.event === 'sign_in_refused' && r.reason === reason, from);
      await eventually(() => idp.count('revoke'), (count) => count > revoked);
    });
  }
});
