// The command line: check, print, version, help; and every start that must not happen.
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { before, describe, test } from 'node:test';

import { makeConfig, writeConfig } from '../support/config.mjs';
import { makePki } from '../support/pki.mjs';
import { pickPorts } from '../support/postern.mjs';
import { runPostern } from '../support/process.mjs';
import { tempDir } from '../support/temp.mjs';

const okta = { issuer: 'https://okta.example.test', clientId: '0oa1client2ID3xyz4k7', clientSecret: 'planted-client-secret' };

describe('the command line', { timeout: 120_000 }, () => {
  const dir = tempDir();
  let pki;
  let number = 0;
  before(async () => { pki = await makePki(path.join(dir, 'pki')); });

  async function configured(change) {
    number += 1;
    const here = path.join(dir, String(number));
    mkdirSync(here);
    const config = await makeConfig({ dir: here, ports: await pickPorts(), pki, okta, change });
    return { file: await writeConfig(path.join(here, 'postern.yaml'), config), config };
  }

  test('check of a good config says nothing is wrong', async () => {
    const { file } = await configured();
    const { code, stdout, stderr } = await runPostern(['check', '-c', file]);
    assert.equal(code, 0, stdout + stderr);
  });

  // What is broken, how, and the key or file that the message must name.
  const broken = [
    ['an unknown key', (c) => { c.portal.sesion = { idle: '15m' }; }, /sesion/],
    ['a missing key', (c) => { delete c.oidc.client_id; }, /client_id/],
    ['a list where a mapping belongs', (c) => { c.oidc = ['x']; }, /oidc/],
    ['no duration', (c) => { c.identity.fresh = '30 parsecs'; }, /fresh/],
    ['ages that contradict', (c) => { c.identity = { fresh: '2m', max_age: '1m' }; }, /identity\.(fresh|max_age)/],
    ['a portal without TLS in its URL', (c) => { c.portal.url = 'http://login.example.test'; }, /portal\.url/],
    ['an issuer without TLS', (c) => { c.oidc.issuer = 'http://okta.example.test'; }, /oidc\.issuer/],
    ['a port that is none', (c) => { c.webhook.listen = '127.0.0.1:99999'; }, /webhook\.listen/],
    ['two clusters of one name', (c) => { c.clusters.push({ ...c.clusters[0], client_names: ['other'], audience: 'other' }); }, /clusters/],
    ['one client name in two clusters', (c) => { c.clusters.push({ ...c.clusters[0], name: 'other', audience: 'other' }); }, /client_names/],
    ['a pattern that is none', (c) => { c.users.groups_include = ['^k8s-(']; }, /groups_include/],
    ['an attribute that is none', (c) => { c.users.username_claim = 'shoe_size'; }, /username_claim/],
    ['scopes without openid', (c) => { c.oidc.scopes = ['email']; }, /oidc\.scopes/],
    ['an algorithm that we do not sign with', (c) => { c.tokens.algorithm = 'HS256'; }, /tokens\.algorithm/],
    ['a store of no kind', (c) => { c.store.kind = 'redis'; }, /store\.kind|store.*redis/],
    ['a secret file that is missing', (c) => { c.oidc.client_secret_file = '/nonexistent/secret'; }, /\/nonexistent\/secret/],
    ['a seal key that is missing', (c) => { c.store.seal_key_files = ['/nonexistent/seal']; }, /\/nonexistent\/seal/],
    ['a certificate that is missing', (c) => { c.portal.tls.certificate_file = '/nonexistent/cert'; }, /\/nonexistent\/cert/],
    ['a client CA that is no certificate', (c) => { c.webhook.tls.client_ca_file = c.oidc.client_secret_file; }, /client_ca_file|okta-client-secret/],
    ['an API server CA that is missing', (c) => { c.clusters[0].certificate_authority_file = '/nonexistent/ca'; }, /clusters\[0\]\.certificate_authority_file: \/nonexistent\/ca: can't be read/],
    ['an API server CA that holds a key', (c) => { c.clusters[0].certificate_authority_file = pki.webhook.keyFile; }, /clusters\[0\]\.certificate_authority_file: .*only CERTIFICATE/],
    ['a CA of ours that is no PEM', (c) => { c.portal.certificate_authority_file = c.oidc.client_secret_file; }, /portal\.certificate_authority_file: .*no certificate/],
    ['two contexts of one name', (c) => { c.clusters[0].additional_servers = [{ name: 'kubernetes', server: 'https://a.example' }]; }, /additional_servers\[0\]\.name/],
    ['a key of another certificate', (c) => { c.portal.tls.key_file = pki.webhook.keyFile; }, /portal\.tls|webhook\.key/],
    ['an expired certificate', (c) => { Object.assign(c.portal.tls, { certificate_file: pki.expiredServer.certFile, key_file: pki.expiredServer.keyFile }); }, /expired/i],
  ];
  for (const [what, change, pattern] of broken) {
    for (const command of ['check', 'serve']) {
      test(`${command}: ${what} is named, and it does not start`, async () => {
        const { file } = await configured(change);
        const { code, stdout, stderr } = await runPostern([command, '-c', file], { timeout: 30_000 });
        assert.notEqual(code, 0);
        assert.match(stdout + stderr, pattern);
        assert.doesNotMatch(stdout + stderr, /planted-client-secret/);
      });
    }
  }

  test('several mistakes are told at once', async () => {
    const { file } = await configured((c) => {
      c.portal.url = 'http://login.example.test';
      c.oidc.issuer = 'http://okta.example.test';
      c.users.groups_include = ['('];
    });
    const { stdout, stderr } = await runPostern(['check', '-c', file]);
    for (const name of ['portal.url', 'oidc.issuer', 'groups_include']) assert.ok((stdout + stderr).includes(name), name);
  });

  test('a schema error has the line', async () => {
    const { file } = await configured((c) => { c.portal.sesion = '15m'; });
    const line = readFileSync(file, 'utf8').split('\n').findIndex((l) => l.includes('sesion')) + 1;
    const { stdout, stderr } = await runPostern(['check', '-c', file]);
    assert.match(stdout + stderr, new RegExp(`postern\\.yaml:${line}:`));
  });

  test('files that are no config', async () => {
    const file = path.join(dir, 'junk.yaml');
    for (const text of ['', '\0\0\0', '[', 'a: [b', '- x', 'x'.repeat(100_000), '&a [*a]', 'portal: {url: x', '\xff\xfe']) {
      writeFileSync(file, text, 'latin1');
      const { code, stdout, stderr } = await runPostern(['check', '-c', file]);
      assert.notEqual(code, 0, text.slice(0, 20));
      assert.match(stdout + stderr, /junk\.yaml/);
    }
    for (const missing of ['/nonexistent/postern.yaml', dir]) {
      const { code, stdout, stderr } = await runPostern(['check', '-c', missing]);
      assert.notEqual(code, 0);
      assert.ok((stdout + stderr).includes(missing));
    }
  });

  test('a signing key that others can read is refused', async () => {
    const { file, config } = await configured();
    const key = path.join(config.tokens.keys_directory, 'postern-000000000000.json');
    writeFileSync(key, '{}');
    chmodSync(key, 0o644);
    const { code, stdout, stderr } = await runPostern(['serve', '-c', file], { timeout: 30_000 });
    assert.notEqual(code, 0);
    assert.ok((stdout + stderr).includes(key) || /keys_directory/.test(stdout + stderr), stdout + stderr);
  });

  test('a port in use is named, and no other listener stays behind', async () => {
    for (const listener of ['portal', 'webhook', 'operations']) {
      const server = net.createServer();
      await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
      const { port } = server.address();
      try {
        const { file } = await configured((c) => { c[listener].listen = `127.0.0.1:${port}`; });
        const { code, stderr } = await runPostern(['serve', '-c', file], { timeout: 30_000 });
        assert.notEqual(code, 0, listener);
        assert.match(stderr, new RegExp(`${listener}\\.listen|127\\.0\\.0\\.1:${port}`));
      } finally {
        server.close();
      }
    }
  });

  test('print config shows effective values, and no secret', async () => {
    const { file, config } = await configured();
    const { code, stdout, stderr } = await runPostern(['print', 'config', '-c', file]);
    assert.equal(code, 0, stderr);
    for (const text of ['stale_if_error', '10m', config.portal.url, 'kube-apiserver']) assert.ok(stdout.includes(text), text);
    assert.doesNotMatch(stdout + stderr, /planted-client-secret/);
    // What it prints is a config again.
    const again = path.join(path.dirname(file), 'printed.yaml');
    writeFileSync(again, stdout);
    const checked = await runPostern(['check', '-c', again]);
    assert.equal(checked.code, 0, checked.stdout + checked.stderr);
  });

  test('version and help', async () => {
    const { code, stdout } = await runPostern(['version']);
    assert.equal(code, 0);
    assert.match(stdout, /\d+\.\d+\.\d+/);
    for (const args of [['--help'], ['serve', '--help'], ['check', '--help'], ['print', '--help'], ['version', '--help']]) {
      const help = await runPostern(args);
      assert.equal(help.code, 0, args.join(' '));
      assert.match(help.stdout, /postern/);
    }
  });

  test('an unknown command or option is refused with a hint', async () => {
    for (const args of [[], ['sevre'], ['serve'], ['serve', '--no-such'], ['serve', '-c'], ['print', 'nonsense']]) {
      const { code, stderr } = await runPostern(args);
      assert.notEqual(code, 0, args.join(' '));
      assert.match(stderr, /help|usage/i, args.join(' '));
    }
  });
});
