// How Postern reaches Okta: through a proxy that the config names, trusting the CA that the config names.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { startWorld } from '../support/postern.mjs';
import { startProxy } from '../support/proxy.mjs';
import { getToken, startSignIn } from '../support/sign_in.mjs';

const options = { timeout: 60_000 };

async function worldWith(t, { change = () => {}, ...rest } = {}) {
  const proxy = await startProxy();
  const world = await startWorld({ ...rest, env: rest.env?.(proxy), change: (config) => change(config, proxy) });
  t.after(async () => {
    await world.close();
    await proxy.close();
  });
  return { world, proxy };
}

test('every question to Okta goes through the proxy, which sees a host name alone', options, async (t) => {
  const { world, proxy } = await worldWith(t, { change: (config, { url }) => { config.outgoing = { proxy: url }; } });
  const { id_token: token } = await getToken(await world.signIn('ada'));
  assert.equal((await world.review(token)).authenticated, true);
  const { host } = new URL(world.okta.issuer);
  assert.ok(proxy.targets.length > 0);
  assert.deepEqual(new Set(proxy.targets), new Set([host]));
  for (const head of proxy.heads) assert.doesNotMatch(head, /authorization|cookie|oauth2/i);

  const asked = world.okta.count('discovery') + world.okta.count('token');
  await proxy.close();
  await assert.rejects(world.signIn('grace'), 'nobody signs in around a proxy that is down');
  assert.equal(world.okta.count('discovery') + world.okta.count('token'), asked);
});

test('a proxy that refuses: a page, and the log says who did', options, async (t) => {
  const { world, proxy } = await worldWith(t, {
    start: false,
    change: (config, { url }) => { config.outgoing = { proxy: url }; },
  });
  proxy.refuse(407);
  await world.postern.start();
  await assert.rejects(startSignIn(world.browser()));
  assert.ok(world.portalAnswers().at(-1).status >= 500);
  await world.postern.logLine((line) => /CONNECT tunnel failed, response 407/.test(JSON.stringify(line)));
  assert.equal(world.okta.log.length, 0);
});

test('the environment is never asked for a proxy', options, async (t) => {
  const { world, proxy } = await worldWith(t, {
    env: ({ url }) => ({ HTTPS_PROXY: url, https_proxy: url, ALL_PROXY: url, NO_PROXY: '', no_proxy: '' }),
  });
  await world.signIn('ada');
  assert.deepEqual(proxy.targets, []);
});

test('the CA for everything holds for Okta, unless Okta has one of its own', options, async (t) => {
  const { world } = await worldWith(t, {
    change: (config) => {
      config.outgoing = { certificate_authority_file: config.oidc.certificate_authority_file };
      delete config.oidc.certificate_authority_file;
    },
  });
  await world.signIn('ada');

  const other = await worldWith(t, {
    change: (config) => { config.outgoing = { certificate_authority_file: config.webhook.tls.client_ca_file }; },
  });
  await other.world.signIn('ada');
});
