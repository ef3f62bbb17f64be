// exec, attach, cp and port-forward of real kubectls through Postern's API address, in both modes: by SPDY/3.1 and by
// WebSocket. The commands run on this machine (container.mjs), behind an API server that speaks the upgrades.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';

import { Container, streamUpgrades } from '../support/container.mjs';
import { eventually } from '../support/eventually.mjs';
import { Managed, ada, grace } from '../support/managed.mjs';
import { getToken, signOut } from '../support/sign_in.mjs';
import { openWebSocket } from '../support/websocket.mjs';

const spdyOnly = { KUBECTL_REMOTE_COMMAND_WEBSOCKETS: 'false', KUBECTL_PORT_FORWARD_WEBSOCKETS: 'false' };
const clients = [
  { name: 'kubectl 1.20 by SPDY', version: '1.20', upgrade: 'SPDY/3.1' },
  { name: 'kubectl 1.35 by SPDY', version: '1.35', upgrade: 'SPDY/3.1', env: spdyOnly },
  { name: 'kubectl 1.35 by WebSocket', version: '1.35', upgrade: 'websocket' },
];
const digest = (bytes) => createHash('sha256').update(bytes).digest('hex');
const execPath = '/api/v1/namespaces/default/pods/web-0/exec';

/** A server that turns what it hears into capitals and says who listens; for port-forward. */
async function startShouter() {
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {}).on('data', (chunk) => socket.write(chunk.toString('latin1').toUpperCase(), 'latin1')).once('end', () => socket.end());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

/** Says it and hears the whole answer. */
function exchange(port, said) {
  return new Promise((resolve, reject) => {
    const heard = [];
    const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true }, () => socket.end(said));
    socket.on('data', (chunk) => heard.push(chunk)).once('end', () => resolve(Buffer.concat(heard))).once('error', reject);
  });
}

for (const mode of ['pass', 'impersonate']) {
  describe(`streams through the proxy, ${mode}`, { timeout: 240_000 }, () => {
    let k8s;
    let browser;
    let web;
    let shouter;
    before(async () => {
      shouter = await startShouter();
      web = new Container({ ports: { 8080: shouter.address().port } });
      k8s = await Managed.start(mode);
      k8s.api.upgrades = streamUpgrades({ 'web-0': web });
      browser = await k8s.world.signIn('ada');
    });
    after(async () => {
      await k8s.close();
      web.close();
      shouter.close();
    });

    const upgradesOf = (kind) => k8s.api.requests.filter(({ path: p }) => p.includes(`/pods/web-0/${kind}`));

    /** The last upgrade of that kind came as `client` makes it, from the person, and with nothing of theirs that says so. */
    function assertArrived(kind, client, person = ada) {
      const request = upgradesOf(kind).at(-1);
      assert.equal(request.code, 101);
      assert.equal(request.username, person);
      assert.deepEqual(k8s.arrived(/^upgrade$/i, request).map(([, value]) => value), [client.upgrade]);
      assert.equal(request.method, client.upgrade === 'websocket' ? 'GET' : 'POST');
      const authorization = k8s.arrived(/^authorization$/i, request).map(([, value]) => value);
      assert.equal(authorization.length, 1);
      if (mode === 'impersonate') assert.deepEqual(authorization, [`Bearer ${k8s.accountToken}`]);
      assert.deepEqual(k8s.arrived(/^impersonate-user$/i, request).map(([, value]) => value), mode === 'impersonate' ? [person] : []);
    }

    for (const client of clients) {
      describe(client.name, () => {
        let laptop;
        before(async () => { laptop = await k8s.laptop(client.version, browser, client.env); });

        test('exec: stdin, both outputs and the exit code', async () => {
          const { code, stdout, stderr } = await laptop.fed('here it is', 'exec', '-i', 'web-0', '--', 'sh', '-c', 'cat; echo " and here" >&2; exit 3');
          assert.equal(stdout, 'here it is');
          assert.match(stderr, /^ and here$/m);
          assert.match(stderr, /command terminated with exit code 3/);
          assert.equal(code, 3);
          assertArrived('exec', client);
        });

        test('exec: three megabytes there and back, unchanged', async () => {
          const bytes = randomBytes(3 * 2 ** 20);
          const { code, stdout } = await laptop.fed(bytes, 'exec', '-i', 'web-0', '--', 'cat');
          assert.equal(code, 0);
          assert.equal(digest(stdout), digest(bytes));
        });

        test('exec: a terminal, and its size', async () => {
          const command = `stty rows 33 cols 77; exec '${laptop.binary}' exec -it web-0 -- whatever`;
          const terminal = laptop.startProgram('script', ['-qec', command, '/dev/null']);
          await terminal.line((line) => line.trim() === '77x33');
          terminal.type('5\n');
          assert.equal(await terminal.ended, 5);
        });

        test('attach: what the container says and hears', async () => {
          const attached = laptop.start('attach', '-i', 'web-0');
          attached.type('who is there\n');
          await attached.line((line) => line === 'who is there');
          assertArrived('attach', client);
          web.stop();
          assert.equal(await attached.ended, 0);
        });

        test('cp: a file and a folder to the container and back, unchanged', async () => {
          const files = { 'one.bin': randomBytes(2 ** 21), 'deep/two.txt': Buffer.from('two\n'), 'deep/empty': Buffer.alloc(0) };
          const there = `there-${client.version}-${client.upgrade.slice(0, 4)}`;
          mkdirSync(path.join(laptop.home, 'tree/deep'), { recursive: true });
          for (const [name, bytes] of Object.entries(files)) writeFileSync(path.join(laptop.home, 'tree', name), bytes);
          await laptop.must('cp', 'tree', `default/web-0:${there}`);
          await laptop.must('cp', `default/web-0:${there}`, 'back');
          await laptop.must('cp', `default/web-0:${there}/one.bin`, 'one');
          for (const [name, bytes] of Object.entries(files)) {
            assert.equal(digest(readFileSync(path.join(web.dir, there, name))), digest(bytes), name);
            assert.equal(digest(readFileSync(path.join(laptop.home, 'back', name))), digest(bytes), name);
          }
          assert.equal(digest(readFileSync(path.join(laptop.home, 'one'))), digest(files['one.bin']));
        });

        test('port-forward: eight connections at once, each its own', async () => {
          const { forward, port } = await startForward(laptop);
          const said = Array.from({ length: 8 }, (_, i) => Buffer.alloc(200_000, `said ${i} `));
          const heard = await Promise.all(said.map((bytes) => exchange(port, bytes)));
          said.forEach((bytes, i) => assert.equal(digest(heard[i]), digest(bytes.toString().toUpperCase())));
          assertArrived('portforward', client);
          await leave(forward);
        });

        test('port-forward: a port that nobody listens on is told', async () => {
          const { forward, port } = await startForward(laptop, 9);
          await exchange(port, 'anybody').catch(() => {});
          await eventually(() => forward.stderr, (text) => /connection refused/.test(text));
          await leave(forward);
        });

        test('the API server’s own no to an upgrade is what kubectl says', async () => {
          const viewer = await k8s.laptop(client.version, await k8s.world.signIn('grace'), client.env);
          for (const args of [['exec', 'web-0', '--', 'true'], ['attach', 'web-0'], ['port-forward', 'web-0', ':8080']]) {
            const forbidden = await viewer.kubectl(...args);
            assert.equal(forbidden.code, 1);
            assert.ok(forbidden.stderr.includes(`pods is forbidden: User "${grace}" cannot create resource "pods"`), forbidden.stderr);
            const missing = await laptop.kubectl(...args.map((word) => word.replace('web-0', 'web-1')));
            assert.equal(missing.code, 1);
            assert.match(missing.stderr, /pods "web-1" not found/);
          }
        });

        test('peers 40: sign-out, or a lost group, ends the exec and the port-forward; another person’s go on', async (t) => {
          k8s.api.allow['k8s-viewers'].push('create');
          t.after(() => k8s.api.allow['k8s-viewers'].pop());
          const people = {};
          for (const name of ['ada', 'grace']) people[name] = await everythingOpen(name, client);
          await signOut(people.ada.own);
          await assertCut(people.ada, 'session_unknown');

          people.grace.exec.type('still here\n');
          await people.grace.exec.line((line) => line === 'still here');
          assert.equal((await exchange(people.grace.port, 'still there')).toString(), 'STILL THERE');

          const user = k8s.world.okta.user('grace');
          const { groups } = user;
          t.after(() => { user.groups = groups; });
          user.groups = ['Everyone'];
          await assertCut(people.grace, 'not_allowed');
        });
      });
    }

    /** kubectl’s port-forward to the container, on a port of its choice. */
    async function startForward(laptop, remote = 8080) {
      const forward = laptop.start('port-forward', '--address', '127.0.0.1', 'web-0', `:${remote}`);
      const line = await forward.line((text) => text.startsWith('Forwarding from'));
      return { forward, port: Number(/:(\d+) ->/.exec(line)[1]) };
    }

    /** The laptop ends it, and the container knows. */
    async function leave(forward) {
      await forward.stop();
      await eventually(() => web.of(ada, 'portforward').length, (count) => count === 0);
    }

    /** A person’s exec and port-forward, both in use. */
    async function everythingOpen(name, client) {
      const uid = { ada, grace }[name];
      const own = await k8s.world.signIn(name);
      const laptop = await k8s.laptop(client.version, own, client.env);
      const exec = laptop.start('exec', '-i', 'web-0', '--', 'cat');
      exec.type(`${name}\n`);
      await exec.line((line) => line === name);
      const { forward, port } = await startForward(laptop);
      await exchange(port, name);
      return { uid, client, own, exec, forward, port, there: [...web.of(uid, 'exec'), ...web.of(uid, 'portforward')] };
    }

    /** Ended at the container, and at the laptop, for that reason. */
    async function assertCut({ uid, client, exec, forward, there }, reason) {
      assert.equal(there.length, 2);
      await Promise.all(there.map(({ ended }) => ended));
      // By SPDY, kubectl takes a connection that is gone for a command that ended well.
      const code = await exec.ended;
      if (client.upgrade === 'websocket') assert.notEqual(code, 0);
      await forward.ended;
      assert.match(forward.stderr, /lost connection to pod/);
      await k8s.audit((l) => l.event === 'stream_cut' && l.uid === uid && l.reason === reason);
    }

    test('peers 39: a browser’s exec, its token in the subprotocol, which goes no further', async () => {
      const { id_token: token } = await getToken(browser);
      const carrier = `base64url.bearer.authorization.k8s.io.${Buffer.from(token).toString('base64url')}`;
      const url = `https://${k8s.host}${execPath}?command=cat&stdin=true&stdout=true`;
      const { status, ws } = await openWebSocket(url, { protocols: ['v5.channel.k8s.io', carrier], ca: k8s.world.ca, servername: '' });
      assert.equal(status, 101);
      assert.equal(ws.protocol, 'v5.channel.k8s.io');
      ws.send(Buffer.from('\0from a browser'));
      ws.send(Buffer.of(255, 0));
      await ws.ended;
      const heard = (channel) => Buffer.concat(ws.received.filter(([number]) => number === channel).map((message) => message.subarray(1))).toString();
      assert.equal(heard(1), 'from a browser');
      assert.equal(JSON.parse(heard(3)).status, 'Success');
      const request = upgradesOf('exec').at(-1);
      assert.equal(request.username, ada);
      assert.deepEqual(k8s.arrived(/^sec-websocket-protocol$/i, request).map(([, value]) => value), ['v5.channel.k8s.io']);
      if (mode === 'impersonate') assert.ok(!request.rawHeaders.some((value) => value.includes(token)));
    });

    test('each upgrade that reached the API server has its audit line', async (t) => {
      t.diagnostic(`API server: support/apiserver.mjs${process.env.KUBEBUILDER_ASSETS ? '; what KUBEBUILDER_ASSETS names is not used yet' : ''}`);
      const audited = () => k8s.world.postern.log.split('\n').filter((text) => text.includes('"api_request"')).map((text) => JSON.parse(text))
        .filter((line) => line.kind === 'upgrade' && line.result === 'passed');
      for (const kind of ['exec', 'attach', 'portforward']) {
        const there = upgradesOf(kind).map(({ username }) => username).sort();
        assert.ok(there.length > 0);
        const lines = await eventually(() => audited().filter(({ path: p }) => p.endsWith(`/web-0/${kind}`)), ({ length }) => length === there.length);
        assert.deepEqual(lines.map(({ uid }) => uid).sort(), there);
      }
    });

    test('no secret is in a log line', () => {
      for (const secret of [...k8s.world.secrets(), k8s.accountToken]) assert.ok(!k8s.world.postern.log.includes(secret));
    });
  });
}
