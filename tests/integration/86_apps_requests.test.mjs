// Apps behind the proxy, request by request: what reaches them of what a client says, and what a client gets of what they
// say. The stand-ins obey everything that they should never be sent (02_app_standins), so a leak shows.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { hostileCookies } from '../support/apps_generic.mjs';
import { startApps } from '../support/apps_world.mjs';
import { eventually } from '../support/eventually.mjs';
import { request } from '../support/http.mjs';
import { signOut } from '../support/sign_in.mjs';
import { openWebSocket } from '../support/websocket.mjs';

const ada = '00u1abcd2EFGH3ijk4l5';

/** A path of each app that answers 200, and one that upgrades (the old Dashboard has none). */
const paths = {
  headlamp: ['/clusters/main/api/v1/pods', '/clusters/main/api/v1/pods?watch=1'],
  dashboard: ['/api/v1/pod', '/api/sockjs/1/abc/websocket'],
  'dashboard-old': ['/api/v1/pod', undefined],
  reports: ['/whoami', '/socket'],
};

/** What a client could say to be somebody else, or to send an app elsewhere. Some spellings may be refused altogether. */
const planted = [
  'Impersonate-User', 'Impersonate_User', 'IMPERSONATE-GROUP', 'Impersonate-Extra-a', 'Impersonate_Uid', 'X-Remote-User', 'x_remote_group', 'X-Forwarded-User', 'X_Forwarded_User',
  'X-Forwarded-Group', 'X-Forwarded-Groups', 'X-Forwarded-Email', 'X-Forwarded-Id-Token', 'X_Forwarded_Id_Token', 'X-Forwarded-Access-Token', 'X-Forwarded-Preferred-Username',
  'X-Forwarded-For', 'X-Forwarded-Host', 'X-Forwarded-Proto', 'Forwarded', 'X-Real-Ip', 'Authorization', 'Proxy-Authorization', 'Cluster-Context', 'cluster_context', 'KUBECONFIG', 'Forward-To',
  'Forward_To', 'X-HEADLAMP_BACKEND-TOKEN', 'X-HEADLAMP-USER-ID', 'jweToken',
];
/** Of a generic app nobody knows what it obeys; these names mean something to one kind alone. */
const ofOneKind = { dashboard: ['Cluster-Context', 'cluster_context'], 'dashboard-old': ['jweToken'], headlamp: ['KUBECONFIG', 'Forward-To', 'Forward_To', 'X-HEADLAMP_BACKEND-TOKEN', 'X-HEADLAMP-USER-ID'] };

function plantedFor(name) {
  const others = Object.entries(ofOneKind).flatMap(([kind, names]) => (kind === name ? [] : names));
  return planted.filter((header) => !others.includes(header));
}

describe('apps, request by request', { timeout: 240_000 }, () => {
  let apps;
  let browser;
  before(async () => {
    apps = await startApps();
    browser = await apps.world.signIn('ada');
    for (const name of Object.keys(paths)) assert.equal((await apps.enter(browser, name)).status, 200, name);
  });
  after(() => apps?.close());

  const own = (name, headers = {}) => ({ Cookie: browser.jar.header(apps.url(name)), Origin: apps.url(name), 'Sec-Fetch-Site': 'same-origin', ...headers });

  /** One request with the session's cookie, as a script of the app's own page sends it. */
  function ask(name, path, { method = 'GET', headers, body } = {}) {
    // The path as it is: an URL would be tidied up on the way.
    return request(apps.url(name), { path, method, headers: own(name, headers), body, ca: apps.world.ca });
  }

  async function upgrade(name, headers, path = paths[name][1]) {
    const answer = await openWebSocket(apps.url(name) + path, { headers: own(name, headers), ca: apps.world.ca });
    answer.ws?.destroy();
    return answer;
  }

  /** Whether anything of it reached the app: the request's last record there, or undefined. */
  async function reached(name, send) {
    const { requests } = apps.upstreamOf(name);
    const before = requests.length;
    const answer = await send();
    return { answer, seen: requests.slice(before).at(-1) };
  }

  for (const [name, [path, upgrading]] of Object.entries(paths)) {
    describe(name, () => {
      test('peers 30, 31, 32: what only a proxy may say is not believed of a client', async () => {
        for (const header of plantedFor(name)) {
          const { answer, seen } = await reached(name, () => ask(name, path, { headers: { [header]: 'planted' } }));
          if (seen) for (const [key, value] of Object.entries(seen.headers)) assert.ok(!String(value).includes('planted'), `${header} arrived as ${key}`);
          assert.ok(answer.status === 200 || (answer.status === 400 && !seen), `${header}: ${answer.status} ${answer.text}`);
        }
      });

      test('peers 30, 31, 32: nor in an upgrade', { skip: !upgrading && 'this app has none' }, async () => {
        for (const header of plantedFor(name)) {
          const { answer, seen } = await reached(name, () => upgrade(name, { [header]: 'planted' }));
          if (seen) for (const [key, value] of Object.entries(seen.headers)) assert.ok(!String(value).includes('planted'), `${header} arrived as ${key}`);
          assert.ok(answer.status === 101 || (answer.status === 400 && !seen), `${header}: ${answer.status} ${answer.text}`);
        }
      });

      test('peers 29: what Connection names does not take away what we add', async () => {
        for (const named of ['Authorization', 'X-Forwarded-Id-Token, X-Forwarded-User', 'X-Forwarded-Proto', 'Cookie']) {
          const { answer, seen } = await reached(name, () => ask(name, path, { headers: { Connection: `close, ${named}` } }));
          assert.equal(answer.status, 200, named);
          assert.equal(seen.headers['x-forwarded-proto'], 'https');
        }
        if (name !== 'reports') assert.equal(apps.api.requests.at(-1).username, ada);
      });

      test('no cookie of ours goes on; the app’s own do', async () => {
        const Cookie = `${browser.jar.header(apps.url(name))}; theirs=1; __host-postern-app-x=planted; __Host-postern=planted`;
        for (const send of [() => ask(name, path, { headers: { Cookie } }), ...(upgrading ? [() => upgrade(name, { Cookie })] : [])]) {
          const { seen } = await reached(name, send);
          assert.equal(seen.cookies.theirs, '1');
          assert.deepEqual(Object.keys(seen.cookies).filter((cookie) => /postern/i.test(cookie)), []);
        }
      });

      test('writes and upgrades from elsewhere are refused, and do not arrive', async () => {
        for (const headers of [{ Origin: undefined, 'Sec-Fetch-Site': undefined }, { Origin: 'https://evil.example', 'Sec-Fetch-Site': undefined }, { Origin: 'null', 'Sec-Fetch-Site': undefined },
          { Origin: apps.portal, 'Sec-Fetch-Site': 'same-site' }, { Origin: `${apps.url(name)}.evil.example`, 'Sec-Fetch-Site': undefined }, { 'Sec-Fetch-Site': 'cross-site' }]) {
          const sent = own(name, headers);
          for (const key of Object.keys(sent)) if (sent[key] === undefined) delete sent[key];
          const sends = ['POST', 'PUT', 'DELETE', 'PATCH'].map((method) => () => request(apps.url(name) + path, { method, headers: sent, ca: apps.world.ca }));
          if (upgrading) sends.push(() => openWebSocket(apps.url(name) + upgrading, { headers: sent, ca: apps.world.ca }));
          for (const send of sends) {
            const { answer, seen } = await reached(name, send);
            assert.equal(answer.status, 403, JSON.stringify(headers));
            assert.equal(seen, undefined);
          }
        }
      });

      test('without a session: scripts and upgrades get a 401, navigations the way in; nothing arrives', async () => {
        const strange = (headers, method = 'GET') => request(apps.url(name) + path, { method, headers, ca: apps.world.ca });
        for (const headers of [{ Accept: 'application/json' }, { 'Sec-Fetch-Mode': 'cors', 'Sec-Fetch-Site': 'same-origin', Accept: '*/*' }, { Cookie: `__Host-postern-app-${name}=x.y.z` }]) {
          const { answer, seen } = await reached(name, () => strange(headers));
          assert.equal(answer.status, 401, JSON.stringify(headers));
          assert.match(answer.headers['content-type'], /json/);
          assert.equal(seen, undefined);
        }
        const { answer: refused, seen } = await reached(name, () => openWebSocket(apps.url(name) + (upgrading ?? path), { headers: { Origin: apps.url(name) }, ca: apps.world.ca }));
        assert.equal(refused.status, 401);
        assert.equal(seen, undefined);
        const way = await strange({ 'Sec-Fetch-Mode': 'navigate', 'Sec-Fetch-Dest': 'document' });
        assert.equal(way.status, 303);
        assert.ok(way.headers.location.startsWith(`${apps.portal}/apps/enter?`), way.headers.location);
        assert.match(String(way.headers['set-cookie']), /^__Host-postern-begin-[\w-]{8}=[^;]+;(?=.*Secure)(?=.*HttpOnly)(?=.*SameSite=Lax)(?=.*Path=\/)/i);
        assert.ok(!way.headers.location.includes(path));
      });

      test('another app’s cookie opens nothing here', async () => {
        const other = name === 'reports' ? 'headlamp' : 'reports';
        const value = browser.jar.header(apps.url(other)).match(new RegExp(`__Host-postern-app-${other}=([^;]+)`))[1];
        for (const Cookie of [`__Host-postern-app-${name}=${value}`, `__Host-postern-app-${other}=${value}`]) {
          const { answer, seen } = await reached(name, () => request(apps.url(name) + path, { headers: { Cookie }, ca: apps.world.ca }));
          assert.equal(answer.status, 401);
          assert.equal(seen, undefined);
        }
      });

      test('what lies below /.postern/ is ours, and odd paths are refused', async () => {
        for (const where of ['/.postern/', '/.postern/enter', '/.postern/x', '/.postern']) assert.equal((await reached(name, () => ask(name, where))).seen, undefined, where);
        for (const where of ['/a/%2e%2e/b', '/a/../b', '//evil.example/', '/a%00', 'https://evil.example/']) {
          const { answer, seen } = await reached(name, () => ask(name, where));
          assert.ok([400, 404].includes(answer.status), `${where}: ${answer.status}`);
          assert.equal(seen, undefined, where);
        }
        for (const where of ['/%2epostern/enter', '/.%70ostern/', '/.postern%2fenter', '/.POSTERN/']) {
          const { seen } = await reached(name, () => ask(name, where));
          assert.ok(!seen || seen.path === where, where);
        }
      });
    });
  }

  test('Headlamp: its own token cookies are taken out, and can’t be set', async () => {
    const Cookie = `${browser.jar.header(apps.url('headlamp'))}; headlamp-auth-main.0=planted; headlamp-auth-main-x.0=planted; theme=dark`;
    for (const send of [() => ask('headlamp', paths.headlamp[0], { headers: { Cookie } }), () => upgrade('headlamp', { Cookie })]) {
      const { seen } = await reached('headlamp', send);
      assert.deepEqual(seen.cookies, { theme: 'dark' });
      assert.equal(apps.api.requests.at(-1).username, ada);
    }
    for (const path of ['/auth/set-token', '/clusters/main/set-token', '/oidc?cluster=main', '/oidc-callback?code=x']) {
      const { answer, seen } = await reached('headlamp', () => ask('headlamp', path, { method: path.includes('oidc') ? 'GET' : 'POST', body: JSON.stringify({ cluster: 'main', token: 'x' }) }));
      assert.equal(seen, undefined, path);
      assert.ok(answer.status === 403 || answer.status === 404, `${path}: ${answer.status}`);
    }
  });

  test('Headlamp: who one is comes with each request, as the header of its proxy', async () => {
    const me = (await ask('headlamp', '/clusters/main/me')).json();
    assert.deepEqual(me.groups, ['k8s-admins', 'k8s-viewers']);
    const { headers } = apps.headlamp.last;
    assert.equal((await apps.world.review(headers['x-forwarded-id-token'])).user.username, ada);
    assert.equal(headers['x-forwarded-user'], me.username);
    assert.deepEqual(apps.headlamp.obeyed, []);
  });

  test('a bearer in a WebSocket’s subprotocol does not go on', async () => {
    const bearer = `base64url.bearer.authorization.k8s.io.${Buffer.from('planted').toString('base64url')}`;
    for (const name of ['headlamp', 'dashboard']) {
      const { seen } = await reached(name, () => upgrade(name, { 'Sec-WebSocket-Protocol': `base64.binary.k8s.io, ${bearer}` }));
      assert.ok(!seen || !seen.headers['sec-websocket-protocol']?.includes(bearer));
    }
    assert.equal(apps.api.requests.findLast(({ path }) => path.includes('watch')).username, ada);
  });

  test('Dashboard 7: each path has its server; a POST with its CSRF token goes through', async () => {
    const { auth, api, web } = apps.dashboard7;
    for (const [path, server] of [['/api/v1/me', auth], ['/api/v1/csrftoken/login', auth], ['/api/v1/pod', api], ['/api/v1/csrftoken/pod', api], ['/', web], ['/assets/x.js', web], ['/apis', web]]) {
      const before = server.requests.length;
      assert.equal((await ask('dashboard', path)).status, 200, path);
      assert.equal(server.requests.length, before + 1, path);
    }
    const { token } = (await ask('dashboard', '/api/v1/csrftoken/appdeployment')).json();
    assert.equal((await ask('dashboard', '/api/v1/appdeployment', { method: 'POST', headers: { 'X-CSRF-TOKEN': token }, body: '{}' })).status, 201);
    assert.deepEqual(api.obeyed, []);
    assert.match(api.last.headers.authorization, /^Bearer ey/);
  });

  test('Dashboard 2: its status says that the header is there, and nothing of impersonation', async () => {
    assert.deepEqual((await ask('dashboard-old', '/api/v1/login/status', { headers: { 'Impersonate-User': 'planted' } })).json(),
      { tokenPresent: false, headerPresent: true, httpsMode: true, impersonationPresent: false, impersonatedUser: '' });
  });

  test('an app’s answers: its cookies stay its own, its errors are its own', async () => {
    const { headers } = await ask('reports', '/cookies');
    const names = headers['set-cookie'].map((line) => line.split('=')[0]);
    assert.deepEqual(names.filter((name) => /postern/i.test(name)), []);
    assert.ok(names.includes('own'));
    for (const line of headers['set-cookie']) assert.doesNotMatch(line, /domain=/i);
    assert.ok(hostileCookies.length > names.length);
    for (const code of [401, 403, 404, 418, 500, 503]) {
      const answer = await ask('reports', `/status?code=${code}`);
      assert.deepEqual([answer.status, answer.text, answer.headers['x-own']], [code, 'as you wish', 'yes']);
    }
    assert.equal((await ask('reports', '/away?to=https%3A%2F%2Felsewhere.example%2F')).headers.location, 'https://elsewhere.example/');
  });

  test('each app’s token is its own, and ends with the sign-in', async () => {
    const before = new Set(apps.tokens());
    const own_ = await apps.world.signIn('grace');
    for (const name of Object.keys(paths)) await apps.enter(own_, name, paths[name][0]);
    const theirs = apps.tokens().filter((token) => !before.has(token));
    assert.ok(theirs.length >= 3);
    for (const token of theirs) assert.equal((await apps.world.review(token)).authenticated, true);
    await signOut(own_);
    for (const token of theirs) assert.equal((await apps.world.review(token)).authenticated, false);
    for (const name of Object.keys(paths)) {
      const answer = await own_.get(apps.url(name) + paths[name][0], { headers: { Accept: 'application/json' } });
      assert.equal(answer.status, 401, name);
    }
  });

  test('an app that hangs up, and one that is back', async () => {
    await apps.reports.close();
    assert.equal((await ask('reports', '/whoami')).status, 502);
    await apps.reports.listen(apps.reports.port);
    await eventually(() => ask('reports', '/whoami'), ({ status }) => status === 200);
  });
});
