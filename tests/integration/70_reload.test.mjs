// SIGHUP and changed files: what is taken over, what is refused, and that nobody notices.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { copyFileSync, mkdirSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import http2 from 'node:http2';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import tls from 'node:tls';

import { freePorts, writeConfig } from '../support/config.mjs';
import { tokenReview } from '../support/http.mjs';
import { startOkta } from '../support/okta.mjs';
import { startWorld } from '../support/postern.mjs';
import { getToken, isSignedIn, signInAtOkta, startSignIn } from '../support/sign_in.mjs';

const dirOf = (config) => path.dirname(config.store.path);

/** Facts stay good and tokens live for the whole file, so that only a reload changes an answer. */
function calm(config) {
  config.identity = { fresh: '5m', max_age: '10m', stale_if_error: '20m' };
  config.tokens.lifetime = '10m';
}

/** SIGHUP, after the config was changed; the line that says what came of it. */
async function reload(world, change) {
  const { postern } = world;
  if (change) {
    change(postern.config);
    await writeConfig(postern.configFile, postern.config);
  }
  const from = postern.process.lines.length;
  postern.process.kill('SIGHUP');
  return postern.logLine((r) => /^reload/.test(r.message), from);
}

async function assertReloads(world, change) {
  const line = await reload(world, change);
  assert.equal(line.message, 'reloaded', JSON.stringify(line));
  return line;
}

/** A change that must be refused with that reason; it is taken back. */
async function assertRefused(world, change, reason) {
  const { config } = world.postern;
  const before = structuredClone(config);
  const line = await reload(world, change);
  assert.equal(line.level, 'error');
  assert.match(line.message, /refused/);
  assert.match(line.reason, reason);
  for (const key of Object.keys(config)) delete config[key];
  Object.assign(config, before);
  await writeConfig(world.postern.configFile, config);
}

/** The serial number of the certificate that a listener shows. */
function serialAt(url, options) {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = tls.connect({ host: hostname, port, servername: 'localhost', ...options }, () => {
      resolve(socket.getPeerCertificate().serialNumber);
      socket.destroy();
    });
    socket.on('error', reject);
  });
}

/** One HTTP/2 connection that is never made anew. */
class Connection {
  constructor(world, { cert, key }) {
    this.session = http2.connect(world.postern.webhookUrl, { ca: world.ca, cert, key });
    this.session.on('error', () => {});
    this.closed = new Promise((resolve) => { this.session.once('close', resolve); });
  }

  ask(token, cluster = 'kubernetes') {
    return new Promise((resolve, reject) => {
      const stream = this.session.request({ ':method': 'POST', ':path': `/tokenreview/${cluster}`, 'content-type': 'application/json' });
      let status;
      let text = '';
      stream.setEncoding('utf8').on('response', (h) => { status = h[':status']; }).on('data', (t) => { text += t; });
      stream.on('error', reject).on('close', () => (status ? resolve({ status, review: status === 200 ? JSON.parse(text).status : undefined }) : reject(new Error('no answer'))));
      stream.end(JSON.stringify(tokenReview(token)));
    });
  }
}

describe('a reload', { timeout: 240_000 }, () => {
  let world;
  let ada;
  let token;
  const files = {};
  before(async () => {
    world = await startWorld({
      change: (config) => {
        calm(config);
        for (const listener of ['portal', 'webhook']) {
          const { tls: t } = config[listener];
          files[listener] = { cert: path.join(dirOf(config), `${listener}.pem`), key: path.join(dirOf(config), `${listener}.key`) };
          copyFileSync(t.certificate_file, files[listener].cert);
          copyFileSync(t.key_file, files[listener].key);
          Object.assign(t, { certificate_file: files[listener].cert, key_file: files[listener].key });
        }
      },
    });
    ada = await world.signIn('ada');
    token = (await getToken(ada)).id_token;
  });
  after(() => world.close());

  const review = () => world.review(token, { path: '/tokenreview/kubernetes' });
  const assertGood = async () => assert.equal((await review()).authenticated, true);
  const client = () => world.pki.clients.apiserver;
  const newCertificate = (name) => world.pki.serverCa.issue(name, { cn: 'localhost', san: 'DNS:localhost,IP:127.0.0.1', eku: 'serverAuth' });
  const install = (listener, issued) => {
    writeFileSync(files[listener].cert, issued.cert);
    writeFileSync(files[listener].key, issued.key);
  };

  test('with nothing changed: a line, a count, and nothing else', async () => {
    const line = await assertReloads(world);
    assert.equal(line.config_changed, false);
    assert.equal(line.provider_changed, false);
    assert.match(await world.postern.metrics(), /^postern_reloads_total\{result="done"\} 1$/m);
    await assertGood();
    assert.equal(await isSignedIn(ada), true);
  });

  test('renewed certificates: new connections see them, an open one goes on', async () => {
    const open = new Connection(world, client());
    assert.equal((await open.ask(token)).review.authenticated, true);
    const options = { ca: world.ca, cert: client().cert, key: client().key };
    const old = [await serialAt(world.postern.url, options), await serialAt(world.postern.webhookUrl, options)];
    install('portal', await newCertificate('portal-renewed'));
    install('webhook', await newCertificate('webhook-renewed'));
    await assertReloads(world);
    const fresh = [await serialAt(world.postern.url, options), await serialAt(world.postern.webhookUrl, options)];
    assert.notEqual(fresh[0], old[0]);
    assert.notEqual(fresh[1], old[1]);
    assert.equal((await open.ask(token)).review.authenticated, true);
    open.session.close();
  });

  test('peers 57: what TLS refused before it refuses after a reload', async () => {
    const { cert, key } = client();
    const { wrongCa, expired, serverOnly } = world.pki.clients;
    await assertReloads(world);
    for (const url of [world.postern.url, world.postern.webhookUrl]) {
      await assert.rejects(serialAt(url, { ca: world.ca, cert, key, minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' }));
    }
    for (const bad of [wrongCa, expired, serverOnly]) {
      const connection = new Connection(world, bad);
      await assert.rejects(connection.ask(token));
    }
    await assert.rejects(new Connection(world, {}).ask(token));
    await assertGood();
  });

  test('a bad config is refused whole, and every complaint is named', async () => {
    await assertRefused(world, (config) => {
      config.clusters.push({ name: 'added', audience: 'added', client_names: ['added'] });
      config.users.groups_include = ['('];
    }, /groups_include/);
    const added = await world.reviewer().request({ path: '/tokenreview/added', body: tokenReview(token) });
    assert.equal(added.status, 404);
    await assertRefused(world, (config) => { config.nonsense = { x: 'y' }; }, /nonsense/);
    await assertGood();
    assert.equal(await isSignedIn(ada), true);
    assert.match(await world.postern.metrics(), /^postern_reloads_total\{result="refused"\} 2$/m);
  });

  test('bad files are refused: a key of another certificate, an expired one, no secret, a CA that is none', async () => {
    const options = { ca: world.ca, cert: client().cert, key: client().key };
    const serial = await serialAt(world.postern.webhookUrl, options);
    const { expiredServer } = world.pki;
    await assertRefused(world, (config) => {
      config.webhook.tls.key_file = world.pki.portal.keyFile;
      config.oidc.client_secret_file = path.join(dirOf(config), 'nowhere');
    }, /webhook\.tls.*\n?.*client_secret_file/s);
    await assertRefused(world, (config) => {
      config.portal.tls = { certificate_file: expiredServer.certFile, key_file: expiredServer.keyFile };
    }, /expired/);
    await assertRefused(world, (config) => { config.webhook.tls.client_ca_file = config.oidc.client_secret_file; }, /webhook\.tls/);
    await assertRefused(world, (config) => { config.oidc.certificate_authority_file = config.oidc.client_secret_file; }, /certificate_authority_file/);
    assert.equal(await serialAt(world.postern.webhookUrl, options), serial);
    await assertGood();
  });

  test('what can’t change under a running server needs a restart', async () => {
    const cases = [
      [/portal\.listen/, (config) => { config.portal.listen = '127.0.0.1:1'; }],
      [/webhook\.listen/, (config) => { config.webhook.listen = '127.0.0.1:1'; }],
      [/operations\.listen/, (config) => { config.operations.listen = '127.0.0.1:1'; }],
      [/portal\.url/, (config) => { config.portal.url = 'https://elsewhere.example'; }],
      [/portal\.issuer_path/, (config) => { config.portal.issuer_path = '/elsewhere'; }],
      [/store\.path/, (config) => { config.store.path = `${config.store.path}.other`; }],
      [/store\.kind/, (config) => { config.store.kind = 'memory'; }],
      [/tokens\.keys_directory/, (config) => { config.tokens.keys_directory = '/tmp'; }],
      [/workers/, (config) => { config.workers = 7; }],
      [/webhook/, (config) => { delete config.webhook; }],
    ];
    for (const [what, change] of cases) await assertRefused(world, change, new RegExp(`${what.source}.*needs a restart`, 's'));
    await assertGood();
  });

  test('groups_include counts at once, also while Okta is away', async () => {
    const groups = async () => (await review()).user.groups.toSorted();
    assert.deepEqual(await groups(), ['k8s-admins', 'k8s-viewers']);
    await world.okta.down();
    await assertReloads(world, (config) => { config.users.groups_include = ['^k8s-v']; config.users.groups_prefix = 'okta:'; });
    assert.deepEqual(await groups(), ['okta:k8s-viewers']);
    await assertReloads(world, (config) => { config.users.allowed_groups = ['nobody']; });
    assert.equal((await review()).authenticated, false);
    await assertReloads(world, (config) => { config.users = { groups_include: ['^k8s-'] }; });
    assert.deepEqual(await groups(), ['k8s-admins', 'k8s-viewers']);
    await world.okta.up();
  });

  test('a cluster comes and goes', async () => {
    const path_ = '/tokenreview/added';
    await assertReloads(world, (config) => { config.clusters.push({ name: 'added', audience: 'added', client_names: ['kube-apiserver.staging'] }); });
    const { id_token: theirs } = await getToken(ada, 'added');
    const reviewer = world.reviewer('otherCluster');
    assert.equal((await reviewer.review(theirs, { path: path_ })).authenticated, true);
    assert.match(await world.postern.metrics(), /postern_reviews_total\{cluster="added",decision="yes",reason="ok"\} 1/);
    await assertReloads(world, (config) => { config.clusters.pop(); });
    assert.equal((await reviewer.request({ path: path_, body: tokenReview(theirs) })).status, 404);
    await assertGood();
  });

  test('an open connection is judged by the client CAs of now', async () => {
    const [ours, theirs] = [client(), world.pki.clients.wrongCa];
    const other = { name: 'other', audience: 'other', client_names: ['kube-apiserver.other'], client_ca_file: world.pki.otherCa.certFile };
    const kubernetes = { ...world.postern.config.clusters[0] };
    // The other CA comes first, so that what was bit 0 is now bit 1.
    await assertReloads(world, (config) => { config.clusters = [kubernetes]; });
    const open = new Connection(world, ours);
    assert.equal((await open.ask(token)).status, 200);
    await assertReloads(world, (config) => { config.clusters = [{ ...other, client_names: ['kube-apiserver.other'] }, kubernetes]; });
    assert.equal((await open.ask(token)).review.authenticated, true);
    await assertReloads(world, (config) => { config.clusters = [{ ...other, client_names: ['kube-apiserver'] }, { ...kubernetes, client_names: ['somebody'] }]; });
    assert.equal((await open.ask(token, 'other')).status, 403, 'a certificate of one CA passes for one of another');
    const foreign = new Connection(world, theirs);
    assert.equal((await foreign.ask(token, 'other')).status, 200);
    // Its CA goes: so does its connection.
    await assertReloads(world, (config) => { config.clusters = [kubernetes]; });
    await foreign.closed;
    await assert.rejects(new Connection(world, theirs).ask(token));
    assert.equal((await open.ask(token)).review.authenticated, true);
    open.session.close();
  });

  test('the limits of sessions count for those that there are', async () => {
    await assertGood();
    await assertReloads(world, (config) => { config.portal.session = { per_user: 2 }; });
    const newer = (await getToken(ada)).id_token;
    assert.equal((await review()).authenticated, false, 'a sign-in and two kubeconfig sessions are three');
    token = newer;
    await assertReloads(world, (config) => { delete config.portal.session; });
    await getToken(ada);
    await assertGood();
  });

  test('a rotated client secret is used from then on', async () => {
    const secretFile = world.postern.config.oidc.client_secret_file;
    const begin = async () => {
      const browser = world.browser();
      const callback = await signInAtOkta(browser, await startSignIn(browser), world.okta.user('grace'));
      return browser.get(callback);
    };
    writeFileSync(secretFile, 'not-the-secret\n');
    await assertReloads(world);
    assert.notEqual((await begin()).status, 303);
    writeFileSync(secretFile, `${world.okta.clientSecret}\n`);
    await assertReloads(world);
    assert.equal((await begin()).status, 303);
    await assertGood();
  });

  test('seal keys rotate under a sign-in that is under way; the old one may go later, not now', async () => {
    const [first] = world.postern.config.store.seal_key_files;
    const second = path.join(dirOf(world.postern.config), 'seal-2.key');
    writeFileSync(second, `${randomBytes(32).toString('base64')}\n`, { mode: 0o600 });
    const browser = world.browser();
    const callback = await signInAtOkta(browser, await startSignIn(browser), world.okta.user('grace'));
    await assertRefused(world, (config) => { config.store.seal_key_files = [second]; }, /seal_key_files.*still name/s);
    await assertReloads(world, (config) => { config.store.seal_key_files = [second, first]; });
    assert.equal((await browser.get(callback)).status, 303);
    await world.postern.restart();
    await assertGood();
    assert.equal(await isSignedIn(ada), true);
  });

  test('the same callback is no good twice, reload or not', async () => {
    const browser = world.browser();
    const callback = await signInAtOkta(browser, await startSignIn(browser), world.okta.user('grace'));
    const copy = browser.clone();
    assert.equal((await browser.get(callback)).status, 303);
    await assertReloads(world, (config) => { config.portal.title = 'Renamed'; });
    assert.equal((await copy.get(callback)).status, 400);
    assert.match((await world.browser().get('/')).text, /Renamed/);
  });

  test('files that change are noticed without a signal, as Kubernetes changes them', async () => {
    const mount = path.join(dirOf(world.postern.config), 'mount');
    const put = (version, issued) => {
      mkdirSync(path.join(mount, version), { recursive: true });
      writeFileSync(path.join(mount, version, 'tls.crt'), issued.cert);
      writeFileSync(path.join(mount, version, 'tls.key'), issued.key, { mode: 0o600 });
      symlinkSync(version, path.join(mount, '..data-new'));
      renameSync(path.join(mount, '..data-new'), path.join(mount, '..data'));
    };
    put('..1', await newCertificate('mounted-1'));
    await assertReloads(world, (config) => {
      config.portal.tls = { certificate_file: path.join(mount, '..data/tls.crt'), key_file: path.join(mount, '..data/tls.key') };
    });
    const old = await serialAt(world.postern.url, { ca: world.ca });
    const from = world.postern.process.lines.length;
    put('..2', await newCertificate('mounted-2'));
    await world.postern.logLine((r) => r.message === 'reloaded', from);
    assert.notEqual(await serialAt(world.postern.url, { ca: world.ca }), old);
    // The config itself, too; and one that is refused is told once, until it changes again.
    const again = world.postern.process.lines.length;
    writeFileSync(world.postern.configFile, 'nonsense: [');
    await world.postern.logLine((r) => /refused/.test(r.message), again);
    await writeConfig(world.postern.configFile, world.postern.config);
    await world.postern.logLine((r) => r.message === 'reloaded', again);
    const told = world.postern.process.lines.slice(again).filter((line) => line.includes('reload refused'));
    assert.equal(told.length, 1);
    await assertGood();
  });
});

describe('another provider', { timeout: 240_000 }, () => {
  let world;
  let second;
  before(async () => {
    world = await startWorld({ change: calm });
    const [port] = await freePorts(1);
    second = await startOkta({ tls: world.pki.okta, port, portal: world.postern.url, clientId: '0oa2another' });
  });
  after(async () => {
    await world.close();
    await second.close();
  });

  const endedBy = (reason) => world.postern.process.records.filter((r) => r.event === 'session_ended' && r.reason === reason);

  test('peers 60: another client id ends every session, and nothing brings them back', async () => {
    const ada = await world.signIn('ada');
    const grace = await world.signIn('grace');
    const tokens = [(await getToken(ada)).id_token, (await getToken(grace)).id_token];
    for (const token of tokens) assert.equal((await world.review(token)).authenticated, true);
    const revoked = world.okta.count('revocation');
    const original = world.postern.config.oidc.client_id;
    const line = await assertReloads(world, (config) => { config.oidc.client_id = 'another'; });
    assert.equal(line.provider_changed, true);
    for (const token of tokens) assert.equal((await world.review(token)).authenticated, false);
    for (const browser of [ada, grace]) assert.equal(await isSignedIn(browser), false);
    assert.equal(endedBy('provider_changed').length, 2);
    assert.equal(endedBy('parent_ended').length, 2);
    assert.match(await world.postern.metrics(), /^postern_sessions\{kind="login"\} 0$/m);
    await assertReloads(world, (config) => { config.oidc.client_id = original; });
    await world.postern.restart();
    for (const token of tokens) assert.equal((await world.review(token)).authenticated, false);
    assert.equal(world.okta.count('revocation'), revoked);
  });

  test('peers 60: another issuer; whoever was on the way there is not let in', async () => {
    const ada = await world.signIn('ada');
    const { id_token: token } = await getToken(ada);
    // One person stands at the old Okta, another's code is being exchanged there.
    const late = world.browser();
    const callback = await signInAtOkta(late, await startSignIn(late), world.okta.user('grace'));
    const inFlight = world.browser();
    const their = await signInAtOkta(inFlight, await startSignIn(inFlight), world.okta.user('ada'));
    const held = world.okta.hold('userinfo');
    const landing = inFlight.get(their);
    await held.arrived;
    await assertReloads(world, (config) => {
      Object.assign(config.oidc, { issuer: second.issuer, client_id: second.clientId });
      writeFileSync(config.oidc.client_secret_file, `${second.clientSecret}\n`);
    });
    held.release();
    assert.notEqual((await landing).status, 303);
    assert.notEqual((await late.get(callback)).status, 303);
    assert.equal((await world.review(token)).authenticated, false);
    assert.equal(await isSignedIn(ada), false);
    assert.match(await world.postern.metrics(), /^postern_sessions\{kind="login"\} 0$/m);
    assert.equal(second.count('userinfo'), 0);
    assert.equal(second.count('revocation'), 0);
    const browser = world.browser();
    const address = await startSignIn(browser);
    assert.equal(address.origin, second.issuer);
    assert.equal((await browser.get(await signInAtOkta(browser, address, second.user('ada')))).status, 303);
    assert.equal((await world.review((await getToken(browser)).id_token)).authenticated, true);
  });
});

describe('many reloads', { timeout: 240_000 }, () => {
  let world;
  before(async () => { world = await startWorld({ change: calm }); });
  after(() => world.close());

  test('fifty in a row under a stream of TokenReviews and sign-ins: none is lost or wrong', async () => {
    const ada = await world.signIn('ada');
    const { id_token: token } = await getToken(ada);
    let goOn = true;
    let asked = 0;
    const stream = async () => {
      const connection = new Connection(world, world.pki.clients.apiserver);
      while (goOn) {
        const { status, review } = await connection.ask(token);
        assert.equal(status, 200);
        assert.equal(review.authenticated, true);
        assert.ok(review.user.groups.length === 2 || review.user.groups.length === 1);
        asked += 1;
      }
      connection.session.close();
    };
    const newConnections = async () => {
      while (goOn) {
        const connection = new Connection(world, world.pki.clients.apiserver);
        assert.equal((await connection.ask(token)).review.authenticated, true);
        connection.session.close();
      }
    };
    const signIns = async () => {
      while (goOn) await getToken(await world.signIn('grace'));
    };
    const load = [stream(), stream(), stream(), newConnections(), signIns()];
    for (let i = 0; i < 50; i += 1) {
      await assertReloads(world, (config) => {
        if (i % 3 !== 2) config.users.groups_include = [i % 3 ? '^k8s-' : '^k8s-v'];
        config.portal.title = `Reload ${i}`;
      });
    }
    goOn = false;
    await Promise.all(load);
    assert.ok(asked > 50, `${asked} reviews`);
    assert.deepEqual((await world.review(token)).user.groups.length, 2);
  });
});
