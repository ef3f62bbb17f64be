// The stand-ins for the apps behind the proxy, before anything is concluded from them: where Headlamp and the Dashboards
// take a token from, what they believe, and what they should never be sent.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';

import { startApiServer } from '../support/apiserver.mjs';
import { startDashboard2, startDashboard7 } from '../support/apps_dashboard.mjs';
import { hostileCookies, startGeneric } from '../support/apps_generic.mjs';
import { cookieName, startHeadlamp } from '../support/apps_headlamp.mjs';
import { launchChromium, newPage } from '../support/browser.mjs';
import { eventually } from '../support/eventually.mjs';
import { readAnswer, request } from '../support/http.mjs';
import { makeClusterPki, makePki, makeSelfSigned } from '../support/pki.mjs';
import { tempDir } from '../support/temp.mjs';
import { openWebSocket } from '../support/websocket.mjs';

const part = (claims) => Buffer.from(JSON.stringify(claims)).toString('base64url');
const jwt = (claims) => `${part({ alg: 'none' })}.${part(claims)}.c2ln`;
const exp = Math.floor(Date.now() / 1000) + 600;
const ada = jwt({ preferred_username: 'ada', email: 'ada@example.test', groups: ['k8s-admins'], exp });
const grace = jwt({ preferred_username: 'grace', groups: ['k8s-viewers'], exp });

/** What an API server says of these tokens and of an opaque one. */
const people = {
  [ada]: { username: 'ada', groups: ['k8s-admins'], extra: {} },
  [grace]: { username: 'grace', groups: ['k8s-viewers'], extra: {} },
  opaque: { username: 'ada', groups: ['k8s-admins'], extra: {} },
};

/** One request to an app; the address may be https with any certificate. Headers may be a flat list. */
function ask(url, { method = 'GET', headers = {}, body } = {}) {
  if (url.startsWith('https')) return request(url, { method, headers, body, rejectUnauthorized: false });
  return new Promise((resolve, reject) => {
    http.request(url, { method, headers: Array.isArray(headers) ? ['Host', new URL(url).host, ...headers] : headers, agent: false },
      (res) => readAnswer(res).then(resolve, reject)).on('error', reject).end(body);
  });
}

const bearer = (token) => ({ Authorization: `Bearer ${token}` });
const protocolOf = (token) => `base64url.bearer.authorization.k8s.io.${Buffer.from(token).toString('base64url')}`;

let api;
let chromium;
let selfSigned;
let where; // {url, ca} of the API server
before(async () => {
  const dir = tempDir();
  const { ca, apiserver } = await makeClusterPki(dir);
  selfSigned = await makeSelfSigned(dir, 'kubernetes-dashboard');
  api = await startApiServer({
    tls: apiserver, authenticator: { authenticate: async (token) => people[token] }, allow: { 'k8s-admins': ['*'], 'k8s-viewers': ['get', 'list', 'watch'] },
    mayImpersonate: (user) => user.username === 'ada',
  });
  where = { url: api.url, ca: ca.cert };
  chromium = await launchChromium(await makePki(path.join(dir, 'pki')));
});
after(async () => {
  await chromium?.close();
  await api.close();
});

const asked = () => api.requests.at(-1)?.username;
const text = (page, id) => page.locator(`#${id}`).textContent();

describe('the Headlamp of the tests', { timeout: 60_000 }, () => {
  let headlamp;
  before(async () => { headlamp = await startHeadlamp({ api: where }); });
  after(() => headlamp.close());

  const pods = '/clusters/main/api/v1/pods';
  const cookieOf = (token) => `${cookieName('main')}.0=${token.slice(0, 40)}; ${cookieName('main')}.1=${token.slice(40)}`;

  test('a token is taken from the proxy’s header, then the cookie, then Authorization', async () => {
    const all = { 'X-Forwarded-Id-Token': ada, Cookie: cookieOf(grace), ...bearer('junk') };
    for (const [leave, username] of [[[], 'ada'], [['X-Forwarded-Id-Token'], 'grace']]) {
      const headers = Object.fromEntries(Object.entries(all).filter(([name]) => !leave.includes(name)));
      assert.equal((await ask(headlamp.url + pods, { headers })).status, 200);
      assert.equal(asked(), username);
    }
    assert.equal((await ask(headlamp.url + pods, { headers: bearer('junk') })).status, 401);
    assert.equal((await ask(headlamp.url + pods, { headers: bearer(ada) })).json().items.length, 2);
    assert.equal((await ask(headlamp.url + pods, { headers: { ...bearer(ada), Cookie: `headlamp-auth-main.0=${grace}` } })).status, 200);
    assert.equal(asked(), 'grace', 'a cookie of before 0.45 overrides, too');
  });

  test('without --proxy-auth its header is nothing', async () => {
    const plain = await startHeadlamp({ api: where, proxyAuth: false });
    assert.equal((await ask(plain.url + pods, { headers: { 'X-Forwarded-Id-Token': ada } })).status, 403);
    assert.equal((await ask(`${plain.url}/clusters/main/me`, { headers: { 'X-Forwarded-User': 'root', ...bearer(ada) } })).json().username, 'ada');
    await plain.close();
  });

  test('two values in Authorization, or a comma, are none', async () => {
    for (const headers of [['Authorization', `Bearer ${ada}`, 'Authorization', `Bearer ${grace}`], ['Authorization', `Bearer ${ada}, Bearer ${grace}`]]) {
      assert.equal((await ask(headlamp.url + pods, { headers })).status, 403);
      assert.equal(asked(), 'system:anonymous');
    }
  });

  test('me: by the proxy’s headers, groups cut at commas; else by the JWT; an opaque token is no badge', async () => {
    const me = async (headers) => { const answer = await ask(`${headlamp.url}/clusters/main/me`, { headers }); return { status: answer.status, ...answer.json() }; };
    assert.deepEqual(await me({ 'X-Forwarded-User': 'ada', 'X-Forwarded-Email': 'ada@example.test', 'X-Forwarded-Group': 'k8s-admins,k8s-a,b' }),
      { status: 200, username: 'ada', email: 'ada@example.test', groups: ['k8s-admins', 'k8s-a', 'b'] });
    assert.deepEqual(await me(bearer(ada)), { status: 200, username: 'ada', email: 'ada@example.test', groups: ['k8s-admins'] });
    assert.deepEqual(await me(bearer('opaque')), { status: 401, message: 'invalid token' });
    assert.deepEqual(await me(bearer(jwt({ sub: 'x' }))), { status: 401, message: 'token expired' });
    assert.deepEqual(await me({}), { status: 401, message: 'unauthorized' });
    assert.equal((await ask(headlamp.url + pods, { headers: bearer('opaque') })).status, 200, 'the API server knows it all the same');
  });

  test('a watch by WebSocket goes on, with the bearer from the subprotocol, too', async () => {
    for (const [headers, protocols, username] of [[{ 'X-Forwarded-Id-Token': ada }, [], 'ada'], [{}, [protocolOf(grace)], 'grace']]) {
      const { ws, status } = await openWebSocket(`${headlamp.url + pods}?watch=1`, { headers, protocols: ['base64.binary.k8s.io', ...protocols] });
      assert.equal(status, 101);
      assert.equal(ws.protocol, 'base64.binary.k8s.io');
      assert.equal(asked(), username);
      const { rawHeaders } = api.requests.at(-1);
      assert.equal(rawHeaders[rawHeaders.findIndex((name) => /^sec-websocket-protocol$/i.test(name)) + 1], 'base64.binary.k8s.io');
      api.announce('pods', 'MODIFIED', api.objects.pods[0]);
      assert.equal(JSON.parse(await ws.next()).object.metadata.name, 'web-0');
      ws.destroy();
      await eventually(() => api.watchers, (count) => count === 0);
    }
    assert.equal((await openWebSocket(`${headlamp.url + pods}?watch=1`, { headers: bearer('junk') })).status, 401);
  });

  test('the multiplexer takes the cookie’s token only, from any origin', async () => {
    const watch = JSON.stringify({ clusterId: 'main', path: '/api/v1/pods', query: 'watch=1', type: 'REQUEST' });
    for (const [headers, state] of [[{ 'X-Forwarded-Id-Token': ada, ...bearer(ada) }, 'error'], [{ Cookie: cookieOf(ada) }, 'connected']]) {
      const { ws } = await openWebSocket(`${headlamp.url}/wsMultiplexer`, { headers: { Origin: 'https://evil.example', ...headers }, protocols: ['headlamp.multiplexer.k8s.io'] });
      ws.send(watch);
      assert.equal(JSON.parse(JSON.parse(await ws.next()).data).state, state);
      ws.destroy();
    }
  });

  test('set-token: chunks, HttpOnly, Strict, Secure behind https only', async () => {
    const token = `${'x'.repeat(3800)}y`;
    for (const [url, body] of [['/auth/set-token', { cluster: 'main', token }], ['/clusters/main/set-token', { token }]]) {
      const answer = await ask(headlamp.url + url, { method: 'POST', headers: { 'X-Forwarded-Proto': 'https' }, body: JSON.stringify(body) });
      assert.equal(answer.headers['set-cookie'].length, 2);
      assert.match(answer.headers['set-cookie'][1], /^headlamp-auth-main-[0-9a-f]{32}\.1=y; Path=\/clusters\/main; Max-Age=86400; HttpOnly; Secure; SameSite=Strict$/);
    }
    const plain = await ask(`${headlamp.url}/auth/set-token`, { method: 'POST', body: JSON.stringify({ cluster: 'main', token: 'x' }) });
    assert.doesNotMatch(plain.headers['set-cookie'][0], /Secure/);
  });

  test('what a browser must not reach it with, it obeys', async () => {
    const kubeconfig = Buffer.from(`clusters:\n- cluster:\n    server: ${api.url}\n`).toString('base64');
    assert.equal((await ask(`${headlamp.url}/clusters/other/version`, { headers: { KUBECONFIG: kubeconfig } })).status, 200);
    assert.equal((await ask(`${headlamp.url}/clusters/other/version`)).status, 404);
    assert.match((await ask(`${headlamp.url}/externalproxy`, { headers: { 'Forward-To': `${headlamp.url}/config` } })).text, /clusters/);
    assert.equal((await ask(`${headlamp.url}/cluster`, { method: 'POST', headers: { 'X-HEADLAMP_BACKEND-TOKEN': 'headlamp' } })).status, 201);
    assert.equal((await ask(`${headlamp.url}/cluster`, { method: 'POST' })).status, 403);
    assert.deepEqual(headlamp.obeyed.map(({ what }) => what), ['KUBECONFIG', 'Forward-To', 'X-HEADLAMP_BACKEND-TOKEN']);
  });

  test('its page in a browser shows who one is, the pods, and what comes', async () => {
    const page = await newPage(chromium, { extraHTTPHeaders: { 'X-Forwarded-User': 'ada', 'X-Forwarded-Group': 'k8s-admins', 'X-Forwarded-Id-Token': ada } });
    await page.goto(`${headlamp.url}/c/main/pods`);
    await page.getByText('web-0 web-1').waitFor();
    assert.equal(await text(page, 'me'), 'ada (k8s-admins)');
    await page.getByText('open base64.binary.k8s.io').waitFor();
    api.announce('pods', 'DELETED', api.objects.pods[1]);
    await page.getByText('DELETED web-1').waitFor();
    await page.context().close();
    await eventually(() => api.watchers, (count) => count === 0);
  });
});

describe('the Dashboard 7 of the tests', { timeout: 60_000 }, () => {
  let dashboard;
  before(async () => { dashboard = await startDashboard7({ api: where }); });
  after(() => dashboard.close());

  test('me: the bearer, in exactly these letters, is tried at the API server', async () => {
    const me = (headers) => ask(`${dashboard.auth.url}/api/v1/me`, { headers });
    const good = await me(bearer('opaque'));
    assert.deepEqual([good.status, good.json()], [200, { authenticated: true }]);
    for (const headers of [{}, bearer('junk'), { Authorization: `bearer ${ada}` }, { Cookie: `token=${ada}` }]) assert.equal((await me(headers)).status, 401);
  });

  test('each server has its own paths', async () => {
    assert.equal((await ask(`${dashboard.auth.url}/api/v1/pod`, { headers: bearer(ada) })).status, 404);
    assert.equal((await ask(`${dashboard.api.url}/api/v1/me`, { headers: bearer(ada) })).status, 404);
    assert.equal((await ask(`${dashboard.api.url}/metrics`)).status, 200);
    assert.match((await ask(`${dashboard.web.url}/anything`)).text, /Kubernetes Dashboard 7/);
  });

  test('a POST needs the token of its own action, and sign-in has one at the auth server', async () => {
    const csrf = async (server, action) => (await ask(`${server.url}/api/v1/csrftoken/${action}`)).json().token;
    const post = (server, where_, token, body) => ask(`${server.url}/api/v1/${where_}`, { method: 'POST', headers: token && { 'X-CSRF-TOKEN': token }, body: JSON.stringify(body) });
    assert.equal((await post(dashboard.api, 'appdeployment', await csrf(dashboard.api, 'appdeployment'), {})).status, 201);
    const login = await csrf(dashboard.auth, 'login');
    for (const token of [undefined, 'x', login]) {
      const refused = await post(dashboard.api, 'appdeployment', token, {});
      assert.equal(refused.status, 401);
      assert.match(refused.headers['content-type'], /^text\/plain/);
    }
    assert.equal((await post(dashboard.auth, 'login', login, { token: ada })).json().token, ada);
  });

  test('Impersonate-* and Cluster-Context are obeyed', async () => {
    const headers = { ...bearer(ada), 'Impersonate-User': 'grace', 'Impersonate-Group': 'k8s-viewers', 'Cluster-Context': 'other' };
    assert.equal((await ask(`${dashboard.api.url}/api/v1/pod`, { headers })).status, 200);
    assert.equal(asked(), 'grace');
    assert.deepEqual(dashboard.api.obeyed.map(({ what }) => what.toLowerCase()), ['cluster-context', 'impersonate-user', 'impersonate-group']);
  });

  const shell = async () => (await ask(`${dashboard.api.url}/api/v1/pod/default/web-0/shell/main`, { headers: bearer(ada) })).json().id;
  const op = (message) => JSON.stringify([JSON.stringify(message)]);
  const said = (frame) => JSON.parse(JSON.parse(frame.slice(1))[0]).Data;

  test('the terminal’s socket asks for its id, once, and for nothing else', async () => {
    const id = await shell();
    const open = async () => (await openWebSocket(`${dashboard.api.url}/api/sockjs/1/abc/websocket`)).ws;
    const ws = await open();
    assert.equal(await ws.next(), 'o');
    ws.send(op({ Op: 'bind', SessionID: id }));
    assert.equal(said(await ws.next()), 'web-0$ ');
    ws.send(op({ Op: 'stdin', Data: 'ls' }));
    assert.equal(said(await ws.next()), 'ls');
    ws.destroy();
    const stranger = await open();
    stranger.send(op({ Op: 'bind', SessionID: id }));
    assert.equal(await stranger.next(), 'o');
    assert.match(await stranger.next(), /^c\[2/);
    assert.equal((await ask(`${dashboard.api.url}/api/v1/pod/default/web-0/shell/main`, { headers: bearer('junk') })).status, 401);
  });

  test('the terminal without WebSockets: an answer that goes on, and POSTs beside it', async () => {
    const id = await shell();
    const [res] = await once(http.request(`${dashboard.api.url}/api/sockjs/1/def/xhr_streaming`, { method: 'POST' }).end(), 'response');
    let lines = '';
    res.setEncoding('utf8').on('data', (chunk) => { lines += chunk; });
    await eventually(() => lines, (all) => all.endsWith('o\n'));
    const send = async (message) => ask(`${dashboard.api.url}/api/sockjs/1/def/xhr_send`, { method: 'POST', body: op(message) });
    assert.equal((await send({ Op: 'bind', SessionID: id })).status, 204);
    await eventually(() => lines, (all) => all.includes('web-0$ '));
    res.destroy();
  });
});

describe('the Dashboard 2.7 of the tests', { timeout: 60_000 }, () => {
  let dashboard;
  before(async () => { dashboard = await startDashboard2({ api: where, tls: selfSigned }); });
  after(() => dashboard.close());

  const get = (path_, headers) => ask(dashboard.url + path_, { headers });
  const post = async (where_, action, body) => ask(`${dashboard.url}/api/v1/${where_}`, {
    method: 'POST', headers: { 'X-CSRF-TOKEN': (await get(`/api/v1/csrftoken/${action}`)).json().token }, body: JSON.stringify(body),
  });

  test('it speaks TLS, with a certificate that only itself vouches for', async () => {
    assert.match(dashboard.url, /^https:/);
    await assert.rejects(request(dashboard.url), { code: 'DEPTH_ZERO_SELF_SIGNED_CERT' });
    assert.equal((await request(dashboard.url, { ca: selfSigned.cert })).status, 200);
  });

  test('login/status says what it saw; Authorization wins over jweToken', async () => {
    const status = async (headers) => (await get('/api/v1/login/status', headers)).json();
    assert.deepEqual(await status({}), { tokenPresent: false, headerPresent: false, httpsMode: true, impersonationPresent: false, impersonatedUser: '' });
    assert.deepEqual(await status({ ...bearer(ada), 'Impersonate-User': 'root' }), { tokenPresent: false, headerPresent: true, httpsMode: true, impersonationPresent: true, impersonatedUser: 'root' });
    const { jweToken } = (await post('login', 'login', { token: grace })).json();
    assert.equal((await status({ jweToken })).tokenPresent, true);
    await get('/api/v1/pod', { jweToken });
    assert.equal(asked(), 'grace');
    await get('/api/v1/pod', { jweToken, ...bearer(ada) });
    assert.equal(asked(), 'ada');
    const renewed = (await post('token/refresh', 'token', { jweToken })).json().jweToken;
    assert.notEqual(renewed, jweToken);
    assert.equal((await get('/api/v1/pod', { jweToken: renewed })).status, 200);
    assert.equal((await get('/api/v1/pod')).status, 401);
  });
});

describe('pages of the Dashboards in a browser', { timeout: 60_000 }, () => {
  test('with a bearer they show their overview, without one their sign-in', async () => {
    const dashboard = await startDashboard2({ api: where, tls: selfSigned });
    for (const [headers, shown] of [[{}, 'login'], [bearer(ada), 'overview']]) {
      const page = await newPage(chromium, { extraHTTPHeaders: headers, ignoreHTTPSErrors: true });
      await page.goto(dashboard.url);
      await eventually(() => text(page, 'page'), (now) => now === shown);
      if (shown === 'overview') await page.getByText('web-0 web-1').waitFor();
      await page.context().close();
    }
    await dashboard.close();
  });
});

describe('the small app of the tests', { timeout: 60_000 }, () => {
  let app;
  before(async () => { app = await startGeneric(); });
  after(() => app.close());

  test('fetch, XHR, WebSocket, events, upload and a form, in a browser', async () => {
    const page = await newPage(chromium);
    await page.goto(`${app.url}/page/deep?a=b`);
    for (const [id, shown] of [['where', '/page/deep?a=b'], ['fetch', '200 application/json'], ['xhr', '200 {"written":"by XHR"}'], ['ws', 'open echo.example hello'], ['sse', 'hello '], ['upload', 'true']]) {
      await eventually(() => text(page, id), (now) => now === shown);
    }
    app.say('again');
    await eventually(() => text(page, 'sse'), (now) => now === 'hello again ');
    await page.getByLabel('Your name').fill('Ada');
    await page.getByRole('button', { name: 'Send' }).click();
    await page.getByText('Thank you, Ada').waitFor();
    assert.equal(app.seen('/form')[0].body.toString(), 'name=Ada');
    await page.context().close();
    await eventually(() => app.sockets.size + app.listeners.size, (open) => open === 0);
  });

  test('below a path; hostile cookies; pieces that come one by one', async () => {
    const below = await startGeneric({ base: '/reports' });
    assert.equal((await ask(`${below.url}/reports/whoami`)).status, 200);
    assert.equal((await ask(`${below.url}/whoami`)).status, 404);
    await below.close();
    assert.deepEqual((await ask(`${app.url}/cookies`)).headers['set-cookie'], hostileCookies);
    const [res] = await once(http.get(`${app.url}/slow?pieces=3`), 'response');
    const pieces = [];
    for await (const piece of res.setEncoding('utf8')) pieces.push(piece);
    assert.equal(pieces.join(''), '3\n2\n1\n');
  });
});
