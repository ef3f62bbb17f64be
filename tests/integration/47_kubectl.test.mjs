// kubectl for a working day, with real kubectls: silent refresh, several at once, and every way in which it ends. The API
// server judges tokens as kube-apiserver does, by the webhook or by our keys.
//
// POSTERN_KUBECTLS=30x60 lets so many kubectls work for so many seconds; without it 10 do for 20.
import assert from 'node:assert/strict';
import { readFileSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as later } from 'node:timers/promises';

import { SignJWT, importPKCS8 } from 'jose';

import { startApiServer } from '../support/apiserver.mjs';
import { OidcAuthenticator, WebhookAuthenticator } from '../support/apiserver_authn.mjs';
import { freePorts } from '../support/config.mjs';
import { eventually } from '../support/eventually.mjs';
import { Laptop, kubectlBinary, kubectlVersions } from '../support/kubectl.mjs';
import { makeClusterPki } from '../support/pki.mjs';
import { startWorld } from '../support/postern.mjs';
import { runPostern } from '../support/process.mjs';
import { getToken, signOut } from '../support/sign_in.mjs';
import { tempDir } from '../support/temp.mjs';

const claimsOf = (token) => JSON.parse(Buffer.from(token.split('.')[1], 'base64url'));
const nowS = () => Math.floor(Date.now() / 1000);

/** A portal, a cluster that trusts it, and laptops. */
class Kubernetes {
  /** The API server's clock is ahead by so much: its caches are over. */
  aheadMs = 0;

  static async start({ change = () => {}, authenticator = Kubernetes.byWebhook } = {}) {
    const self = new Kubernetes();
    const { ca, apiserver: tls } = await makeClusterPki(tempDir());
    const [port] = await freePorts(1);
    self.world = await startWorld({
      change: (config) => {
        config.tokens.lifetime = '15s';
        config.identity = { fresh: '0s', max_age: '1s', stale_if_error: '20m' };
        config.portal.session = { per_user: 1000 };
        // The portal's CA is the one that the stand-in's is, too.
        config.portal.certificate_authority_file = config.oidc.certificate_authority_file;
        Object.assign(config.clusters[0], { server: `https://127.0.0.1:${port}`, certificate_authority_file: ca.certFile });
        change(config);
      },
    });
    const now = () => Date.now() + self.aheadMs;
    self.authenticator = authenticator(self.world, now);
    self.api = await startApiServer({ tls, port, now, authenticator: self.authenticator, allow: { 'k8s-admins': ['*'], 'k8s-viewers': ['list'] } });
    return self;
  }

  static byWebhook(world, now) {
    return new WebhookAuthenticator({ url: world.postern.webhookUrl, ca: world.ca, certificate: world.pki.clients.apiserver, cacheTtlMs: 10_000, now });
  }

  static byKeys(world, now) {
    return new OidcAuthenticator({
      issuer: world.postern.url, clientId: 'kubernetes', ca: world.ca, algorithms: ['ES256'], usernameClaim: 'preferred_username', usernamePrefix: '-', groupsClaim: 'groups', now,
    });
  }

  /** Nothing that was judged before counts any more. */
  forget() {
    this.aheadMs += 21_000;
  }

  /** A person's laptop, with the portal's command pasted into its shell. */
  async laptop(version, browser, shell) {
    const laptop = new Laptop(kubectlBinary(version));
    await laptop.paste((await getToken(browser)).commands.bash, shell);
    return laptop;
  }

  signIn(name) {
    return this.world.signIn(name);
  }

  get ended() {
    return `session ended, sign in at ${this.world.postern.url}`;
  }

  async close() {
    await this.api.close();
    await this.world.close();
  }
}

async function assertWorks(laptop) {
  const { code, stdout, stderr } = await laptop.kubectl('get', 'nodes');
  assert.equal(code, 0, stderr);
  assert.match(stdout, /node-1 +Ready/);
}

/** kubectl says what is wrong, by the issuer's own words. */
async function assertRefused(laptop, words) {
  const { code, stderr } = await laptop.kubectl('get', 'nodes');
  assert.equal(code, 1);
  assert.match(stderr, /failed to refresh token: /);
  assert.ok(stderr.includes(words), stderr);
}

// Its minute passes while the others are tested.
let unused;
before(async () => {
  const k8s = await Kubernetes.start({ change: (config) => { config.portal.session.kubeconfig_idle = '1m'; } });
  unused = { k8s, laptop: await k8s.laptop('1.35', await k8s.signIn('ada')) };
});
after(() => unused.k8s.close());

describe('kubectl', { timeout: 240_000 }, () => {
  let k8s;
  before(async () => {
    k8s = await Kubernetes.start({ change: (config) => { config.clusters[0].allowed_groups = ['Everyone']; } });
  });
  after(() => k8s.close());

  for (const version of kubectlVersions) {
    describe(version, () => {
      let ada;
      let laptop;
      before(async () => {
        ada = await k8s.signIn('ada');
        laptop = await k8s.laptop(version, ada);
      });

      for (const shell of ['bash', 'zsh', 'dash']) {
        test(`the portal’s command, pasted into ${shell} with an empty home, is all that it takes`, async () => {
          await assertWorks(await k8s.laptop(version, ada, shell));
        });
      }

      test('works, and goes on when the token’s time is over', async () => {
        const first = await laptop.credentials();
        await assertWorks(laptop);
        await laptop.expire();
        await assertWorks(laptop);
        const token = claimsOf((await laptop.credentials())['id-token']);
        assert.ok(token.exp > nowS(), 'the new token lies in the kubeconfig');
        assert.equal(token.sid, claimsOf(first['id-token']).sid, 'the same kubeconfig session');
      });

      test('peers 50: eight at the same time with one kubeconfig, and its token is over', async () => {
        await laptop.expire();
        for (const { code, stderr } of await Promise.all(Array.from({ length: 8 }, () => laptop.kubectl('get', 'nodes')))) {
          // kubectl's own doing, which no server can mend: who finds the file's lock taken gives up, and who reads the
          // file while another writes it finds it empty.
          assert.ok(code === 0 || /could not persist new tokens: .*\.lock: file exists|connection to the server localhost:8080/.test(stderr), stderr);
        }
        await assertWorks(laptop);
      });

      test('peers 50: eight at the same time, each with a copy: all go on with what they got', async () => {
        await laptop.expire();
        const copies = Array.from({ length: 8 }, () => laptop.copy());
        await Promise.all(copies.map(assertWorks));
        await Promise.all(copies.map((copy) => copy.expire()));
        await Promise.all(copies.map(assertWorks));
        await assertWorks(laptop);
      });

      test('two tools with copies of their own never get into each other’s way', async () => {
        const other = laptop.copy(kubectlBinary(kubectlVersions.find((v) => v !== version)));
        for (let i = 0; i < 3; i += 1) {
          for (const tool of [laptop, other]) {
            await tool.expire();
            await assertWorks(tool);
          }
        }
      });

      test('a kubeconfig that can’t be written: kubectl says so, and the session lives on', async () => {
        await laptop.expire();
        laptop.readOnly();
        for (let i = 0; i < 3; i += 1) {
          const { code, stderr } = await laptop.kubectl('get', 'nodes');
          assert.ok(code === 0 || /could not persist new tokens/.test(stderr), stderr);
        }
        laptop.readOnly(false);
        await assertWorks(laptop);
      });

      test('sign-out ends it, with a sentence that says what to do', async () => {
        await assertWorks(laptop);
        await signOut(ada);
        k8s.forget();
        const { code, stderr } = await laptop.kubectl('get', 'nodes', `--token=${(await laptop.credentials())['id-token']}`);
        assert.equal(code, 1);
        assert.match(stderr, /You must be logged in to the server/);
        await laptop.expire();
        await assertRefused(laptop, k8s.ended);
      });
    });
  }

  test('a group that is taken away at Okta is gone for kubectl, too', async () => {
    const person = k8s.world.okta.user('ada');
    const { groups } = person;
    const laptop = await k8s.laptop('1.35', await k8s.signIn('ada'));
    assert.equal((await laptop.must('auth', 'can-i', 'delete', 'pods')).trim(), 'yes');
    try {
      person.groups = ['Everyone'];
      const { stderr } = await eventually(() => { k8s.forget(); return laptop.kubectl('get', 'nodes'); }, ({ code }) => code !== 0);
      assert.match(stderr, /nodes is forbidden: User "00u1abcd2EFGH3ijk4l5"/);
      // Not one of the cluster's groups is left: neither tokens nor refreshes are of use, but the session waits.
      person.groups = ['Somebody'];
      await eventually(() => { k8s.forget(); return laptop.kubectl('get', 'nodes'); }, (answer) => /You must be logged in to the server/.test(answer.stderr));
      await laptop.expire();
      await assertRefused(laptop, 'you may not use this cluster');
    } finally {
      person.groups = groups;
    }
    await eventually(() => { k8s.forget(); return laptop.kubectl('get', 'nodes'); }, ({ code }) => code === 0);
  });

  test('a laptop whose clock is 45 s behind sends tokens that are over, and they are good', async () => {
    const laptop = await k8s.laptop('1.35', await k8s.signIn('ada'));
    const late = await signedByUs(k8s, (claims) => ({ ...claims, exp: nowS() - 45 }), (await laptop.credentials())['id-token']);
    assert.match(await laptop.must('get', 'nodes', `--token=${late}`), /node-1/);
    const tooLate = await signedByUs(k8s, (claims) => ({ ...claims, exp: nowS() - 75 }), late);
    assert.equal((await laptop.kubectl('get', 'nodes', `--token=${tooLate}`)).code, 1);
  });

  test('Okta is down: refreshes go on with what is known', async () => {
    const laptop = await k8s.laptop('1.20', await k8s.signIn('ada'));
    await assertWorks(laptop);
    await k8s.world.okta.down();
    try {
      await laptop.expire();
      await assertWorks(laptop);
    } finally {
      await k8s.world.okta.up();
    }
  });

  test('a crowd at work, and then nobody', async (t) => {
    const [, count, seconds] = /^(\d+)x(\d+)$/.exec(process.env.POSTERN_KUBECTLS ?? '10x20').map(Number);
    const ada = await k8s.signIn('ada');
    const laptops = [];
    for (let i = 0; i < count; i += 1) laptops.push(await k8s.laptop(kubectlVersions[i % 2], ada));
    const until = Date.now() + seconds * 1000;
    const refreshed = new Set();
    let calls = 0;
    await Promise.all(laptops.map(async (laptop) => {
      while (Date.now() < until) {
        await assertWorks(laptop);
        refreshed.add((await laptop.credentials())['id-token']);
        calls += 1;
        await later(1000);
      }
    }));
    t.diagnostic(`${count} kubectls, ${calls} calls, ${refreshed.size} tokens`);
    assert.ok(refreshed.size > count, 'tokens ran out while they worked');
    await signOut(ada);
    await Promise.all(laptops.map(async (laptop) => {
      await laptop.expire();
      await assertRefused(laptop, k8s.ended);
    }));
  });
});

/** A token as Postern signs it, with other claims. */
async function signedByUs({ world }, change, like) {
  const directory = world.postern.config.tokens.keys_directory;
  const [file] = readdirSync(directory).filter((name) => name.endsWith('.json'));
  const { kid, private_key: pem } = JSON.parse(readFileSync(path.join(directory, file), 'utf8'));
  return new SignJWT(change(claimsOf(like))).setProtectedHeader({ alg: 'ES256', kid, typ: 'JWT' }).sign(await importPKCS8(pem, 'ES256'));
}

describe('a cluster in OIDC mode', { timeout: 240_000 }, () => {
  let k8s;
  before(async () => {
    k8s = await Kubernetes.start({
      authenticator: Kubernetes.byKeys,
      change: (config) => {
        config.tokens.lifetime = '5m';
        config.clusters[0].authentication = 'oidc';
      },
    });
  });
  after(() => k8s.close());

  /** Ten minutes pass for the signing keys. */
  function age() {
    const directory = k8s.world.postern.config.tokens.keys_directory;
    for (const name of readdirSync(directory).filter((file) => file.endsWith('.json'))) {
      const key = JSON.parse(readFileSync(path.join(directory, name), 'utf8'));
      key.created_at_ms -= 600_000;
      key.sign_from_ms -= 600_000;
      writeFileSync(path.join(directory, '.aged'), JSON.stringify(key), { mode: 0o600 });
      renameSync(path.join(directory, '.aged'), path.join(directory, name));
    }
  }

  const kidOf = (token) => JSON.parse(Buffer.from(token.split('.')[0], 'base64url')).kid;

  for (const version of kubectlVersions) {
    test(`${version}: works by our keys alone, and through a rotation of them`, async () => {
      const ada = await k8s.signIn('ada');
      const laptop = await k8s.laptop(version, ada);
      await assertWorks(laptop);
      const old = kidOf((await laptop.credentials())['id-token']);
      const { code, stderr } = await runPostern(['keys', 'rotate', '-c', k8s.world.postern.configFile]);
      assert.equal(code, 0, stderr);
      age();
      await eventually(async () => kidOf((await getToken(ada)).id_token), (kid) => kid !== old);
      k8s.aheadMs += 31_000; // the JWKS may be fetched again
      await laptop.expire();
      await assertWorks(laptop);
      assert.notEqual(kidOf((await laptop.credentials())['id-token']), old);
      await signOut(ada);
      await laptop.expire();
      await assertRefused(laptop, k8s.ended);
    });
  }

  test('the person is who RBAC knows, with groups', async () => {
    const laptop = await k8s.laptop('1.35', await k8s.signIn('ada'));
    const { userInfo } = JSON.parse(await laptop.must('auth', 'whoami', '-o', 'json')).status;
    assert.equal(userInfo.username, '00u1abcd2EFGH3ijk4l5');
    assert.deepEqual(userInfo.groups.toSorted(), ['k8s-admins', 'k8s-viewers', 'system:authenticated']);
  });
});

test('a kubeconfig session that nobody uses ends, and kubectl says where to sign in', { timeout: 240_000 }, async () => {
  const { k8s, laptop } = unused;
  await k8s.world.postern.logLine((line) => line.event === 'session_ended' && line.reason === 'idle_too_long');
  await laptop.expire();
  await assertRefused(laptop, k8s.ended);
});
