// The gate in front of apps: the way in by ticket, and who is kept out, in the words of whoever asks.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { startApps } from '../support/apps_world.mjs';
import { eventually } from '../support/eventually.mjs';
import { locationOf, request } from '../support/http.mjs';
import { signOut } from '../support/sign_in.mjs';

const navigation = { 'Sec-Fetch-Mode': 'navigate', 'Sec-Fetch-Dest': 'document', 'Sec-Fetch-Site': 'none' };
const script = { Accept: '*/*', 'Sec-Fetch-Mode': 'cors', 'Sec-Fetch-Dest': 'empty', 'Sec-Fetch-Site': 'same-origin' };
const upgrade = { Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==' };

describe('the gate in front of apps', { timeout: 600_000 }, () => {
  let apps;
  let world;
  let reports; // its origin
  before(async () => {
    apps = await startApps({ change: (config) => {
      const app = config.proxy.apps.find(({ name }) => name === 'reports');
      config.proxy.apps.push({ ...app, name: 'annex', label: 'Annex', url: `${app.url}/annex` });
      config.identity.stale_if_error = '1s';
    } });
    world = apps.world;
    reports = apps.url('reports');
  });
  after(() => apps?.close());

  const beginCookies = (browser) => browser.jar.names().filter((name) => name.startsWith('__Host-postern-begin-'));
  const appCookie = (browser, name = 'reports') => browser.jar.get(`__Host-postern-app-${name}`);

  /** Goes to an app and, at the portal, as far as the ticket's address, which is not followed. */
  async function fetchTicket(browser, url = `${reports}/`) {
    const away = await browser.get(url, { headers: navigation });
    assert.equal(away.status, 303, away.text);
    const back = await browser.get(locationOf(away));
    assert.equal(back.status, 303, back.text);
    return locationOf(back);
  }

  async function enter(browser, url = `${reports}/`) {
    const landed = await browser.get(await fetchTicket(browser, url), { headers: navigation });
    assert.equal(landed.status, 303, landed.text);
    return landed;
  }

  async function person(name = 'ada') {
    const browser = await world.signIn(name);
    await enter(browser);
    return browser;
  }

  /** A page of ours: no script, nothing of others, and one clear way on. */
  async function assertPage(answer, status, title, href = `${reports}/`) {
    assert.equal(answer.status, status, answer.text);
    assert.match(answer.headers['content-type'], /^text\/html/);
    assert.match(answer.text, title);
    assert.match(answer.text, new RegExp(`<a class="button" href="${href}"`));
    assert.match(answer.headers['content-security-policy'], /default-src 'none'.*frame-ancestors 'none'/);
    assert.doesNotMatch(answer.text, /<script|<style|style="/);
    assert.equal(answer.headers['cache-control'], 'no-store');
    assert.equal(answer.headers.location, undefined);
    assert.ok(answer.text.includes(answer.headers['x-request-id']));
  }

  function assertProblem(answer, status) {
    assert.equal(answer.status, status, answer.text);
    assert.equal(answer.headers['content-type'], 'application/problem+json');
    assert.equal(answer.headers['cache-control'], 'no-store');
    assert.equal(answer.headers.location, undefined);
    assert.equal(answer.headers['www-authenticate'], undefined, 'a browser would ask for a password');
    assert.equal(answer.json().status, status);
  }

  /** The ticket does not stay in the address line: the page that says no has an address of its own. */
  async function assertRefused(browser, ticketUrl, appUrl = reports) {
    const hadOne = appCookie(browser);
    const answer = await browser.get(ticketUrl, { headers: navigation });
    assert.equal(answer.status, 303, answer.text);
    assert.equal(answer.headers['referrer-policy'], 'no-referrer');
    assert.equal(locationOf(answer).href, `${appUrl}/.postern/refused`);
    await assertPage(await browser.get(locationOf(answer), { headers: navigation }), 400, /has been used or took too long/, `${appUrl}/`);
    assert.equal(appCookie(browser), hadOne);
  }

  describe('the way in', () => {
    test('a deep link leads through the sign-in to where it pointed', async () => {
      const browser = world.browser();
      const deepLink = `${reports}/page/a%2Fb?tab=%C3%A4&left=[{1}]&re=\\d`; // as browsers send it
      const away = await browser.get(deepLink, { headers: navigation });
      assert.equal(away.status, 303);
      assert.equal(away.headers['cache-control'], 'no-store');
      assert.equal(away.headers['referrer-policy'], 'no-referrer');
      const portal = locationOf(away);
      assert.equal(portal.origin + portal.pathname, `${apps.portal}/apps/enter`);
      assert.doesNotMatch(portal.search, /page|tab/);
      assert.equal((await browser.get(portal)).status, 401);
      await world.signIn('ada', { browser, returnTo: portal.pathname + portal.search });
      const back = await browser.get(locationOf(browser.landed));
      const landed = await browser.get(locationOf(back), { headers: { ...navigation, 'Sec-Fetch-Site': 'same-site' } });
      assert.equal(landed.status, 303, landed.text);
      assert.equal(landed.headers['referrer-policy'], 'no-referrer');
      assert.equal(locationOf(landed).href, deepLink);
      assert.deepEqual(beginCookies(browser), []);
      const cookie = appCookie(browser);
      for (const attribute of ['httponly', 'secure']) assert.ok(cookie.attributes.has(attribute), cookie.line);
      assert.equal(cookie.attributes.get('samesite'), 'Lax');
      assert.ok(!cookie.attributes.has('max-age') && !cookie.attributes.has('domain'));
      const page = await browser.get(locationOf(landed), { headers: navigation });
      assert.equal(page.status, 200);
      assert.match(page.text, /Reports \(stand-in\)/);
      const line = await world.postern.logLine((l) => l.event === 'app_entered');
      assert.equal(line.app, 'reports');
    });

    test('peers 38: no cookie of ours reaches the app', async () => {
      const ada = await person();
      await ada.get(`${reports}/whoami`, { headers: script });
      const { headers } = apps.reports.requests.at(-1);
      assert.doesNotMatch(JSON.stringify(headers), /__host-postern/i);
    });

    test('who is in already gets no second session', async () => {
      const ada = await world.signIn('ada');
      const [first, second] = [await fetchTicket(ada), await fetchTicket(ada)];
      await ada.get(first, { headers: navigation });
      const { value } = appCookie(ada);
      const landed = await ada.get(second, { headers: navigation });
      assert.equal(landed.status, 303);
      assert.equal(appCookie(ada).value, value);
    });

    test('peers 45, 52: a ticket works once, and only in the browser that began', async () => {
      const grace = await world.signIn('grace');
      const ticket = await fetchTicket(grace);
      const ada = world.browser();
      await assertRefused(ada, await fetchTicket(grace)); // no begin cookie: the attacker's ticket signs nobody in
      await ada.get(`${reports}/`, { headers: navigation });
      await assertRefused(ada, await fetchTicket(grace)); // one of her own
      const forged = await fetchTicket(grace);
      ada.jar.set(reports, beginCookies(grace).at(-1), ada.jar.get(beginCookies(ada)[0]).value);
      await assertRefused(ada, forged); // even under its name
      const thief = grace.clone();
      const landed = await grace.get(ticket, { headers: navigation });
      assert.equal(landed.status, 303, landed.text);
      await assertRefused(grace, ticket);
      await assertRefused(thief, ticket); // with the begin cookie, but it is used
    });

    test('a ticket that somebody fetched in another browser, for a begin of their own, is spent there and seen nowhere', async () => {
      const thief = world.browser();
      const away = await thief.get(`${reports}/`, { headers: navigation }); // keeps its begin cookie, and sends Ada to the portal with that begin
      const ada = await world.signIn('ada');
      const ticket = locationOf(await ada.get(locationOf(away)));
      await assertRefused(ada, ticket); // a script of the app could have opened this window, and read its address
      await assertRefused(thief, ticket);
      assert.equal(appCookie(thief), undefined);
    });

    test('a ticket that was changed, or is for another app, opens nothing', async () => {
      const ada = await world.signIn('ada');
      const ticket = await fetchTicket(ada);
      const value = ticket.searchParams.get('ticket');
      for (const bad of ['', 'x', value.slice(1), `${value}A`, value.slice(0, 9) + (value[9] === 'A' ? 'B' : 'A') + value.slice(10), 'A'.repeat(6000)]) {
        const url = new URL(ticket);
        url.searchParams.set('ticket', bad);
        await assertRefused(ada, url);
      }
      await assertRefused(ada, new URL('/.postern/enter', reports));
      await assertRefused(ada, `${ticket}&ticket=${value}`);
      await assertRefused(ada, new URL(ticket.pathname + ticket.search, apps.url('headlamp')), apps.url('headlamp'));
      await assertRefused(ada, new URL(`${reports}/annex/.postern/enter${ticket.search}`), `${reports}/annex`);
      assert.equal((await ada.get(ticket, { headers: navigation })).status, 303, 'the good one still works');
    });

    test('a ticket is taken by a navigation only', async () => {
      const ada = await world.signIn('ada');
      const ticket = await fetchTicket(ada);
      assertProblem(await ada.get(ticket, { headers: script }), 404);
      assert.equal((await ada.get(ticket, { headers: { ...navigation, 'Sec-Fetch-Dest': 'iframe' } })).status, 404);
      assert.equal((await ada.post(ticket)).status, 404);
      assert.equal((await ada.get(ticket, { headers: navigation })).status, 303);
    });

    test('a ticket of a sign-in that ended since is none', async () => {
      const ada = await world.signIn('ada');
      const ticket = await fetchTicket(ada);
      await signOut(ada);
      await assertPage(await ada.get(ticket, { headers: navigation }), 401, /not signed in any more/);
      assert.equal(appCookie(ada), undefined);
    });

    test('peers 43: where a browser is sent afterwards is on the same host', async () => {
      for (const path of ['//evil.example/', '/\\evil.example/', '/%2f%2fevil.example', '/x/../../evil', `/${'x'.repeat(2000)}`]) {
        const ada = await world.signIn('ada');
        const raw = await rawGet(path);
        if (raw.status !== 303) continue; // refused as a request
        ada.jar.store(reports, raw.headers['set-cookie']);
        const back = await ada.get(locationOf(raw));
        const landed = await ada.get(locationOf(back), { headers: navigation });
        assert.equal(landed.status, 303, landed.text);
        assert.equal(locationOf(landed).href, reports + (path.length > 1024 ? '/' : path), path);
      }
    });

    test('two apps of one host have a session each', async () => {
      const ada = await person();
      assert.equal((await ada.get(`${reports}/annex/x`, { headers: navigation })).status, 303);
      assertProblem(await ada.get(`${reports}/annex/x`, { headers: script }), 401);
      ada.jar.set(reports, '__Host-postern-app-annex', appCookie(ada).value);
      assertProblem(await ada.get(`${reports}/annex/x`, { headers: script }), 401);
      const landed = await enter(ada, `${reports}/annex/page/1`);
      assert.equal(locationOf(landed).href, `${reports}/annex/page/1`);
      assert.ok(appCookie(ada, 'annex'));
    });
  });

  /** A path that goes out as it is, from a browser without cookies. */
  function rawGet(path, headers = {}) {
    return request(reports, { path, headers: { ...navigation, ...headers }, ca: world.ca });
  }

  describe('kept out', () => {
    test('peers 42: scripts are told with 401, never sent away', async () => {
      const browser = world.browser();
      const seen = apps.reports.requests.length;
      for (const headers of [script, { Accept: 'application/json' }, { Accept: '*/*' }, { ...script, 'Sec-Fetch-Mode': 'no-cors' }, { ...script, Accept: 'text/html' }])
        assertProblem(await browser.get(`${reports}/whoami`, { headers }), 401);
      assertProblem(await browser.get(`${reports}/socket`, { headers: { ...upgrade, Origin: reports } }), 401);
      assert.equal((await browser.get(`${reports}/`, { headers: { ...navigation, 'Sec-Fetch-Dest': 'iframe' } })).status, 401);
      assert.deepEqual(browser.jar.names(), []);
      assert.equal(apps.reports.requests.length, seen);
    });

    test('peers 40, 41: a sign-in that ended ends it here', async () => {
      const ada = await person();
      await signOut(ada);
      const seen = apps.reports.requests.length;
      assertProblem(await ada.get(`${reports}/whoami`, { headers: script }), 401);
      assert.equal(appCookie(ada), undefined, 'the cookie is taken away');
      const away = await ada.get(`${reports}/`, { headers: navigation });
      assert.equal(locationOf(away).origin, apps.portal);
      assert.equal((await ada.get(locationOf(away))).status, 401, 'the portal asks to sign in');
      assert.equal(apps.reports.requests.length, seen);
    });

    test('a form that is sent after the end is not lost in a redirect', async () => {
      const ada = await person();
      await signOut(ada);
      const headers = { ...navigation, 'Sec-Fetch-Site': 'same-origin', Origin: reports };
      const answer = await ada.post(`${reports}/form`, { name: 'Ada' }, { headers });
      await assertPage(answer, 401, /sign in again in another tab/i);
      assert.match(answer.text, /target="_blank" rel="noopener"/);
    });

    test('only the app’s own pages change something', async () => {
      const ada = await person();
      const seen = apps.reports.requests.length;
      const foreign = [
        { Origin: 'https://evil.example', 'Sec-Fetch-Site': 'cross-site' }, { Origin: apps.portal, 'Sec-Fetch-Site': 'same-site' },
        { Origin: apps.portal, 'Sec-Fetch-Site': undefined }, { Origin: 'null', 'Sec-Fetch-Site': undefined }, { Origin: undefined, 'Sec-Fetch-Site': undefined },
        { Origin: undefined, 'Sec-Fetch-Site': 'none' }, { Origin: `${reports}.evil.example`, 'Sec-Fetch-Site': undefined }, { Origin: reports.toUpperCase(), 'Sec-Fetch-Site': 'cross-site' },
      ];
      for (const headers of foreign) {
        assertProblem(await ada.post(`${reports}/write`, {}, { headers: { ...headers, Accept: '*/*' } }), 403);
        assertProblem(await ada.get(`${reports}/socket`, { headers: { ...upgrade, ...headers } }), 403);
      }
      await assertPage(await ada.post(`${reports}/form`, {}, { headers: { ...foreign[0], 'Sec-Fetch-Mode': 'navigate' } }), 403, /came from another site/);
      assert.equal(apps.reports.requests.length, seen);
      assert.equal((await ada.post(`${reports}/write`, {}, { headers: { Origin: reports, 'Sec-Fetch-Site': undefined } })).status, 200);
      assert.equal((await ada.post(`${reports}/write`, {}, { headers: { Origin: undefined, 'Sec-Fetch-Site': 'same-origin' } })).status, 200);
    });

    test('a group that is lost closes the app, and is named', async () => {
      const grace = await person('grace');
      const user = apps.user('grace');
      const { groups } = user;
      user.groups = ['Everyone'];
      try {
        const refused = await eventually(() => grace.get(`${reports}/whoami`, { headers: script }), ({ status }) => status === 403);
        assertProblem(refused, 403);
        assert.match(refused.json().detail, /k8s-admins, k8s-viewers/);
        const page = await grace.get(`${reports}/`, { headers: navigation });
        await assertPage(page, 403, /Reports is not open to you/);
        assert.match(page.text, /<bdi>k8s-viewers<\/bdi>/);
      } finally {
        user.groups = groups;
      }
    });

    test('our own corner reaches no app, however it is spelled', async () => {
      const ada = await person();
      const cookie = `${appCookie(ada).name}=${appCookie(ada).value}`;
      const spellings = [
        '/.postern/', '/.postern/x', '/.postern', '/.POSTERN/enter', '/%2epostern/enter', '/%2Epostern/enter', '/.%70ostern/enter', '/%252epostern/enter',
        '//.postern/enter', '/.postern;x=y/enter', '/.postern%2fenter', '/x/../.postern/enter', '/./.postern/enter', '/.postern\\enter', '/x%5c.postern/enter', '/.postern%00/enter',
      ];
      const seen = apps.reports.requests.length;
      for (const path of spellings) assert.ok([400, 404].includes((await rawGet(path, { Cookie: cookie })).status), path);
      assert.equal(apps.reports.requests.length, seen);
      assert.equal((await rawGet('/page/1?next=/.postern/enter', { Cookie: cookie })).status, 200);
    });

    test('a flood of cookies locks nobody out for good', async () => {
      const browser = world.browser();
      for (let i = 0; i < 8; i += 1) await browser.get(`${reports}/page/${i}`, { headers: navigation });
      assert.equal(beginCookies(browser).length, 8);
      const [oldest, ...others] = beginCookies(browser);
      await browser.get(`${reports}/page/9`, { headers: navigation });
      const left = beginCookies(browser);
      assert.equal(left.length, 8);
      assert.ok(!left.includes(oldest), 'the oldest is expired');
      for (const other of others) assert.ok(left.includes(other));
      const seen = apps.reports.requests.length;
      const flood = await rawGet('/', { Cookie: Array.from({ length: 300 }, (_, i) => `__Host-postern-begin-${String(i).padStart(8, '0')}=${'x'.repeat(60)}`).join('; ') });
      assert.ok(flood.status >= 300, String(flood.status));
      assert.equal(apps.reports.requests.length, seen);
      await world.signIn('ada', { browser });
      assert.equal((await enter(browser)).status, 303);
    });

    test('the pages have the portal’s look, from the app’s own host', async () => {
      const page = await rawGet('/.postern/refused');
      const [, style] = /<link rel="stylesheet" href="([^"]+)"/.exec(page.text);
      const answer = await rawGet(style);
      assert.equal(answer.status, 200);
      assert.match(answer.headers['content-type'], /^text\/css/);
    });

    test('Okta that hangs is no yes, and no end', async () => {
      const grace = await person('grace');
      const held = world.okta.hold('userinfo');
      try {
        const answer = await eventually(() => grace.get(`${reports}/whoami`, { headers: script }), ({ status }) => status === 503);
        assertProblem(answer, 503);
        await assertPage(await grace.get(`${reports}/page/1`, { headers: navigation }), 503, /Okta did not answer/, `${reports}/page/1`);
        assert.ok(appCookie(grace), 'the session stays');
      } finally {
        held.release();
      }
      await eventually(() => grace.get(`${reports}/whoami`, { headers: script }), ({ status }) => status === 200);
    });
  });
});
