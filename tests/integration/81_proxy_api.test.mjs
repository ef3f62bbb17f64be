// API servers behind the proxy, in both modes, with real kubectls: one address, the person's own rights, and nothing stays
// open that may not be open any more.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';

import { eventually } from '../support/eventually.mjs';
import { kubectlVersions } from '../support/kubectl.mjs';
import { Managed, ada, grace } from '../support/managed.mjs';
import { getToken, signOut } from '../support/sign_in.mjs';

const nodes = '/api/v1/nodes';
const bearer = (token) => ({ Authorization: `Bearer ${token}` });
const unauthorized = { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', message: 'Unauthorized', reason: 'Unauthorized', code: 401 };

for (const mode of ['pass', 'impersonate']) {
  describe(`an API server behind the proxy, ${mode}`, { timeout: 240_000 }, () => {
    let k8s;
    let browser;
    let token;
    before(async () => {
      k8s = await Managed.start(mode);
      k8s.echoes();
      browser = await k8s.world.signIn('ada');
      token = (await getToken(browser)).id_token;
    });
    after(() => k8s.close());

    for (const version of kubectlVersions) {
      test(`kubectl ${version}: the portal’s command leads through the proxy; get, watch and logs -f work`, async () => {
        const laptop = await k8s.laptop(version, browser);
        assert.equal((await laptop.config()).clusters[0].cluster.server, `https://${k8s.host}`);
        assert.match(await laptop.must('get', 'nodes'), /node-1 +Ready/);
        assert.equal(k8s.last.username, ada);
        assert.ok(k8s.last.user.groups.includes('k8s-admins'));

        const watch = laptop.start('get', 'pods', '--watch', '-o', 'name');
        await watch.line((line) => line === 'pod/web-1');
        await eventually(() => k8s.api.watchers, (count) => count === 1);
        k8s.api.announce('pods', 'MODIFIED', k8s.api.objects.pods[0]);
        await watch.line((line) => line === 'pod/web-0' && watch.lines.length > 2);
        await watch.stop();
        // Who leaves ends the watch at the API server, too; the next one’s must not be taken for it.
        await eventually(() => k8s.api.watchers, (count) => count === 0);

        const logs = laptop.start('logs', '-f', 'web-0');
        await logs.line((line) => line === 'second line');
        k8s.api.writeLog(`with ${version}\n`);
        await logs.line((line) => line === `with ${version}`);
        await logs.stop();
      });
    }

    test('who one is at the API server is what a TokenReview says', async () => {
      const laptop = await k8s.laptop('1.35', browser);
      const { status } = JSON.parse(await laptop.must('auth', 'whoami', '-o', 'json'));
      assert.equal(status.userInfo.username, ada);
      assert.equal(status.userInfo.uid, ada);
      assert.ok(status.userInfo.groups.includes('system:authenticated'));
      assert.match(status.userInfo.extra['authentication.kubernetes.io/credential-id'][0], /^JTI=/);
      assert.equal(status.userInfo.extra['postern.dev/session-id'].length, 1);
    });

    test('the API server’s own refusal goes through untouched', async () => {
      const answer = await k8s.ask('/api/v1/nodes/nowhere', { headers: bearer(token) });
      assert.equal(answer.status, 404);
      assert.equal(answer.json().message, 'nodes "nowhere" not found');
    });

    test('without a bearer, with a wrong one, with two: a Status, and nothing reaches the API server', async () => {
      const before = k8s.api.requests.length;
      for (const headers of [{}, bearer('x.y.z'), { Authorization: 'Basic eDp5' }, ['Authorization', `Bearer ${token}`, 'Authorization', `Bearer ${token}`],
        { Authorization: `Bearer ${token} rest` }, { Authorization: `Bearer  ${token}` }]) {
        const answer = await k8s.ask(nodes, { headers });
        assert.equal(answer.status, 401, JSON.stringify(headers));
        assert.deepEqual(answer.json(), unauthorized);
      }
      assert.equal(k8s.api.requests.length, before);
    });

    test('another host leads nowhere', async () => {
      assert.equal((await k8s.ask(nodes, { headers: bearer(token), host: 'evil.example.com' })).status, 421);
      assert.equal((await k8s.ask(nodes, { headers: bearer(token), host: `${k8s.host}.evil.example.com` })).status, 421);
    });

    test('peers 29: what Connection names does not take away what we add', async () => {
      for (const named of ['Authorization', 'Impersonate-User', 'Impersonate-Group, Impersonate-Uid']) {
        const answer = await k8s.ask(nodes, { headers: { ...bearer(token), Connection: `close, ${named}` } });
        assert.equal(answer.status, 200);
        assert.equal(k8s.last.username, ada);
        assert.ok(k8s.last.user.groups.includes('k8s-admins'));
      }
    });

    for (const upgraded of [false, true]) {
      const how = upgraded ? 'in an upgrade' : 'in a request';
      const ask = (lines) => (upgraded ? k8s.upgrade(token, lines) : k8s.raw([`GET ${nodes} HTTP/1.1`, `Host: ${k8s.host}`, `Authorization: Bearer ${token}`, ...lines, '', ''].join('\r\n')));

      test(`peers 30, 31, 32: identity headers of the client, ${how}, never arrive`, async () => {
        for (const line of ['X-Remote-User: root', 'X-Remote-Group: system:masters', 'x_remote_user: root', 'X-REMOTE-EXTRA-a: b', 'X-Forwarded-User: root', 'Remote_User: root']) {
          const { status, socket } = await ask([line]);
          socket.destroy();
          assert.equal(status, upgraded ? 101 : 200, line);
          assert.deepEqual(k8s.arrived(/remote|forwarded.user/i), [], line);
          assert.equal(k8s.last.username, ada);
        }
        const before = k8s.api.requests.length;
        for (const lines of [['Impersonate_User: root'], ['Impersonate-Group: system:masters'], ['Impersonate-Uid: 1'], ['Impersonate-Extra-a: b'],
          ['Impersonate-User: bob', 'Impersonate-User: root'], ['Impersonate-User: '], ['Impersonate-User: bob', 'Impersonate_Group: system:masters'],
          ['Impersonate-User: bob', 'Impersonate-Whatever: x'], ['Impersonate-User: a', ' folded: b']]) {
          const { status, socket } = await ask(lines);
          socket.destroy();
          assert.equal(status, 400, lines.join());
        }
        assert.equal(k8s.api.requests.length, before, 'nothing of it reached the API server');
      });
    }

    test('kubectl --as: allowed to whom RBAC allows it, refused to others', async () => {
      const laptop = await k8s.laptop('1.35', browser);
      await laptop.must('get', 'nodes', '--as', grace, '--as-group', 'k8s-viewers');
      assert.equal(k8s.last.username, grace);
      const { code, stderr } = await laptop.kubectl('get', 'nodes', '--as', 'somebody');
      assert.equal(code, 1);
      assert.match(stderr, /orbidden/);
      assert.ok(!k8s.api.requests.some(({ username, code: answer }) => username === 'somebody' && answer === 200));
    });

    test('peers 39: a WebSocket’s bearer in its subprotocol counts, and goes no further', async () => {
      const own = `base64url.bearer.authorization.k8s.io.${Buffer.from(token).toString('base64url')}`;
      const { status, text, socket } = await k8s.upgrade(undefined, [`Sec-WebSocket-Protocol: v5.channel.k8s.io, ${own}, v4.channel.k8s.io`]);
      assert.equal(status, 101);
      assert.match(text, /sec-websocket-protocol: v5\.channel\.k8s\.io/i);
      assert.deepEqual(k8s.arrived(/^sec-websocket-protocol$/i).map(([, value]) => value), ['v5.channel.k8s.io, v4.channel.k8s.io']);
      assert.equal(k8s.last.username, ada);
      socket.destroy();
      for (const lines of [[`Sec-WebSocket-Protocol: ${own}, ${own}`], [`Authorization: Bearer ${token}`, `Sec-WebSocket-Protocol: ${own}`], ['Sec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io.!!!'],
        [`Sec-WebSocket-Protocol: \u00a0${own}`, `Authorization: Bearer ${token}`]]) {
        const refused = await k8s.upgrade(undefined, lines);
        refused.socket.destroy();
        assert.equal(refused.status, 401, lines.join());
      }
    });

    test('an upgrade is a tunnel, and has its audit line', async () => {
      const { status, socket } = await k8s.upgrade(token);
      assert.equal(status, 101);
      socket.removeAllListeners('data');
      socket.write('there and back');
      const [echo] = await once(socket, 'data');
      assert.equal(echo, 'there and back');
      const line = await k8s.audit((l) => l.event === 'api_request' && l.kind === 'upgrade' && l.result === 'passed');
      assert.equal(line.uid, ada);
      assert.equal(line.path, '/api/v1/namespaces/default/pods/web-0/exec');
      socket.destroy();
    });

    test('peers 33: an upgrade that the API server refuses is answered, and its connection is not used again', async () => {
      const { status, text, socket } = await k8s.raw([`GET /api/v1/namespaces/default/pods/web-0/attach HTTP/1.1`, `Host: ${k8s.host}`, 'Connection: Upgrade', 'Upgrade: SPDY/3.1', `Authorization: Bearer ${token}`, '', ''].join('\r\n'));
      assert.equal(status, 501);
      let rest = '';
      socket.on('data', (chunk) => { rest += chunk; });
      await once(socket, 'close');
      assert.match(text + rest, /NotImplemented/);
      assert.equal((await k8s.ask(nodes, { headers: bearer(token) })).status, 200);
    });

    test('peers 36: odd paths are refused before anything is sent', async () => {
      const before = k8s.api.requests.length;
      for (const target of ['/api/v1/../../metrics', '/api/%2e%2e/metrics', '/api/v1/nodes%00', 'https://evil.example.com/api']) {
        const { status, socket } = await k8s.raw(`GET ${target} HTTP/1.1\r\nHost: ${k8s.host}\r\nAuthorization: Bearer ${token}\r\n\r\n`);
        socket.destroy();
        assert.equal(status, 400, target);
      }
      assert.equal(k8s.api.requests.length, before);
    });

    test('a write works, and an impersonated one is audited', async () => {
      const answer = await k8s.ask('/apis/authorization.k8s.io/v1/selfsubjectaccessreviews', {
        method: 'POST', headers: { ...bearer(token), 'Content-Type': 'application/json' },
        body: JSON.stringify({ kind: 'SelfSubjectAccessReview', apiVersion: 'authorization.k8s.io/v1', spec: { resourceAttributes: { verb: 'delete' } } }),
      });
      assert.equal(answer.status, 201);
      assert.equal(answer.json().status.allowed, true);
      if (mode === 'impersonate') await k8s.audit((l) => l.event === 'api_request' && l.kind === 'write' && l.result === 'passed' && l.user === ada);
    });

    test('peers 40: sign-out cuts what is open, a lost group too; the other person’s goes on', async () => {
      const people = {};
      for (const name of ['ada', 'grace']) {
        const own = await k8s.world.signIn(name);
        const laptop = await k8s.laptop('1.35', own);
        const watch = laptop.start('get', 'pods', '--watch-only', '-o', 'name', '--output-watch-events');
        people[name] = { own, laptop, watch, tunnel: (name === 'ada') ? (await k8s.upgrade((await getToken(own)).id_token)).socket : undefined };
      }
      await eventually(() => k8s.api.watchers, (count) => count === 2);
      const cut = once(people.ada.tunnel, 'close');
      await signOut(people.ada.own);
      await cut;
      await eventually(() => k8s.api.watchers, (count) => count === 1);
      const line = await k8s.audit((l) => l.event === 'stream_cut' && l.uid === ada);
      assert.equal(line.reason, 'session_unknown');
      k8s.api.announce('pods', 'MODIFIED', k8s.api.objects.pods[1]);
      await people.grace.watch.line((l) => /web-1/.test(l));

      const user = k8s.world.okta.user('grace');
      const { groups } = user;
      user.groups = ['Everyone'];
      await eventually(() => k8s.api.watchers, (count) => count === 0);
      await k8s.audit((l) => l.event === 'stream_cut' && l.uid === grace && l.reason === 'not_allowed');
      user.groups = groups;
      for (const { watch } of Object.values(people)) watch.child.kill('SIGTERM');
    });

    test('no secret is in a log line', () => {
      for (const secret of [...k8s.world.secrets(), k8s.accountToken]) assert.ok(!k8s.world.postern.log.includes(secret));
    });
  });
}

describe('impersonating', { timeout: 240_000 }, () => {
  let k8s;
  let token;
  before(async () => {
    k8s = await Managed.start('impersonate');
    token = await k8s.token('ada');
  });
  after(() => k8s.close());

  test('whom one may be, one is, with one’s own name beside it', async () => {
    const answer = await k8s.ask(nodes, { headers: { ...bearer(token), 'Impersonate-User': grace, 'Impersonate-Group': 'k8s-viewers' } });
    assert.equal(answer.status, 200);
    assert.equal(k8s.last.username, grace);
    assert.deepEqual(k8s.last.user.groups, ['k8s-viewers', 'system:authenticated']);
    assert.deepEqual(k8s.last.user.extra['originaluser.postern.dev/user'], [ada]);
    assert.deepEqual(k8s.last.user.extra['originaluser.postern.dev/group'], ['k8s-admins', 'k8s-viewers']);
  });

  test('one name of several that is not allowed is a no; system: always is', async () => {
    const before = k8s.api.requests.filter(({ path: p }) => p === nodes).length;
    for (const headers of [{ 'Impersonate-User': grace, 'Impersonate-Group': 'k8s-admins' }, { 'Impersonate-User': 'system:admin' },
      { 'Impersonate-User': grace, 'Impersonate-Group': 'system:masters' }, { 'Impersonate-User': grace, 'Impersonate-Uid': '1' },
      { 'Impersonate-User': grace, 'Impersonate-Extra-originaluser.postern.dev%2fuser': 'x' }, { 'Impersonate-User': 'system:serviceaccount:kube-system:admin' }]) {
      const answer = await k8s.ask(nodes, { headers: { ...bearer(token), ...headers } });
      assert.equal(answer.status, 403, JSON.stringify(headers));
      assert.equal(answer.json().reason, 'Forbidden');
    }
    assert.equal(k8s.api.requests.filter(({ path: p }) => p === nodes).length, before);
  });

  test('the service account’s token is taken up when its file changes', async () => {
    k8s.accountToken = randomBytes(24).toString('hex');
    k8s.api.tokens.close();
    k8s.writeToken(k8s.accountToken);
    await eventually(() => k8s.ask(nodes, { headers: bearer(token) }), () => k8s.arrived(/^authorization$/i)[0]?.[1] === `Bearer ${k8s.accountToken}`);
  });

  test('an API server that is down is a 502 Status', async () => {
    await k8s.api.close();
    const answer = await k8s.ask(nodes, { headers: bearer(token) });
    assert.equal(answer.status, 502);
    assert.equal(answer.json().kind, 'Status');
  });
});
