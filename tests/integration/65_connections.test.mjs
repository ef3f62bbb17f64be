// Attacks on the listeners by those who may connect: what they hold is bounded, they are cut off where they
// overdo it, and everybody else is served meanwhile.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { after, afterEach, before, describe, test } from 'node:test';
import tls from 'node:tls';

import { startApps } from '../support/apps_world.mjs';
import { eventually } from '../support/eventually.mjs';
import { ReviewClient, request, tokenReview } from '../support/http.mjs';
import { meter } from '../support/metrics.mjs';
import { plainGet, startWorld } from '../support/postern.mjs';
import * as h2 from '../support/raw_h2.mjs';
import { getToken, signIn } from '../support/sign_in.mjs';

const MiB = 1 << 20;

/** A figure of /proc/PID/status in bytes. */
function memory(pid, name) {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)[1]) * 1024;
}

/** Runs something, and tells by how much the process was larger at its largest. */
async function peakOf(pid, run) {
  writeFileSync(`/proc/${pid}/clear_refs`, '5'); // the peak begins anew
  const earlier = memory(pid, 'VmRSS');
  await run();
  return memory(pid, 'VmHWM') - earlier;
}

/** Fails where that is more than so many MiB. ThreadSanitizer's own memory is four times that of the program. */
function assertBounded(pid, peak, limit) {
  const factor = readFileSync(`/proc/${pid}/maps`, 'utf8').includes('libtsan') ? 5 : 1;
  assert.ok(peak < factor * limit * MiB, `it grew by ${Math.round(peak / MiB)} MiB`);
}

/** CPU time in clock ticks, all threads. */
function cpuTicks(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /, '').split(' ');
  return Number(fields[11]) + Number(fields[12]);
}

// AddressSanitizer keeps what was freed, which is not what this measures.
const measurable = { ASAN_OPTIONS: 'quarantine_size_mb=1:thread_local_quarantine_size_kb=64' };

describe('attacks on the webhook with a good certificate', { timeout: 180_000 }, () => {
  let world;
  let token;
  let pid;
  before(async () => {
    world = await startWorld({ env: measurable, change: (config) => {
      config.identity = { fresh: '1ms', max_age: '1ms', stale_if_error: '10m' };
      config.tokens.lifetime = '10m';
    } });
    token = (await getToken(await world.signIn('ada'))).id_token;
    pid = world.postern.process.pid;
  });
  after(() => world.close());
  // Whatever happened: the others are answered, and the process is whole.
  afterEach(async () => {
    assert.equal((await world.review(token)).authenticated, true);
    assert.equal(world.postern.process.ended, undefined);
  });

  const certificate = () => ({ ca: world.ca, cert: world.pki.clients.apiserver.cert, key: world.pki.clients.apiserver.key });
  const attack = (options) => h2.RawH2.connect(world.postern.webhookUrl, certificate(), options);
  const reviewOf = (bearer) => Buffer.from(JSON.stringify(tokenReview(bearer)));

  /** Sends until the connection is cut; fails when it never is. `next(i)` makes the bytes of step i. */
  async function assertCut(connection, reason, next, steps) {
    const grown = await meter(world.postern);
    let open = true;
    for (let i = 0; open && i < steps; i += 1) {
      open = await connection.write(next(i));
      // Others go on while it lasts.
      if (i % 10 === 0) assert.equal((await world.review('junk')).authenticated, false);
    }
    await connection.closed;
    assert.equal(await grown('postern_connections_ended_total', { listener: 'webhook', reason }), 1, reason);
    await world.postern.logLine((r) => r.message === 'connection ended' && r.reason === reason);
  }

  const thousands = 200; // batches of a hundred
  const batch = (i, make) => Buffer.concat(Array.from({ length: 100 }, (_, k) => make(1 + 2 * (100 * i + k))));
  const whole = (stream, bearer) => Buffer.concat([h2.headerFrames(stream, h2.reviewHead()), h2.frame(h2.DATA, h2.END_STREAM, stream, reviewOf(bearer))]);

  test('peers 25: rapid reset (CVE-2023-44487) is cut', async () => {
    const cancel = (stream) => h2.frame(h2.RST_STREAM, 0, stream, h2.uint32(8));
    await assertCut(await attack(), 'resets', (i) => batch(i, (stream) => Buffer.concat([whole(stream, 'junk'), cancel(stream)])), thousands);
  });

  test('peers 25: rapid reset of reviews that wait for Okta is cut', async () => {
    const held = world.okta.hold('userinfo');
    try {
      const cancel = (stream) => h2.frame(h2.RST_STREAM, 0, stream, h2.uint32(8));
      await assertCut(await attack(), 'resets', (i) => batch(i, (stream) => Buffer.concat([whole(stream, token), cancel(stream)])), thousands);
    } finally {
      held.release();
    }
  });

  test('peers 25: MadeYouReset (CVE-2025-8671) is cut', async () => {
    const zeroUpdate = (stream) => h2.frame(h2.WINDOW_UPDATE, 0, stream, h2.uint32(0));
    await assertCut(await attack(), 'resets', (i) => batch(i, (stream) => Buffer.concat([whole(stream, 'junk'), zeroUpdate(stream)])), thousands);
  });

  // A byte of input is one header, and forty bytes of memory or more.
  const bomb = Buffer.concat([h2.reviewHead(), Buffer.alloc(400_000, 0x90)]);
  const bombs = {
    'on streams that stay open': (stream) => h2.headerFrames(stream, bomb),
    'as complete requests': (stream) => h2.headerFrames(stream, bomb, { endStream: true }),
    'with a complete request between': (stream) => Buffer.concat([h2.headerFrames(stream, bomb), whole(stream + 50_000, 'junk')]),
    'with 50 complete requests between': (stream) => Buffer.concat([h2.headerFrames(100 * stream + 1, bomb),
      ...Array.from({ length: 50 }, (_, k) => h2.headerFrames(100 * stream + 3 + 2 * k, h2.reviewHead(), { endStream: true }))]),
  };
  for (const [what, make] of Object.entries(bombs)) {
    test(`peers 25: an HPACK bomb ${what} is cut in bounded memory`, async () => {
      const connection = await attack();
      const peak = await peakOf(pid, () => assertCut(connection, 'flood', (i) => make(1 + 2 * i), 95));
      assertBounded(pid, peak, 200);
    });
  }

  test('peers 25: a CONTINUATION flood is cut', async () => {
    const connection = await attack();
    const peak = await peakOf(pid, async () => {
      let open = await connection.write(h2.headerFrames(1, h2.reviewHead(), { endHeaders: false }));
      const more = h2.frame(h2.CONTINUATION, 0, 1, Buffer.concat(Array.from({ length: 300 }, () => h2.literal('x-y', 'z'.repeat(40)))));
      for (let i = 0; open && i < 5000; i += 1) open = await connection.write(more);
      await connection.closed;
    });
    assertBounded(pid, peak, 50);
  });

  test('peers 25: 10,000 streams at once are a hundred', async () => {
    const connection = await attack();
    await assertCut(connection, 'flood', (i) => batch(i, (stream) => h2.headerFrames(stream, h2.reviewHead())), 10_000);
  });

  test('frames that mean nothing: pings, settings, priorities and unknown ones in bulk', async () => {
    const connection = await attack();
    const junk = Buffer.concat(Array.from({ length: 50 }, (_, i) => Buffer.concat([
      h2.frame(h2.PING, 0, 0, Buffer.alloc(8)), h2.frame(h2.SETTINGS, 0, 0), h2.frame(2, 0, 1001 + 2 * i, Buffer.alloc(5)), h2.frame(0xbe, 0, 0, Buffer.alloc(100))])));
    const peak = await peakOf(pid, async () => {
      let open = true;
      for (let i = 0; open && i < 1000; i += 1) open = await connection.write(junk);
      await connection.closed;
    });
    assertBounded(pid, peak, 50);
  });

  test('350 reviews at once over one connection are all answered', async () => {
    const statuses = await Promise.all(Array.from({ length: 350 }, (_, i) => world.review(i % 2 ? token : `junk-${i}`)));
    assert.equal(statuses.filter((s) => s.authenticated).length, 175);
  });

  test('350 reviews at once over 350 connections are all answered, while they wait for Okta too', async () => {
    const clients = Array.from({ length: 350 }, () => new ReviewClient({ url: world.postern.webhookUrl, ca: world.ca, certificate: world.pki.clients.apiserver }));
    const held = world.okta.hold('userinfo');
    try {
      const reviews = clients.map((client) => client.review(token));
      await held.arrived;
      held.release();
      for (const { authenticated } of await Promise.all(reviews)) assert.equal(authenticated, true);
    } finally {
      held.release();
      for (const client of clients) client.close();
    }
  });

  test('peers 21: 350 bodies of 6 MB are refused in bounded memory', async () => {
    // An API server says how much will come; one in ten here does not.
    const said = Buffer.concat([h2.reviewHead(), h2.literal('content-length', '6000000')]);
    const part = (stream) => Buffer.concat([...Array.from({ length: 8 }, () => h2.frame(h2.DATA, 0, stream, Buffer.alloc(16_384, 0x20))), h2.frame(h2.PING, 0, 0, Buffer.alloc(8))]);
    const pongs = ({ frames }) => frames.filter(({ type }) => type === h2.PING).length;
    const grown = await meter(world.postern);
    let refusals = 0;
    const send = async (connection, i) => {
      const stream = 1 + 2 * i;
      const refused = (frame) => frame.type === h2.RST_STREAM && frame.stream === stream;
      await connection.write(h2.headerFrames(stream, i ? said : h2.reviewHead()));
      for (let sent = 0; sent < 6_000_000 && connection.isOpen && !connection.frames.some(refused); sent += 8 * 16_384) {
        // In step with the server, or the kernel takes it all.
        const before = pongs(connection);
        await connection.write(part(stream));
        while (connection.isOpen && pongs(connection) === before) await connection.frame(() => pongs(connection) > before);
      }
      // Each on its own, or with its connection.
      assert.ok(connection.frames.some(refused) || !connection.isOpen);
      refusals += 1;
    };
    const peak = await peakOf(pid, () => Promise.all(Array.from({ length: 35 }, async () => {
      const connection = await attack();
      await Promise.all(Array.from({ length: 10 }, (_, i) => send(connection, i)));
      connection.close();
    })));
    assert.equal(refusals, 350);
    assert.equal(await grown('postern_reviews_total'), 0);
    assertBounded(pid, peak, 200);
  });

  test('no TLS session is resumed: each connection shows its certificate', async () => {
    for (const version of ['TLSv1.2', 'TLSv1.3']) {
      let session;
      const connect = () => new Promise((resolve, reject) => {
        const { port } = new URL(world.postern.webhookUrl);
        const socket = tls.connect({ port, host: '127.0.0.1', servername: 'localhost', ...certificate(), ALPNProtocols: ['h2'], minVersion: version, maxVersion: version, session });
        socket.on('session', (ticket) => { session = ticket; });
        socket.once('error', reject).once('secureConnect', () => {
          socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
          socket.write(h2.frame(h2.SETTINGS, 0, 0));
          // The server's own settings come after its tickets, where it sends any.
          socket.once('data', () => {
            const seen = { reused: socket.isSessionReused(), ticket: socket.getTLSTicket() };
            if (version === 'TLSv1.2') session = socket.getSession();
            socket.destroy();
            resolve(seen);
          });
        });
      });
      assert.deepEqual(await connect(), { reused: false, ticket: undefined }, version);
      assert.deepEqual(await connect(), { reused: false, ticket: undefined }, version);
    }
  });
});

describe('the portal’s door', { timeout: 60_000 }, () => {
  let world;
  before(async () => { world = await startWorld(); });
  after(() => world.close());

  /** What comes back for these bytes over TLS, until the server closes. */
  const speak = (bytes, options) => new Promise((resolve, reject) => {
    const { port } = new URL(world.postern.url);
    const socket = tls.connect({ port, host: '127.0.0.1', servername: 'localhost', ca: world.ca, ...options });
    let text = '';
    socket.once('error', reject).once('secureConnect', () => {
      socket.protocol = socket.alpnProtocol;
      socket.write(bytes);
    });
    socket.on('data', (chunk) => { text += chunk.toString('latin1'); });
    socket.once('close', () => resolve({ protocol: socket.protocol, text }));
  });

  test('peers 25: it speaks HTTP/1.1 and nothing else', async () => {
    const bye = 'GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n';
    for (const ALPNProtocols of [['h2', 'http/1.1'], ['http/1.1'], undefined]) {
      const { protocol, text } = await speak(bye, { ALPNProtocols });
      assert.notEqual(protocol, 'h2');
      assert.match(text, /^HTTP\/1\.1 200 /);
    }
    // Who offers h2 alone gets no h2, whatever it sends.
    const preface = Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), h2.frame(h2.SETTINGS, 0, 0)]);
    for (const ALPNProtocols of [['h2'], undefined]) {
      const { text } = await speak(preface, { ALPNProtocols }).catch(() => ({ text: '' }));
      assert.ok(text === '' || text.startsWith('HTTP/1.1 400 '), text.slice(0, 80));
    }
    const upgrade = 'GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n';
    assert.doesNotMatch((await speak(upgrade)).text, /^HTTP\/1\.1 101/);
  });

  test('peers 21: heads and bodies that lie, or have no end', async () => {
    const lines = (...all) => `${all.join('\r\n')}\r\n\r\n`;
    const good = ['Host: localhost', 'Connection: close'];
    const wrong = {
      'a header of 600 KB': lines('GET / HTTP/1.1', ...good, `X-Long: ${'x'.repeat(600_000)}`),
      '2000 headers': lines('GET / HTTP/1.1', ...good, ...Array.from({ length: 2000 }, (_, i) => `X-${i}: y`)),
      'a body of 3 MB': `${lines('POST /logout HTTP/1.1', ...good, 'Content-Length: 3000000')}${'x'.repeat(3_000_000)}`,
      'a length that is none': lines('POST /logout HTTP/1.1', ...good, 'Content-Length: ten'),
      'a negative length': lines('POST /logout HTTP/1.1', ...good, 'Content-Length: -1'),
      'chunks that are none': `${lines('POST /logout HTTP/1.1', ...good, 'Transfer-Encoding: chunked')}zz\r\nhello\r\n0\r\n\r\n`,
      'a chunk without end': `${lines('POST /logout HTTP/1.1', ...good, 'Transfer-Encoding: chunked')}ffffffffffffffff\r\n${'x'.repeat(100_000)}`,
      'no HTTP at all': '\0\x01\x02\r\n\r\n',
    };
    for (const [what, bytes] of Object.entries(wrong)) {
      const { text } = await speak(Buffer.from(bytes, 'latin1')).catch(() => ({ text: '' }));
      assert.ok(text === '' || /^HTTP\/1\.[01] 4\d\d /.test(text), `${what}: ${text.slice(0, 100)}`);
    }
    assert.equal((await world.browser().get('/healthz')).status, 200);
  });

  test('peers 28: 10,000 odd methods, paths and names make no series', async () => {
    const series = async () => (await world.postern.metrics()).split('\n').filter((line) => line && !line.startsWith('#')).map((line) => line.replace(/ \S+$/, ''));
    const before = await series();
    const agent = world.browser().agent;
    const odd = (i) => request(`${world.postern.url}/odd-${i}/..;${i}?q=${i}`, { ca: world.ca, servername: 'localhost', agent, method: ['GET', 'POST', 'PROPFIND', 'BREW', 'DELETE'][i % 5], headers: { 'User-Agent': `odd-${i}`, Host: `odd-${i}.example` } });
    for (let i = 0; i < 2000; i += 10) await Promise.all(Array.from({ length: 10 }, (_, k) => odd(i + k)));
    const reviewer = world.reviewer();
    for (let i = 0; i < 8000; i += 80) {
      await Promise.all(Array.from({ length: 80 }, (_, k) => reviewer.request({ method: ['POST', 'GET', 'BREW'][k % 3], path: `/tokenreview/odd-${i + k}`, headers: { 'user-agent': `odd-${i + k}` }, body: k % 3 ? undefined : '{}' })));
    }
    assert.deepEqual(await series(), before);
  });

  test('SIGPIPE: clients that leave before their answer end nothing', async () => {
    const { port } = new URL(world.postern.url);
    for (let i = 0; i < 20; i += 1) {
      const wire = net.connect(port, '127.0.0.1');
      const gone = new Promise((resolve) => { wire.on('error', () => {}).once('close', resolve); });
      const socket = tls.connect({ socket: wire, servername: 'localhost', ca: world.ca }).on('error', () => {});
      await new Promise((resolve) => { socket.once('secureConnect', resolve); });
      socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'.repeat(50), () => wire.resetAndDestroy());
      await gone;
    }
    const plain = net.connect(new URL(world.postern.operationsUrl).port, '127.0.0.1');
    plain.on('error', () => {});
    plain.write('GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n'.repeat(200), () => plain.resetAndDestroy());
    await new Promise((resolve) => { plain.once('close', resolve); });
    assert.equal((await world.browser().get('/healthz')).status, 200);
    assert.equal(world.postern.process.ended, undefined);
  });
});

describe('the proxy’s door', { timeout: 120_000 }, () => {
  let apps;
  before(async () => {
    apps = await startApps({ env: measurable });
  });
  after(() => apps.close());

  test('peers 21: strangers’ bodies of 8 MB that do not end are cut in bounded memory, and others go on', async () => {
    const { postern, ca } = apps.world;
    const { host, port, hostname: servername } = new URL(apps.url('reports'));
    const grown = await meter(postern);
    const head = `POST / HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 8000000\r\n\r\n`;
    const body = Buffer.alloc(7_999_999, 'x');
    const sockets = [];
    const send = () => new Promise((resolve) => {
      const socket = tls.connect({ host: '127.0.0.1', port, servername, ca }).on('error', () => {}).once('close', resolve).once('end', resolve).resume();
      socket.write(head);
      socket.write(body, resolve);
      sockets.push(socket);
    });
    const peak = await peakOf(postern.process.pid, async () => {
      for (let i = 0; i < 10; i += 1) {
        await Promise.all([send(), send(), send(), send()]);
        assert.equal((await apps.world.browser().get(apps.url('reports'), { headers: { 'Sec-Fetch-Mode': 'navigate' } })).status, 303);
      }
    });
    assertBounded(postern.process.pid, peak, 220);
    assert.ok(await grown('postern_connections_ended_total', { listener: 'proxy', reason: 'flood' }) >= 20);
    for (const socket of sockets) socket.destroy();
  });
});

describe('no file descriptors left', { timeout: 60_000 }, () => {
  let world;
  before(async () => {
    world = await startWorld({ command: ['prlimit', '--nofile=100:100'] });
  });
  after(() => world.close());

  test('it stays alive, does not spin, and answers again when connections close', async () => {
    const { pid } = world.postern.process;
    const token = (await getToken(await signIn({ url: world.postern.url, ca: world.ca }, world.okta.user('ada')))).id_token;
    const { port } = new URL(world.postern.url);
    const sockets = Array.from({ length: 300 }, () => net.connect(port, '127.0.0.1').on('error', () => {}));
    await world.postern.logLine((r) => r.message === 'connections at their cap' && r.listener === 'portal');
    // The other listeners have their own share.
    assert.equal((await plainGet(`${world.postern.operationsUrl}/readyz`)).status, 200);
    assert.equal((await world.review(token)).authenticated, true);
    const before = cpuTicks(pid);
    await new Promise((resolve) => { setTimeout(resolve, 1000); }); // a second of being full is what is measured
    assert.ok(cpuTicks(pid) - before < 50, `${cpuTicks(pid) - before} ticks of CPU in a second of doing nothing`);
    for (const socket of sockets) socket.destroy();
    await eventually(() => world.browser().get('/healthz').catch(() => ({})), ({ status }) => status === 200);
    assert.equal((await world.review(token)).authenticated, true);
  });
});
