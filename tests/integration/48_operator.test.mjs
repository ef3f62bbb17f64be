// What whoever runs Postern does on the command line for their clusters: print what an API server must be told.
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';

import { decodeJwt } from 'jose';

import { makeConfig, writeConfig } from '../support/config.mjs';
import { ReviewClient } from '../support/http.mjs';
import { pickPorts, startWorld } from '../support/postern.mjs';
import { runPostern } from '../support/process.mjs';
import { getToken } from '../support/sign_in.mjs';

describe('postern print, for a cluster', { timeout: 120_000 }, () => {
  let world;
  let number = 0;
  before(async () => {
    world = await startWorld({ change: (c) => { c.webhook.certificate_authority_file = path.join(path.dirname(c.portal.tls.certificate_file), 'ca.pem'); } });
  });
  after(() => world.close());

  /** Prints for the world's config, or for a changed copy of it that never runs. */
  async function print(what, { change, args = [] } = {}) {
    let file = world.postern.configFile;
    if (change) {
      const config = await makeConfig({ dir: path.join(world.dir, 'postern'), ports: await pickPorts(), pki: world.pki, okta: world.okta, change });
      number += 1;
      file = await writeConfig(path.join(world.dir, `printed-${number}.yaml`), config);
    }
    return runPostern(['print', what, '-c', file, ...args]);
  }
  const printed = async (...args) => {
    const { code, stdout, stderr } = await print(...args);
    assert.equal(code, 0, stderr);
    return stdout;
  };
  const field = (yaml, key) => JSON.parse(new RegExp(`^ *(?:- )?${key}: (".*")$`, 'm').exec(yaml)[1]);
  const flagsOf = (text) => new Map(text.split('\n').filter((l) => l.startsWith('--')).map((l) => /^--([a-z-]+)=(.*)$/.exec(l).slice(1)));
  const oidc = (c) => { c.clusters[0].authentication = 'oidc'; c.tokens.lifetime = '5m'; };

  test('webhook-kubeconfig: what it says is how the webhook is reached and trusted', async () => {
    const yaml = await printed('webhook-kubeconfig');
    const server = new URL(field(yaml, 'server'));
    const ca = Buffer.from(/certificate-authority-data: (\S+)/.exec(yaml)[1], 'base64').toString();
    assert.equal(new X509Certificate(ca).fingerprint256, new X509Certificate(world.ca).fingerprint256);
    assert.ok(!/PUT the CA|REPLACE|ATTENTION/.test(yaml), yaml);
    assert.ok(yaml.includes('# "kube-apiserver"'), 'the name that the client certificate needs');

    const { id_token } = await getToken(await world.signIn('ada'));
    const client = new ReviewClient({ url: server.origin, ca, certificate: world.pki.clients.apiserver });
    const body = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', spec: { token: id_token } };
    const answer = await client.request({ path: `${server.pathname}?timeout=30s`, body });
    client.close();
    assert.equal(answer.json().status.authenticated, true, answer.text);
  });

  test('webhook-kubeconfig: what must be filled in is said', async () => {
    const { pki } = world;
    const wildcard = await printed('webhook-kubeconfig', { change: (c) => { c.webhook.listen = '0.0.0.0:29443'; } });
    assert.match(wildcard, /REPLACE the host/);
    assert.match(wildcard, /PUT the CA/);
    const named = await printed('webhook-kubeconfig', { change: (c) => { c.webhook.url = 'https://localhost:29443'; } });
    assert.equal(field(named, 'server'), 'https://localhost:29443/tokenreview/kubernetes');
    assert.doesNotMatch(named, /ATTENTION/);
    assert.match(await printed('webhook-kubeconfig', { change: (c) => { c.webhook.url = 'https://postern.example.test'; } }), /ATTENTION.*postern\.example\.test/);

    const wrong = await print('webhook-kubeconfig', { change: (c) => { c.webhook.certificate_authority_file = pki.otherCa.certFile; } });
    assert.equal(wrong.code, 1);
    assert.equal(wrong.stdout, '');
    assert.match(wrong.stderr, /does not vouch for/);
  });

  test('apiserver-flags, webhook mode', async () => {
    const flags = flagsOf(await printed('apiserver-flags'));
    assert.deepEqual([...flags.keys()].sort(), ['config-file', 'cache-ttl', 'version'].map((f) => `authentication-token-webhook-${f}`).sort());
    assert.equal(flags.get('authentication-token-webhook-version'), 'v1');
    assert.equal(flags.get('authentication-token-webhook-cache-ttl'), '10s');
    assert.ok((await printed('webhook-kubeconfig')).includes(flags.get('authentication-token-webhook-config-file')));
  });

  test('OIDC mode: flags and file agree with each other, and with a token', async () => {
    const change = (c) => { oidc(c); c.portal.certificate_authority_file = world.pki.serverCa.certFile; };
    const flags = flagsOf(await printed('apiserver-flags', { change }));
    const file = await printed('authentication-config', { change });
    assert.equal(flags.get('oidc-client-id'), 'kubernetes');
    assert.equal(flags.get('oidc-signing-algs'), 'ES256');
    assert.equal(flags.get('oidc-username-prefix'), '-');
    assert.ok(flags.has('oidc-ca-file'));
    assert.match(file, /^apiVersion: apiserver\.config\.k8s\.io\/v1$/m);
    const pem = /certificateAuthority: \|\n((?: {8}\S.*\n)+)/.exec(file)[1].replace(/^ {8}/gm, '');
    assert.equal(new X509Certificate(pem).fingerprint256, new X509Certificate(readFileSync(world.pki.serverCa.certFile)).fingerprint256);

    const other = await startWorld({ change: oidc });
    try {
      const claims = decodeJwt((await getToken(await other.signIn('ada'))).id_token);
      const { stdout } = await runPostern(['print', 'apiserver-flags', '-c', other.postern.configFile]);
      const real = flagsOf(stdout);
      assert.equal(claims.iss, real.get('oidc-issuer-url'));
      assert.equal(claims.aud, real.get('oidc-client-id'));
      assert.equal(typeof claims[real.get('oidc-username-claim')], 'string');
      assert.ok(Array.isArray(claims[real.get('oidc-groups-claim')]));
      for (const [, claim] of file.matchAll(/(?:claim: |claims\.)(\w+)$/gm)) assert.ok(claim in claims, claim);
    } finally {
      await other.close();
    }
  });

  test('RS256 needs no flag of its own', async () => {
    const flags = flagsOf(await printed('apiserver-flags', { change: (c) => { oidc(c); c.tokens.algorithm = 'RS256'; } }));
    assert.equal(flags.has('oidc-signing-algs'), false);
  });

  test('a mode that the cluster is not in, and a cluster that is not said, print nothing', async () => {
    const two = (c) => { c.clusters.push({ name: 'other', client_names: ['other'], authentication: 'oidc' }); c.tokens.lifetime = '5m'; };
    for (const [what, options] of [
      ['authentication-config', {}],
      ['webhook-kubeconfig', { change: oidc }],
      ['apiserver-flags', { change: two }],
      ['apiserver-flags', { change: two, args: ['--cluster', 'nowhere'] }],
      ['authentication-config', { change: two, args: ['--cluster', 'kubernetes'] }],
    ]) {
      const { code, stdout, stderr } = await print(what, options);
      assert.equal(code, 1, what);
      assert.equal(stdout, '');
      assert.match(stderr, /^postern: .*(authentication|kubernetes other)/);
    }
    assert.match(await printed('apiserver-flags', { change: two, args: ['--cluster', 'other'] }), /--oidc-client-id=other/);
  });

  test('check warns of an OIDC cluster with short tokens, and of no other', async () => {
    for (const [lifetime, warns] of [['1m', true], ['5m', false]]) {
      const config = await makeConfig({ dir: path.join(world.dir, 'postern'), ports: await pickPorts(), pki: world.pki, okta: world.okta, change: (c) => { oidc(c); c.tokens.lifetime = lifetime; } });
      const { code, stderr } = await runPostern(['check', '-c', await writeConfig(path.join(world.dir, 'warned.yaml'), config)]);
      assert.equal(code, 0, stderr);
      assert.equal(/tokens\.lifetime/.test(stderr), warns, stderr);
    }
  });
});
