// The portal behind somebody else: whose word about a client counts, and whose does not (protocols D11).
import assert from 'node:assert/strict';
import http from 'node:http';
import net from 'node:net';
import { after, before, describe, test } from 'node:test';
import tls from 'node:tls';

import { balancerAddress, startLineBalancer, startTlsProxy } from '../support/balancer.mjs';
import { freePorts, writeConfig } from '../support/config.mjs';
import { readAnswer } from '../support/http.mjs';
import { meter } from '../support/metrics.mjs';
import { startWorld } from '../support/postern.mjs';
import { getToken, startSignIn } from '../support/sign_in.mjs';

const clientAddress = '127.0.0.9';

/** A world whose portal.url leads to a balancer, and the portal to another port. */
async function startBehind(change, startBalancer) {
  const [to] = await freePorts(1);
  const world = await startWorld({
    change: (config) => {
      config.portal.listen = `127.0.0.1:${to}`;
      config.portal.trusted_proxies = [balancerAddress];
      change(config);
    },
  });
  const balancer = await startBalancer?.({ port: world.postern.ports.portal, to, tls: world.pki.portal });
  return { world, to, balancer };
}

/** A browser on a machine of its own. */
function browserFrom(world, address = clientAddress) {
  const browser = world.browser();
  Object.assign(browser.agent.options, { localAddress: address, family: 4 });
  return browser;
}

/** One plain request to the portal itself: {status, headers, text}. */
function ask(port, { path = '/', from = '127.0.0.1', headers = {}, agent } = {}) {
  return new Promise((resolve, reject) => {
    http.get({ host: '127.0.0.1', port, path, headers, localAddress: from, agent: agent ?? false }, (res) => readAnswer(res).then(resolve, reject)).on('error', reject);
  });
}

/** The address that the portal saw in a request, by the number of its answer: {headers}, or the bare text. */
async function addressOf(world, pending) {
  const answer = await pending;
  const id = answer.headers?.['x-request-id'] ?? /^x-request-id: (\S+)/im.exec(answer)[1];
  const line = await world.postern.logLine((r) => r.message === 'access' && r.listener === 'portal' && r.request_id === id);
  return line.address;
}

async function reload(world, change) {
  const { postern } = world;
  const old = structuredClone(postern.config);
  change(postern.config);
  await writeConfig(postern.configFile, postern.config);
  const from = postern.process.lines.length;
  postern.process.kill('SIGHUP');
  const line = await postern.logLine((r) => /^reload/.test(r.message), from);
  if (line.message !== 'reloaded') {
    postern.config = old;
    await writeConfig(postern.configFile, old);
  }
  return line;
}

const audit = (world, event) => world.postern.logLine((r) => r.message === 'audit' && r.event === event);

describe('a plain portal behind a proxy that ends TLS', { timeout: 120_000 }, () => {
  let world;
  let to;
  let proxy;

  before(async () => {
    ({ world, to, balancer: proxy } = await startBehind((config) => { delete config.portal.tls; }, startTlsProxy));
  });
  after(async () => {
    await proxy?.close();
    await world?.close();
  });

  const trusted = (headers) => ({ from: balancerAddress, headers });

  test('people sign in, and every line has their own address', async () => {
    const browser = await world.signIn('ada', { browser: browserFrom(world) });
    const { id_token: token } = await getToken(browser);
    assert.equal((await world.review(token)).authenticated, true);
    assert.equal((await audit(world, 'sign_in')).address, clientAddress);
    assert.equal((await audit(world, 'token_issued')).address, clientAddress);
    const home = await browser.get('/profile');
    assert.equal(home.status, 200);
    assert.ok(home.headers['strict-transport-security']);
    assert.ok(browser.jar.get('__Host-postern').attributes.has('secure'));
  });

  test('peers 37: what a client writes into X-Forwarded-* itself changes nothing', async () => {
    const browser = browserFrom(world);
    const headers = { 'X-Forwarded-For': '203.0.113.1', 'X-Forwarded-Host': 'evil.example', Forwarded: 'for=203.0.113.2;host=evil.example' };
    assert.equal(await addressOf(world, browser.get('/profile', { headers })), clientAddress);
    const answer = await browser.get('/login', { headers });
    const redirect = new URL(new URL(answer.headers.location).searchParams.get('redirect_uri'));
    assert.equal(redirect.origin, world.postern.url);
  });

  test('peers 37: X-Forwarded-* of an untrusted address open no door', async () => {
    const headers = { 'X-Forwarded-For': balancerAddress, 'X-Forwarded-Proto': 'https', Forwarded: 'proto=https', Host: 'localhost' };
    const answer = await ask(to, { path: '/login', headers });
    assert.equal(await addressOf(world, answer), '127.0.0.1');
    assert.equal(answer.status, 403);
    assert.equal(answer.headers['set-cookie'], undefined);
    assert.match(answer.text, /trusted_proxies/);
    assert.equal(answer.headers.connection, 'close');
    assert.equal((await ask(to, { path: '/keys' })).status, 403);
    for (const path of ['/healthz', '/readyz']) assert.equal((await ask(to, { path })).status, 200);
  });

  test('what did not come over https is refused', async () => {
    for (const scheme of ['https', 'HTTPS']) {
      assert.equal((await ask(to, { path: '/login', ...trusted({ 'X-Forwarded-Proto': scheme }) })).status, 303);
    }
    const bad = [{}, ...['http', '', 'https,http', 'http, https', 'https, https', 'httpsx', 'wss', ['https', 'http'], ['https', 'https']]
      .map((value) => ({ 'X-Forwarded-Proto': value }))];
    for (const headers of bad) {
      const answer = await ask(to, { path: '/login', ...trusted(headers) });
      assert.equal(answer.status, 403, JSON.stringify(headers));
      assert.equal(answer.headers['set-cookie'], undefined);
      assert.match(answer.text, /X-Forwarded-Proto/);
    }
    const problem = await ask(to, { path: '/login', ...trusted({ Accept: 'application/json' }) });
    assert.equal(problem.status, 403);
    assert.equal(problem.headers['content-type'], 'application/problem+json');
  });

  test('a list that makes no sense: the proxy’s own address is logged', async () => {
    const of = (list) => addressOf(world, ask(to, { path: '/keys', ...trusted({ 'X-Forwarded-Proto': 'https', ...list }) }));
    assert.equal(await of({ 'X-Forwarded-For': '192.0.2.7, 2001:db8::7' }), '2001:db8::7');
    assert.equal(await of({ 'X-Forwarded-For': `192.0.2.7, ${balancerAddress}` }), '192.0.2.7');
    assert.equal(await of({ 'X-Forwarded-For': ['192.0.2.8', '192.0.2.7'] }), '192.0.2.7');
    assert.equal(await of({ 'X-Forwarded-For': '192.0.2.7, unknown' }), balancerAddress);
    assert.equal(await of({ 'X-Forwarded-For': `192.0.2.7${`, ${balancerAddress}`.repeat(2000)}` }), balancerAddress);
    assert.equal(await of({}), balancerAddress);
  });

  test('who is trusted changes by reload, at once; how we listen does not', async () => {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1, localAddress: balancerAddress });
    const kept = () => ask(to, { path: '/keys', from: balancerAddress, agent, headers: { 'X-Forwarded-Proto': 'https', 'X-Forwarded-For': '192.0.2.7' } });
    assert.equal((await kept()).status, 200);
    assert.equal((await reload(world, (config) => { config.portal.trusted_proxies = ['127.0.0.3', '2001:db8::/32']; })).message, 'reloaded');
    assert.equal((await kept()).status, 403);
    assert.equal((await reload(world, (config) => { config.portal.trusted_proxies = ['127.0.0.2/31']; })).message, 'reloaded');
    assert.equal((await kept()).status, 200);
    agent.destroy();

    const { certFile, keyFile } = world.pki.portal;
    const cases = [
      [/portal\.tls: was changed, which needs a restart/, (config) => { config.portal.tls = { certificate_file: certFile, key_file: keyFile }; }],
      [/portal\.proxy_protocol: was changed, which needs a restart/, (config) => { config.portal.proxy_protocol = true; }],
      [/portal\.tls: is missing/, (config) => { config.portal.trusted_proxies = []; }],
    ];
    for (const [reason, change] of cases) assert.match((await reload(world, change)).reason, reason);
    assert.equal((await ask(to, { path: '/keys', ...trusted({ 'X-Forwarded-Proto': 'https' }) })).status, 200);
  });
});

test('a portal with TLS of its own believes X-Forwarded-For of trusted proxies alone (peers 37)', { timeout: 60_000 }, async (t) => {
  const world = await startWorld({ change: (config) => { config.portal.trusted_proxies = [balancerAddress]; } });
  t.after(() => world.close());
  const headers = { 'X-Forwarded-For': '192.0.2.7', 'X-Forwarded-Proto': 'http' };
  const stranger = browserFrom(world);
  assert.equal(await addressOf(world, stranger.get('/keys', { headers })), clientAddress);
  const proxy = browserFrom(world, balancerAddress);
  assert.equal(await addressOf(world, proxy.get('/keys', { headers })), '192.0.2.7');
  await startSignIn(proxy);
});

describe('PROXY protocol', { timeout: 120_000 }, () => {
  let world;
  let to;
  let balancer;

  before(async () => {
    ({ world, to, balancer } = await startBehind((config) => { config.portal.proxy_protocol = true; }, startLineBalancer));
  });
  after(async () => {
    await balancer?.close();
    await world?.close();
  });

  const connect = (from) => new Promise((resolve, reject) => {
    const socket = net.connect({ host: '127.0.0.1', port: to, localAddress: from }, () => resolve(socket));
    socket.on('error', reject);
  });
  const closed = (socket) => new Promise((resolve) => {
    socket.on('error', () => {}).once('close', resolve).resume();
  });
  const line = (client = '192.0.2.7', family = 'TCP4', server = '10.0.0.1') => `PROXY ${family} ${client} ${server} 4711 8443\r\n`;

  /** GET /keys over TLS on that socket; the answer's text. */
  function get(socket, headers = '') {
    return new Promise((resolve, reject) => {
      const secure = tls.connect({ socket, ca: world.ca, servername: 'localhost' }, () => {
        secure.write(`GET /keys HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n${headers}\r\n`);
      });
      let text = '';
      secure.setEncoding('utf8').on('data', (chunk) => { text += chunk; }).on('end', () => resolve(text)).on('error', reject);
    });
  }

  test('people sign in, and every line has their own address', async () => {
    const browser = await world.signIn('ada', { browser: browserFrom(world) });
    await getToken(browser);
    assert.equal((await audit(world, 'sign_in')).address, clientAddress);
    assert.equal((await audit(world, 'token_issued')).address, clientAddress);
  });

  test('peers 37: X-Forwarded-For of whom the line names is not believed', async () => {
    const browser = browserFrom(world);
    const headers = { 'X-Forwarded-For': '203.0.113.1' };
    assert.equal(await addressOf(world, browser.get('/keys', { headers })), clientAddress);
  });

  test('lines of both families, UNKNOWN, in pieces', async () => {
    const of = async (bytes, headers) => {
      const socket = await connect(balancerAddress);
      socket.setNoDelay(true);
      for (const part of bytes) await new Promise((resolve) => { socket.write(part, () => setImmediate(resolve)); });
      return addressOf(world, get(socket, headers));
    };
    assert.equal(await of([line()]), '192.0.2.7');
    assert.equal(await of([line('2001:db8::7', 'TCP6', '::1')]), '2001:db8::7');
    assert.equal(await of([...line()]), '192.0.2.7');
    assert.equal(await of(['PROXY UNKNOWN\r\n']), '');
    assert.equal(await of(['PROXY UNKNOWN\r\n'], 'X-Forwarded-For: 203.0.113.1\r\n'), '');
    assert.equal(await of([line(balancerAddress)], 'X-Forwarded-For: 192.0.2.8\r\n'), '192.0.2.8');
  });

  test('peers 37: a line from anybody else closes the connection', async () => {
    const grown = await meter(world.postern);
    for (let i = 0; i < 20; i += 1) {
      const socket = await connect('127.0.0.1');
      const end = closed(socket);
      socket.write(line());
      await end;
      assert.equal(socket.bytesRead, 0);
    }
    assert.equal(await grown('postern_connections_ended_total', { listener: 'portal', reason: 'untrusted' }), 20);
    const isSaid = (r) => r.message === 'connections closed: not from a trusted proxy';
    assert.equal((await world.postern.logLine(isSaid)).address, '127.0.0.1');
    assert.ok(world.postern.process.records.filter(isSaid).length <= 4, 'one line for each worker, of twenty connections');
  });

  test('no line, a garbled one, a long one: closed', async () => {
    const grown = await meter(world.postern);
    const bad = ['GET / HTTP/1.1\r\n\r\n', 'PROXY TCP4 999.0.2.7 10.0.0.1 4711 8443\r\n', `PROXY UNKNOWN ${'x'.repeat(200)}`,
      '\r\n\r\n\0\r\nQUIT\n', `${line().slice(0, -2)}\n`];
    for (const bytes of bad) {
      const socket = await connect(balancerAddress);
      const end = closed(socket);
      socket.write(bytes, 'latin1');
      await end;
      assert.equal(socket.bytesRead, 0, bytes);
    }
    assert.equal(await get(await connect(balancerAddress)).catch(() => ''), '', 'TLS without a line');
    assert.equal(await grown('postern_connections_ended_total', { listener: 'portal', reason: 'proxy_line' }), bad.length + 1);
  });

  test('a line that never ends is not waited for', async () => {
    const silent = await connect(balancerAddress);
    const slow = await connect(balancerAddress);
    const ends = [closed(silent), closed(slow)];
    slow.write('PROXY TCP4 ');
    await Promise.all(ends);
  });

  test('whoever is not trusted any more is cut off', async () => {
    const socket = await connect(balancerAddress);
    socket.write(line());
    const secure = tls.connect({ socket, ca: world.ca, servername: 'localhost' });
    await new Promise((resolve) => { secure.once('secureConnect', resolve); });
    const end = closed(secure);
    assert.equal((await reload(world, (config) => { config.portal.trusted_proxies = ['127.0.0.3']; })).message, 'reloaded');
    await end;
    const other = await connect(balancerAddress);
    await closed(other);
    assert.equal((await reload(world, (config) => { config.portal.trusted_proxies = [balancerAddress]; })).message, 'reloaded');
    const again = await connect(balancerAddress);
    again.write(line());
    assert.match(await get(again), /^HTTP\/1\.1 200 /);
  });
});

test('PROXY protocol in front of a plain portal: the proxy ends TLS and speaks no HTTP', { timeout: 60_000 }, async (t) => {
  const { world, to } = await startBehind((config) => {
    delete config.portal.tls;
    config.portal.proxy_protocol = true;
  });
  t.after(() => world.close());
  const get = (headers) => new Promise((resolve, reject) => {
    const socket = net.connect({ host: '127.0.0.1', port: to, localAddress: balancerAddress }, () => {
      socket.write(`PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\nGET /login HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n${headers}\r\n`);
    });
    let text = '';
    socket.setEncoding('utf8').on('data', (chunk) => { text += chunk; }).on('end', () => resolve(text)).on('error', reject);
  });
  const answer = await get('');
  assert.match(answer, /^HTTP\/1\.1 303 /);
  assert.equal(await addressOf(world, answer), '192.0.2.7');
  assert.match(await get('X-Forwarded-Proto: https\r\n'), /^HTTP\/1\.1 303 /);
  assert.match(await get('X-Forwarded-Proto: http\r\n'), /^HTTP\/1\.1 403 /);
});
