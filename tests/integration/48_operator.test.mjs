// What whoever runs Postern does on the command line: print what an API server must be told, and break-glass.
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';

import { decodeJwt } from 'jose';

import { makeConfig, writeConfig } from '../support/config.mjs';
import { makeSyncHold } from '../support/hold_sync.mjs';
import { ReviewClient, readAnswer } from '../support/http.mjs';
import { pickPorts, startWorld } from '../support/postern.mjs';
import { posternBinary, runPostern } from '../support/process.mjs';
import { getToken, isSignedIn } from '../support/sign_in.mjs';
import { tempDir } from '../support/temp.mjs';

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

describe('postern sessions', { timeout: 180_000 }, () => {
  let world;
  let socket;
  const ids = { ada: '00u1abcd2EFGH3ijk4l5', grace: '00u2grac3EHOP4per5m6' };
  before(async () => {
    world = await startWorld();
    socket = `${world.postern.config.store.path}.control`;
  });
  after(() => world.close());

  const sessions = (...args) => runPostern(['sessions', ...args, '-c', world.postern.configFile]);
  const list = async (...args) => {
    const { code, stdout, stderr } = await sessions('list', '--json', ...args);
    assert.equal(code, 0, stderr);
    return JSON.parse(stdout).sign_ins;
  };
  const end = async (...args) => {
    const { code, stderr } = await sessions('end', ...args);
    assert.equal(code, 0, stderr);
    return stderr;
  };
  const reviewed = async (token) => (await world.review(token)).authenticated === true;

  /** As curl --unix-socket does. */
  const ask = (method, where) => new Promise((resolve, reject) => {
    http.request({ socketPath: socket, method, path: where, agent: false }, (res) => readAnswer(res).then(resolve, reject)).on('error', reject).end();
  });

  test('the socket is a socket, and for its owner alone', () => {
    const { mode } = statSync(socket);
    assert.equal((mode & 0o777).toString(8), '600');
    assert.equal(mode & 0o170000, 0o140000);
  });

  test('list shows sign-ins with what is below them; by name, by uid, as table', async () => {
    const ada = await world.signIn('ada');
    await getToken(ada);
    await world.signIn('grace');
    const all = await list();
    assert.deepEqual(all.map((one) => one.uid).sort(), [ids.ada, ids.grace]);
    const [own] = await list('--user', ids.ada);
    assert.equal(own.uid, ids.ada);
    assert.equal(own.kubeconfig_sessions[0].cluster, 'kubernetes');
    assert.deepEqual((await list('--user', own.user)).map((one) => one.id), [own.id]);
    assert.deepEqual(await list('--user', 'nobody'), []);
    const { stdout } = await sessions('list');
    for (const text of [own.id, own.kubeconfig_sessions[0].id, ids.grace]) assert.ok(stdout.includes(text), stdout);
    for (const secret of world.secrets()) assert.ok(!stdout.includes(secret));
  });

  test('end, while Okta is down: a kubeconfig session, a sign-in, a person; each is audited', async () => {
    const [ada, other, grace] = [await world.signIn('ada'), await world.signIn('ada'), await world.signIn('grace')];
    const [one, two, three] = [await getToken(ada), await getToken(ada), await getToken(grace)].map((t) => t.id_token);
    await world.okta.down();
    try {
      const { sid } = decodeJwt(one);
      await end(sid);
      assert.deepEqual([await reviewed(one), await reviewed(two), await isSignedIn(ada)], [false, true, true]);
      const line = await world.postern.logLine((l) => l.event === 'end_ordered' && l.session === sid);
      assert.deepEqual([line.by, line.unix_uid, line.uid], ['command line', process.getuid(), ids.ada]);
      await world.postern.logLine((l) => l.event === 'session_ended' && l.session === sid && l.reason === 'ended_by_admin');

      const parent = (await list('--user', ids.ada)).find((l) => l.kubeconfig_sessions.some((g) => g.id === decodeJwt(two).sid));
      await end(parent.id);
      assert.deepEqual([await reviewed(two), await isSignedIn(ada), await isSignedIn(other)], [false, false, true]);

      await end('--user', ids.ada);
      assert.deepEqual([await isSignedIn(other), await isSignedIn(grace), await reviewed(three)], [false, true, true]);
      await end('--all');
      assert.deepEqual([await isSignedIn(grace), await list()], [false, []]);
    } finally {
      await world.okta.up();
    }
  });

  test('what is not there, and what is not said, ends nothing', async () => {
    const ada = await world.signIn('ada');
    for (const args of [['nothing'], ['../sessions'], ['--user', 'nobody']]) {
      const { code, stderr } = await sessions('end', ...args);
      assert.equal(code, 1, args.join(' '));
      assert.match(stderr, /no such session/);
    }
    const dashed = '-cAAAAAAAAAAAAAAAAAAAA'; // an id like others, though it begins as an option does
    for (const args of [[dashed], ['--user', dashed]]) {
      const { code, stderr } = await sessions('end', ...args);
      assert.equal(code, 1, args.join(' '));
      assert.match(stderr, /no such session/);
    }
    for (const args of [[], ['--all', '--user', ids.ada], [dashed, 'x'], ['-xAAAAAAA']]) assert.equal((await sessions('end', ...args)).code, 2);
    assert.equal((await ask('DELETE', '/sessions')).status, 400);
    assert.equal((await ask('DELETE', '/sessions?user=a&user=b')).status, 400);
    assert.equal((await ask('POST', '/sessions')).status, 405);
    assert.equal((await ask('GET', '/metrics')).status, 404);
    assert.equal(await isSignedIn(ada), true);
  });

  test('by HTTP, as curl --unix-socket does it', async () => {
    const ada = await world.signIn('ada');
    assert.ok(JSON.parse((await ask('GET', `/sessions?user=${ids.ada}`)).text).sign_ins.length > 0);
    assert.deepEqual(JSON.parse((await ask('DELETE', `/sessions?user=${ids.ada}`)).text), { written: true });
    assert.equal(await isSignedIn(ada), false);
  });

  test('without a process: from the file, and what is ended there is over after the start', async () => {
    const [ada, grace] = [await world.signIn('ada'), await world.signIn('grace')];
    const { id_token } = await getToken(ada);
    await world.postern.stop();
    assert.throws(() => statSync(socket), { code: 'ENOENT' });
    assert.deepEqual((await list()).map((l) => l.uid).sort(), [ids.ada, ids.grace]);
    const audit = await end('--user', ids.ada);
    assert.match(audit, /"end_ordered"/);
    assert.match(audit, /"session_ended".*ended_by_admin/);
    await world.postern.start();
    assert.deepEqual([await isSignedIn(ada), await reviewed(id_token), await isSignedIn(grace)], [false, false, true]);
  });

  test('a socket that kill -9 left behind is replaced; meanwhile the file is opened', async () => {
    await world.postern.kill9();
    assert.ok(statSync(socket).isSocket());
    assert.ok((await list()).length > 0);
    await world.postern.start();
    assert.equal((await ask('GET', '/sessions')).status, 200);
  });

  test('another listener, and a file that is no socket, are left alone', async () => {
    const taken = path.join(world.dir, 'taken');
    const server = net.createServer();
    await new Promise((resolve) => { server.listen(taken, resolve); });
    const plain = path.join(world.dir, 'plain');
    writeFileSync(plain, 'mine');
    for (const [where, why] of [[taken, /another Postern listens/], [plain, /no socket/]]) {
      const change = (c) => { c.operations.control_socket = where; c.store.path = path.join(world.dir, 'second.db'); };
      const config = await makeConfig({ dir: path.join(world.dir, 'postern'), ports: await pickPorts(), pki: world.pki, okta: world.okta, change });
      const { code, stderr } = await runPostern(['serve', '-c', await writeConfig(path.join(world.dir, 'second.yaml'), config)]);
      assert.equal(code, 1);
      assert.match(stderr, why);
    }
    server.close();
    assert.equal(readFileSync(plain, 'utf8'), 'mine');
  });

  test('a store that a process without socket holds is refused', async () => {
    const change = (c) => { c.operations.control_socket = path.join(world.dir, 'nobody'); };
    const config = await makeConfig({ dir: path.join(world.dir, 'postern'), ports: await pickPorts(), pki: world.pki, okta: world.okta, change });
    const { code, stderr } = await runPostern(['sessions', 'list', '-c', await writeConfig(path.join(world.dir, 'third.yaml'), config)]);
    assert.equal(code, 1);
    assert.match(stderr, /in use|another process|locked/i);
  });
});

test('postern sessions end, with a disk that takes nothing: all of it ends, and the exit code says that it is not stored', { timeout: 120_000 }, async () => {
  const disk = await makeSyncHold(tempDir(), posternBinary);
  const world = await startWorld({ env: disk.env });
  try {
    const browsers = [await world.signIn('ada'), await world.signIn('grace')];
    await disk.fail();
    const { code, stderr } = await runPostern(['sessions', 'end', '--all', '-c', world.postern.configFile]);
    for (const browser of browsers) assert.equal(await isSignedIn(browser), false);
    assert.equal(code, 1, stderr);
    assert.match(stderr, /^postern: ended, but not in the store yet/);
    await disk.mend();
  } finally {
    await world.close();
  }
});
