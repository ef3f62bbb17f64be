// Apps behind the proxy, seen from both ends: what reaches each kind of app of a request and of an upgrade, what comes back
// to the browser, and that nothing stays open that may not be open any more.
import assert from 'node:assert/strict';
import https from 'node:https';
import { after, before, describe, test } from 'node:test';

import { startGeneric } from '../support/apps_generic.mjs';
import { startApps } from '../support/apps_world.mjs';
import { writeConfig } from '../support/config.mjs';
import { eventually } from '../support/eventually.mjs';
import { testLookup } from '../support/hosts.mjs';
import { locationOf, request } from '../support/http.mjs';
import { signOut } from '../support/sign_in.mjs';
import { openWebSocket } from '../support/websocket.mjs';

const entities = { '&amp;': '&', '&lt;': '<', '&gt;': '>', '&quot;': '"', '&#39;': "'" };
const unescapeHtml = (text) => text.replace(/&[^;]+;/g, (entity) => entities[entity]);
const ada = '00u1abcd2EFGH3ijk4l5';
const jwt = /^eyJ[\w-]+\.eyJ[\w-]+\.[\w-]+$/;
const claimsOf = (token) => JSON.parse(Buffer.from(token.split('.')[1], 'base64url'));

/** What a browser, or a page that somebody lured it to, could write to be somebody else. */
const forged = {
  Authorization: 'Bearer forged', 'Impersonate-User': 'root', Impersonate_Group: 'system:masters', 'X-Remote-User': 'root', 'Remote-User': 'root', REMOTE_USER: 'root',
  'X-Forwarded-User': 'root', X_Forwarded_User: 'root', 'x-forwarded-group': 'system:masters', 'X-Forwarded-Groups': 'system:masters', 'X-Forwarded-Email': 'root@example.com',
  'X-Forwarded-Id-Token': 'forged', 'X-Forwarded-Access-Token': 'forged', 'X-Forwarded-Preferred-Username': 'root', 'X-WEBAUTH-USER': 'root', X_WebAuth_Role: 'Admin',
  'X-Auth-Request-User': 'root', 'X-Auth-Request-Access-Token': 'forged', 'X-Real-IP': '6.6.6.6', Forwarded: 'for=6.6.6.6',
};
/** What is an order to one kind, and nothing to another. */
const forHeadlamp = { ...forged, 'X-HEADLAMP_BACKEND-TOKEN': 'forged', 'X-HEADLAMP-USER-ID': 'root', KUBECONFIG: 'Zm9yZ2Vk', 'Forward-To': 'http://forged.example' };
const forDashboard = { ...forged, 'Cluster-Context': 'forged' };
const forDashboard2 = { ...forDashboard, jweToken: 'forged' };
const identityHeader = /author|imperson|remote|forwarded|webauth|auth.request|headlamp|kubeconfig|forward.to|cluster.context|jwetoken|real.ip/i;

describe('apps behind the proxy', { timeout: 300_000 }, () => {
  let apps;
  let one;
  let two;
  let grafana;
  let browser;
  before(async () => {
    [one, two, grafana] = await Promise.all([startGeneric({ base: '/one' }), startGeneric({ base: '/one/two' }), startGeneric()]);
    apps = await startApps({
      change: (config) => {
        const tools = config.proxy.apps[0].url.replace('headlamp', 'tools');
        config.tokens = { ...config.tokens, lifetime: '15s' };
        config.proxy.apps.push(
          { name: 'one', url: `${tools}/one`, upstream: one.url },
          { name: 'two', url: `${tools}/one/two`, upstream: two.url },
          { name: 'grafana', url: tools.replace('tools', 'grafana'), upstream: grafana.url, inject: 'proxy-auth' },
        );
      },
    });
    browser = await apps.world.signIn('ada');
  });
  after(async () => {
    await apps.close();
    await Promise.all([one, two, grafana].map((app) => app.close()));
  });

  /** As a browser that goes somewhere: every redirect is followed. */
  async function go(url, who = browser) {
    let answer = await who.get(url);
    for (let hops = 0; hops < 8 && answer.status === 303; hops += 1) answer = await who.get(locationOf(answer));
    return answer;
  }

  /** In a session of that app: a script's request. */
  async function ask(url, { who = browser, headers = {}, cookies = '', ...options } = {}) {
    const own = who.jar.header(url);
    return request(url, { ca: apps.world.ca, headers: { Accept: 'application/json', 'Sec-Fetch-Mode': 'cors', 'Sec-Fetch-Site': 'same-origin', Cookie: [cookies, own].filter(Boolean).join('; '), ...headers }, ...options });
  }

  function connect(url, { who = browser, headers = {}, cookies = '', ...options } = {}) {
    const own = who.jar.header(url);
    return openWebSocket(url, { ca: apps.world.ca, headers: { Origin: new URL(url).origin, Cookie: [cookies, own].filter(Boolean).join('; '), ...headers }, ...options });
  }

  /** The headers by which an app could take a request to be somebody's, as they arrived. */
  function told({ rawHeaders }) {
    const found = {};
    rawHeaders.forEach((name, i) => {
      if (i % 2 === 0 && identityHeader.test(name) && !/^x-forwarded-(for|host|proto)$/i.test(name)) (found[name] ??= []).push(rawHeaders[i + 1]);
    });
    return found;
  }

  const ours = (name) => name.startsWith('__Host-postern');

  test('somebody who is signed in gets into each app, and the app sees Host and the address as the browser has them', async () => {
    for (const name of ['headlamp', 'dashboard', 'dashboard-old', 'reports', 'grafana']) assert.equal((await go(apps.url(name))).status, 200, name);
    const { headers } = grafana.last;
    assert.equal(headers.host, new URL(apps.url('grafana')).host);
    assert.equal(headers['x-forwarded-host'], headers.host);
    assert.equal(headers['x-forwarded-proto'], 'https');
    assert.equal(headers['x-forwarded-for'], '127.0.0.1');
  });

  for (const upgraded of [false, true]) {
    const how = upgraded ? 'in an upgrade' : 'in a request';
    const send = async (app, path, options) => {
      const url = `${apps.url(app)}${path}`;
      if (!upgraded) return ask(url, options);
      const answer = await connect(url, options);
      answer.ws?.destroy();
      return answer;
    };

    test(`peers 29-32, 37, 38: Headlamp is told by us alone who it is, ${how}`, async () => {
      await send('headlamp', `/clusters/main/api/v1/pods${upgraded ? '?watch=1' : ''}`, { headers: { ...forHeadlamp, Connection: upgraded ? 'Upgrade, X-Forwarded-User, X-Forwarded-Id-Token' : 'close, X-Forwarded-User, X-Forwarded-Id-Token' }, cookies: 'headlamp-auth-main.0=forged; theme=dark' });
      const { last } = apps.headlamp;
      assert.equal(last.upgrade, upgraded);
      const { 'X-Forwarded-Id-Token': tokens, 'X-Forwarded-Group': groups, ...rest } = told(last);
      assert.equal(tokens.length, 1);
      assert.match(tokens[0], jwt);
      assert.equal(claimsOf(tokens[0]).aud, 'kubernetes');
      assert.ok(groups[0].split(',').includes('k8s-admins'));
      assert.deepEqual(rest['X-Forwarded-User'], [ada]);
      assert.ok(Object.keys(rest).every((name) => ['X-Forwarded-User', 'X-Forwarded-Email'].includes(name)), JSON.stringify(rest));
      assert.deepEqual(Object.keys(last.cookies), ['theme']);
    });

    test(`peers 29-32, 37, 38: Dashboard 7 gets one bearer, ours, ${how}`, async () => {
      await send('dashboard', '/api/v1/pod', { headers: forDashboard, cookies: 'token=forged; theme=dark' });
      const { last } = apps.dashboard7.api;
      const { Authorization: tokens, ...rest } = told(last);
      assert.equal(tokens.length, 1);
      assert.match(tokens[0].slice('Bearer '.length), jwt);
      assert.deepEqual(rest, {});
      assert.deepEqual(Object.keys(last.cookies), ['theme']);
    });

    test(`peers 29-32, 37, 38: Dashboard 2 gets one bearer, ours, ${how}`, async () => {
      await send('dashboard-old', '/api/v1/pod', { headers: forDashboard2, cookies: 'jweToken=forged; theme=dark' });
      const { last } = apps.dashboard2;
      const { Authorization: tokens, ...rest } = told(last);
      assert.equal(tokens.length, 1);
      assert.match(tokens[0].slice('Bearer '.length), jwt);
      assert.deepEqual(rest, {});
      assert.deepEqual(Object.keys(last.cookies), ['theme']);
    });

    test(`peers 29-32, 37, 38: another app is told nothing, or what oauth2-proxy would tell, ${how}`, async () => {
      await send('reports', upgraded ? '/socket' : '/whoami', { headers: forged, cookies: 'own=1' });
      assert.deepEqual(told(apps.reports.last), {});
      assert.equal(apps.reports.last.cookies.own, '1');
      assert.ok(!Object.keys(apps.reports.last.cookies).some(ours));

      await send('grafana', upgraded ? '/socket' : '/whoami', { headers: forged });
      const { 'X-Forwarded-Groups': groups, 'X-Forwarded-Email': email, ...rest } = told(grafana.last);
      assert.deepEqual(rest, { 'X-Forwarded-User': [ada], 'X-Forwarded-Preferred-Username': [ada] });
      assert.ok(groups[0].split(',').includes('k8s-admins'));
      assert.ok(email === undefined || !email.includes('root@example.com'));
      assert.ok(!Object.keys(grafana.last.cookies).some(ours));
    });
  }

  test('a WebSocket’s bearer of the page’s own goes no further', async () => {
    const own = `base64url.bearer.authorization.k8s.io.${Buffer.from('forged').toString('base64url')}`;
    const { ws } = await connect(`${apps.url('reports')}/socket`, { protocols: [own, 'echo.example'] });
    assert.equal(ws.protocol, 'echo.example');
    assert.equal(apps.reports.last.headers['sec-websocket-protocol'], 'echo.example');
    ws.destroy();
  });

  test('Dashboard 7 needs no Kong: each path reaches its part', async () => {
    const { auth, api, web } = apps.dashboard7;
    for (const [path, part] of [['/', web], ['/assets/x.js', web], ['/apix', web], ['/api/v1/me', auth], ['/api/v1/login', auth], ['/api/v1/csrftoken/login', auth], ['/api/v1/csrftoken/scale', api], ['/api/v1/pod', api], ['/metrics', api]]) {
      const before = part.requests.length;
      await ask(`${apps.url('dashboard')}${path}`);
      assert.equal(part.requests.length, before + 1, path);
      assert.equal(part.last.path, path);
      assert.match(part.last.headers.authorization, /^Bearer eyJ/);
    }
  });

  test('Headlamp takes no token from a browser, and begins no sign-in of its own', async () => {
    const before = apps.headlamp.requests.length;
    for (const path of ['/auth/set-token', '/auth/set%2Dtoken', '/AUTH//set-token/', '/clusters/main/set-token', '/clusters/main%2Fset-token', '/oidc?cluster=main', '/%6Fidc', '/oidc-callback?code=x']) {
      const answer = await ask(`${apps.url('headlamp')}${path}`, { method: 'POST', body: '{"cluster":"main","token":"forged"}' });
      assert.equal(answer.status, 403, path);
    }
    assert.equal(apps.headlamp.requests.length, before, 'nothing of it reached Headlamp');
  });

  test('an app can’t touch our cookies, nor set one for its neighbours', async () => {
    const before = browser.jar.names().filter(ours);
    const answer = await browser.get(`${apps.url('reports')}/cookies`);
    assert.deepEqual(answer.headers['set-cookie'].filter((line) => /__host-postern|domain/i.test(line)), []);
    assert.ok(answer.headers['set-cookie'].some((line) => line.startsWith('own=1')));
    assert.deepEqual(browser.jar.names().filter(ours), before);
    assert.equal((await ask(`${apps.url('reports')}/whoami`)).status, 200);
  });

  test('what caches share keeps nothing of a person’s', async () => {
    assert.equal((await ask(`${apps.url('reports')}/whoami`)).headers['cache-control'], 'no-store');
    assert.equal((await ask(`${apps.url('reports')}/`)).headers['cache-control'], 'no-cache, private');
    assert.equal((await ask(`${apps.url('headlamp')}/clusters/main/me`)).headers['cache-control'], 'no-store, no-cache, must-revalidate, private');
  });

  test('two apps on one host are told apart by whole segments; the rest of that host is nobody’s', async () => {
    const host = apps.url('tools');
    for (const [path, app] of [['/one', one], ['/one/page/x', one], ['/one/twofold', one], ['/one/two', two], ['/one/two/page/x', two], ['/one/two?x=1', two]]) {
      await go(`${host}${path}`);
      const before = app.requests.length;
      await go(`${host}${path}`);
      assert.equal(app.requests.length, before + 1, path);
      assert.equal(app.last.path, path);
    }
    for (const path of ['/', '/onefold', '/two']) assert.equal((await browser.get(`${host}${path}`)).status, 404, path);
    assert.equal((await browser.get(apps.url('nobody'))).status, 421);
  });

  test('a token is used again, and made anew ahead of its end', async () => {
    const url = `${apps.url('headlamp')}/config`;
    const current = async () => {
      await ask(url);
      return apps.headlamp.last.headers['x-forwarded-id-token'];
    };
    const first = await current();
    assert.equal(await current(), first);
    const { exp, iat, sid } = claimsOf(first);
    assert.equal(exp - iat, 15);
    const second = await eventually(current, (token) => token !== first, { tries: 60, pauseMs: 250 });
    assert.ok(Date.now() < exp * 1000, 'the first was good still');
    assert.equal(claimsOf(second).sid, sid, 'of the same session');
  });

  test('an upgrade is a tunnel with an audit line, counted while it is open', async () => {
    const { ws } = await connect(`${apps.url('reports')}/socket`);
    ws.send('there and back');
    assert.equal(await ws.next(), 'there and back');
    const line = await apps.world.postern.logLine((l) => l.message === 'audit' && l.event === 'app_upgrade' && l.app === 'reports' && l.path === '/socket');
    assert.equal(line.uid, ada);
    const text = async () => (await apps.world.postern.metrics());
    await eventually(text, (metrics) => metrics.includes('postern_proxy_app_streams{app="reports",kind="upgrade"} 1'));
    assert.match(await text(), /postern_proxy_requests_total\{target="app\/reports",result="passed"\} [1-9]/);
    ws.destroy();
    await eventually(text, (metrics) => metrics.includes('postern_proxy_app_streams{app="reports",kind="upgrade"} 0'));
  });

  test('peers 33: an upgrade that the app refuses is answered', async () => {
    const answer = await connect(`${apps.url('headlamp')}/nothing/here`);
    assert.equal(answer.status, 404);
    assert.equal(answer.text, 'not found');
    assert.equal((await ask(`${apps.url('headlamp')}/config`)).status, 200);
  });

  test('a big download passes a slow reader', async () => {
    const bytes = 20_000_000;
    const url = new URL(`${apps.url('reports')}/big?bytes=${bytes}`);
    const got = await new Promise((resolve, reject) => {
      https.get(url, { ca: apps.world.ca, lookup: testLookup, agent: false, headers: { Cookie: browser.jar.header(url) } }, (res) => {
        let count = 0;
        let pauses = 0;
        res.on('data', (chunk) => {
          count += chunk.length;
          if (count / 4_000_000 < pauses + 1) return;
          pauses += 1;
          res.pause();
          setTimeout(() => res.resume(), 200);
        }).on('end', () => resolve(count)).on('error', reject);
      }).on('error', reject);
    });
    assert.equal(got, bytes);
  });

  test('peers 40: sign-out cuts an open WebSocket, a lost group too; the other person’s goes on', async () => {
    const people = {};
    for (const name of ['ada', 'grace']) {
      const own = await apps.world.signIn(name);
      await go(apps.url('reports'), own);
      people[name] = { own, ws: (await connect(`${apps.url('reports')}/socket`, { who: own })).ws };
    }
    await signOut(people.ada.own);
    await people.ada.ws.ended;
    const line = await apps.world.postern.logLine((l) => l.message === 'audit' && l.event === 'stream_cut' && l.app === 'reports');
    assert.equal(line.uid, ada);
    people.grace.ws.send('still here');
    assert.equal(await people.grace.ws.next(), 'still here');

    const user = apps.user('grace');
    const { groups } = user;
    user.groups = ['Everyone'];
    await people.grace.ws.ended;
    const answer = await ask(`${apps.url('reports')}/whoami`, { who: people.grace.own });
    assert.equal(answer.status, 403);
    user.groups = groups;
  });

  test('a reload: what is open goes on; an app that is taken away is cut, and gone', async () => {
    const { postern } = apps.world;
    const reload = async (change) => {
      const from = postern.process.lines.length;
      change(postern.config);
      await writeConfig(postern.configFile, postern.config);
      postern.process.kill('SIGHUP');
      const line = await postern.logLine((l) => /^reload/.test(l.message), from);
      assert.equal(line.message, 'reloaded', JSON.stringify(line));
    };
    const stays = (await connect(`${apps.url('reports')}/socket`)).ws;
    const goes = (await connect(`${apps.url('tools')}/one/two/socket`)).ws;
    const all = postern.config.proxy.apps;
    await reload((config) => { config.proxy.apps = all.filter(({ name }) => name !== 'two'); });
    await goes.ended;
    stays.send('still here');
    assert.equal(await stays.next(), 'still here');
    await ask(`${apps.url('tools')}/one/two`);
    assert.equal(one.last.path, '/one/two', 'it is the other one’s now');
    await reload((config) => { config.proxy.apps = all; });
    assert.equal((await ask(`${apps.url('tools')}/one/two`)).status, 200);
    assert.equal(two.last.path, '/one/two');
    assert.match(await postern.metrics(), /postern_proxy_app_streams\{app="two",kind="upgrade"\} 0/);
    stays.send('still here');
    assert.equal(await stays.next(), 'still here');
    await reload((config) => {
      config.proxy.apps = all.map((app) => (app.name === 'reports' ? { ...app, cluster: 'kubernetes' } : app));
    });
    await stays.ended; // its session is of a cluster that the app has nothing to do with any more
    await reload((config) => { config.proxy.apps = all; });
  });

  test('an app that is down: a page for people, JSON for scripts', async () => {
    const { port } = grafana;
    await grafana.close();
    const page = await browser.get(apps.url('grafana'));
    assert.equal(page.status, 502);
    assert.match(page.headers['content-type'], /^text\/html/);
    const goes = { Accept: 'text/html', 'Sec-Fetch-Mode': 'navigate' };
    for (const path of ['/d/a%2Fb?from=now-1h&to=now', `/x?"><script>alert(1)</script>&a='b'&amp;`, '/x?//evil.example/']) {
      const { status, text } = await ask(apps.url('grafana'), { path, headers: goes });
      assert.equal(status, 502, text);
      assert.doesNotMatch(text, /<script/);
      const [, href] = /<a class="button" href="([^"]*)">Try again<\/a>/.exec(text);
      assert.equal(unescapeHtml(href), apps.url('grafana') + path, 'the same address, on the same host');
    }
    const form = await ask(`${apps.url('grafana')}/form`, { method: 'POST', headers: goes });
    assert.match(form.text, /<a class="button" href="https:\/\/[^"/]+\/">Open the app<\/a>/, 'a form is not sent again by a link');
    const script = await ask(`${apps.url('grafana')}/whoami`);
    assert.equal(script.status, 502);
    assert.match(script.headers['content-type'], /^application\/problem\+json/);
    await grafana.listen(port);
    assert.equal((await ask(`${apps.url('grafana')}/whoami`)).status, 200);
  });

  test('no secret is in a log line', () => {
    for (const secret of [...apps.world.secrets(), ...apps.tokens()]) assert.ok(!apps.world.postern.log.includes(secret));
  });
});
