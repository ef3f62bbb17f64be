// Apps behind the proxy as a person meets them, in Chromium: signed in once at the portal, they are signed in everywhere;
// signed out once, everywhere out. And what a hostile app among them can't do.
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';

import { hostileCookies } from '../support/apps_generic.mjs';
import { startApps } from '../support/apps_world.mjs';
import { assertAccessible, launchChromium, looks, screenshot } from '../support/browser.mjs';
import { eventually } from '../support/eventually.mjs';

const ada = '00u1abcd2EFGH3ijk4l5';
const grace = '00u2grac3EHOP4per5m6';
const twoLooks = looks.filter((l) => ['light-1440', 'dark-360'].includes(l.name));

const text = (page, id) => page.locator(`#${id}`).textContent();
/** Waits until the element of an app's page says that. */
const says = (page, id, wanted) => eventually(() => text(page, id), (now) => (wanted instanceof RegExp ? wanted.test(now) : now === wanted));

describe('apps in a browser', { timeout: 300_000 }, () => {
  let apps;
  let chromium;
  let hostile; // a context that several tests share
  before(async () => {
    apps = await startApps();
    chromium = await launchChromium(apps.world.pki);
  });
  after(async () => {
    await chromium?.close();
    await apps?.close();
  });
  // A page that is open goes on asking.
  afterEach(async () => { await Promise.all(chromium.contexts().filter((context) => context !== hostile).map((context) => context.close())); });

  /** A profile of its own, with its cookies; every header and body that comes is kept. */
  async function profile() {
    const context = await chromium.newContext();
    context.came = [];
    context.on('response', (response) => { context.came.push(response.allHeaders().then((headers) => JSON.stringify(headers), () => '')); });
    // Events have no end, so no text.
    context.on('requestfinished', (request) => { context.came.push(request.response().then((response) => response?.text()).catch(() => '')); });
    return context;
  }

  async function signedIn(name) {
    const context = await profile();
    return { context, page: await apps.signIn(context, name) };
  }

  /** All that a browser has been given: answers, cookies, storage, pages. */
  async function given(context) {
    const stored = await Promise.all(context.pages().map(async (page) => [
      page.url(), await page.content(), await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie])),
    ]));
    return [await Promise.all(context.came), JSON.stringify(await context.cookies()), stored].flat(3).join('\n');
  }

  async function look(page, name) {
    await screenshot(page, name, twoLooks);
    await assertAccessible(page, twoLooks);
  }

  test('home’s badge opens Headlamp, signed in as the same person with the same groups', async () => {
    const { context, page } = await signedIn('ada');
    await page.getByRole('link', { name: 'Headlamp' }).waitFor();
    await screenshot(page, 'apps-home', looks);
    await page.getByRole('link', { name: 'Headlamp' }).click();
    await page.waitForURL(`${apps.url('headlamp')}/`);
    await says(page, 'pods', 'web-0 web-1');
    assert.match(await text(page, 'me'), /k8s-admins.*k8s-viewers/);
    assert.equal(await page.locator('#login').isHidden(), true);
    const asked = apps.api.requests.findLast(({ path }) => path === '/api/v1/pods');
    assert.equal(asked.username, ada);
    assert.deepEqual(asked.user.groups, ['k8s-admins', 'k8s-viewers', 'system:authenticated']);

    await says(page, 'watch', /^open/);
    apps.api.announce('pods', 'MODIFIED', apps.api.objects.pods[0]);
    await says(page, 'events', 'MODIFIED web-0\n');
    await screenshot(page, 'apps-headlamp', twoLooks);
    await context.close();
    await eventually(() => apps.api.watchers, (count) => count === 0);
  });

  test('the Dashboards skip their sign-in pages; a terminal opens', async () => {
    const { context, page } = await signedIn('ada');
    await page.goto(apps.url('dashboard'));
    await says(page, 'page', 'overview');
    await says(page, 'pods', 'web-0 web-1');
    await says(page, 'created', '201');
    await says(page, 'terminal', 'web-0$ whoami');
    assert.equal(apps.api.requests.at(-1).username, ada);
    await page.goto(apps.url('dashboard-old'));
    await says(page, 'page', 'overview');
    await says(page, 'pods', 'web-0 web-1');
  });

  test('a token that a page of Dashboard 7 sends by itself is replaced', async () => {
    const { context, page } = await signedIn('grace');
    await page.goto(apps.url('dashboard'));
    await says(page, 'page', 'overview');
    await page.evaluate(() => { document.cookie = 'token=somebody.elses.token; path=/'; });
    await page.reload();
    await says(page, 'page', 'overview');
    await says(page, 'pods', 'web-0 web-1');
    assert.equal(apps.api.requests.at(-1).username, grace);
  });

  test('fetch, XHR, WebSocket, events, an upload and a form work; no cookie of ours and no Authorization reaches the app', async () => {
    const { context, page } = await signedIn('ada');
    await page.goto(`${apps.url('reports')}/page/1`);
    for (const [id, shown] of [['fetch', '200 application/json'], ['xhr', '200 {"written":"by XHR"}'], ['ws', 'open echo.example hello'], ['sse', 'hello '], ['upload', 'true']]) await says(page, id, shown);
    apps.reports.say('again');
    await says(page, 'sse', 'hello again ');
    await screenshot(page, 'apps-generic', twoLooks);
    await page.getByLabel('Your name').fill('Ada');
    await page.getByRole('button', { name: 'Send' }).click();
    await page.getByText('Thank you, Ada').waitFor();
    assert.equal(page.url(), `${apps.url('reports')}/thanks?name=Ada`);
    assert.ok(apps.reports.requests.length > 5);
    for (const { headers, cookies, path } of apps.reports.requests) {
      assert.deepEqual(Object.keys(cookies).filter((name) => /postern/i.test(name)), [], path);
      assert.equal(headers.authorization, undefined, path);
    }
  });

  test('a deep link without a session leads through the sign-in, back to itself', async () => {
    const context = await profile();
    const page = await context.newPage();
    const deep = `${apps.url('reports')}/page/deep/one?a=b%20c&d=%2F`;
    await page.goto(deep);
    assert.equal(new URL(page.url()).origin, apps.portal);
    assert.ok(!page.url().includes('deep'), 'an app’s path is none of the portal’s business');
    await apps.signInHere(page, 'ada');
    await page.waitForURL(deep);
    await says(page, 'fetch', '200 application/json');
  });

  test('tabs that are opened at once all get in, with a session and without', async () => {
    const { context } = await signedIn('ada');
    const links = [1, 2, 3, 4, 5].map((i) => `${apps.url(i % 2 ? 'reports' : 'headlamp')}/page/${i}?tab=${i}`);
    await Promise.all(links.map(async (link) => {
      const page = await context.newPage();
      await page.goto(link);
      assert.equal(page.url(), link);
    }));

    const fresh = await profile();
    const tabs = await Promise.all(links.map(async (link) => {
      const page = await fresh.newPage();
      await page.goto(link);
      return { page, link };
    }));
    await apps.signInHere(tabs[0].page, 'ada');
    await tabs[0].page.waitForURL(links[0]);
    for (const { page, link } of tabs.slice(1)) {
      await page.getByRole('link', { name: 'Sign in with Okta' }).click();
      await page.waitForURL(link);
    }
  });

  test('of many tabs that wait at the sign-in page the last eight get where they were to go, the others into the app', async () => {
    const context = await profile();
    const tabs = [];
    for (let i = 0; i < 10; i += 1) {
      const page = await context.newPage();
      const link = `${apps.url('headlamp')}/page/${i}`;
      await page.goto(link);
      tabs.push({ page, link });
    }
    const [{ page: first }, , ...last] = tabs;
    await apps.signInHere(last[0].page, 'ada');
    await last[0].page.waitForURL(last[0].link);
    for (const { page, link } of last.slice(1)) {
      await page.getByRole('link', { name: 'Sign in with Okta' }).click();
      await page.waitForURL(link);
    }
    await first.getByRole('link', { name: 'Sign in with Okta' }).click();
    await first.getByRole('link', { name: 'Open the app' }).click();
    await says(first, 'pods', 'web-0 web-1');
  });

  /** What must be so once somebody may not go on: nothing open stays, scripts hear 401 or 403, a reload is a page. */
  async function isOut(page, status) {
    await says(page, 'ws', /^closed/);
    const answer = await page.evaluate(() => askByFetch());
    assert.equal(answer.status, status);
    assert.match(answer.type, /^application\/(problem\+)?json/);
    assert.equal(answer.redirected, false);
  }

  test('signing out in another tab ends the WebSocket, XHR gets a 401, a reload the sign-in page', async () => {
    const { context, page: portal } = await signedIn('ada');
    const [page, headlamp] = [await context.newPage(), await context.newPage()];
    await page.goto(`${apps.url('reports')}/page/1`);
    await headlamp.goto(apps.url('headlamp'));
    await says(page, 'ws', /^open/);
    await says(headlamp, 'watch', /^open/);
    await portal.locator('form[action="/logout"] button').first().click();
    await portal.getByRole('link', { name: 'Sign in with Okta' }).waitFor();
    await isOut(page, 401);
    await says(headlamp, 'watch', /^closed/);
    await eventually(() => apps.api.watchers + apps.reports.sockets.size + apps.reports.listeners.size, (open) => open === 0);
    const before = apps.reports.requests.length;
    await page.reload();
    await page.getByRole('link', { name: 'Sign in with Okta' }).waitFor();
    assert.equal(new URL(page.url()).origin, apps.portal);
    assert.equal(apps.reports.requests.length, before, 'nothing of it reached the app');
  });

  test('who is taken out of the group at Okta is out, and told why', async () => {
    const { context, page: portal } = await signedIn('grace');
    const page = await context.newPage();
    await page.goto(`${apps.url('reports')}/page/1`);
    await says(page, 'ws', /^open/);
    const user = apps.user('grace');
    const { groups } = user;
    user.groups = ['Everyone', 'k8s-others'];
    try {
      await isOut(page, 403);
      await page.reload();
      await page.getByText('k8s-viewers').first().waitFor();
      await look(page, 'apps-refused');
      await portal.reload();
      assert.equal(await portal.getByRole('link', { name: 'Reports' }).count(), 0, 'no badge either');
    } finally {
      user.groups = groups;
    }
  });

  test('nothing that a browser was given holds a portal token', async () => {
    const { context } = await signedIn('ada');
    for (const name of ['headlamp', 'dashboard', 'dashboard-old', 'reports']) {
      const page = await context.newPage();
      await page.goto(apps.url(name));
    }
    const [headlamp, dashboard, old] = context.pages().slice(1);
    for (const page of [headlamp, dashboard, old]) await says(page, 'pods', 'web-0 web-1');
    const tokens = apps.tokens();
    assert.ok(tokens.length >= 3, 'each app has a token of its own');
    for (const page of context.pages()) await page.evaluate(() => document.querySelectorAll('script').forEach((script) => script.remove()));
    const all = await given(context);
    for (const token of tokens) for (const part of token.split('.').slice(1)) assert.ok(!all.includes(part));
    const cookies = (await context.cookies()).filter(({ name }) => /postern/i.test(name));
    assert.ok(cookies.length >= 5);
    for (const { name, httpOnly, secure, sameSite, domain } of cookies) {
      assert.deepEqual({ httpOnly, secure, sameSite }, { httpOnly: true, secure: true, sameSite: 'Lax' }, name);
      assert.ok(!domain.startsWith('.'), name);
    }
  });

  describe('a hostile app', () => {
    let context;
    let page;
    before(async () => {
      ({ context, page } = await signedIn('ada'));
      hostile = context;
      await page.goto(apps.url('headlamp'));
      await says(page, 'pods', 'web-0 web-1');
      await page.goto(`${apps.url('reports')}/page/1`);
      await says(page, 'fetch', /^200/);
    });
    after(() => { hostile = undefined; });

    /** What a script at the app's origin gets from there: the status, or the error's name. */
    const tries = (url, options) => page.evaluate(([where, how]) => fetch(where, { credentials: 'include', ...how })
      .then(async (answer) => `${answer.type} ${answer.status} ${await answer.text()}`, (error) => error.name), [url, options]);

    test('its script sees no cookie of ours', async () => {
      const seen = await page.evaluate(() => document.cookie);
      assert.ok(!/postern/i.test(seen), seen);
    });

    test('it can’t read the portal, nor act there as the person', async () => {
      for (const path of ['/', '/profile', '/sessions', '/tokens/kubernetes']) assert.equal(await tries(apps.portal + path), 'TypeError', path);
      const issued = () => apps.world.postern.process.records.filter(({ message, event }) => message === 'audit' && /token|session|sign_out/.test(event)).length;
      const before = issued();
      for (const path of ['/tokens/kubernetes', '/kubeconfig/kubernetes', '/logout', '/sessions/end']) {
        assert.equal(await tries(apps.portal + path, { method: 'POST' }), 'TypeError', path);
        assert.match(await tries(apps.portal + path, { method: 'POST', mode: 'no-cors' }), /^(opaque 0 |TypeError)$/, path);
        const form = await context.newPage();
        await form.goto(`${apps.url('reports')}/page/form`);
        const [answer] = await Promise.all([form.waitForResponse(apps.portal + path), form.evaluate((action) => {
          const element = Object.assign(document.createElement('form'), { action, method: 'post' });
          document.body.append(element);
          element.submit();
        }, apps.portal + path)]);
        assert.ok(answer.status() === 403 || answer.status() === 404, `${path}: ${answer.status()}`);
        await form.close();
      }
      assert.equal(issued(), before);
      const home = await context.newPage();
      await home.goto(`${apps.portal}/profile`);
      assert.equal(new URL(home.url()).pathname, '/profile', 'still signed in');
      await home.close();
    });

    test('it can’t show the portal in a frame', async () => {
      const [failed] = await Promise.all([
        page.waitForEvent('requestfailed', (request) => request.url().startsWith(apps.portal)).catch(() => undefined),
        page.evaluate((src) => { document.body.append(Object.assign(document.createElement('iframe'), { src })); }, `${apps.portal}/profile`),
      ]);
      assert.ok(failed);
      const frame = page.frames().find((f) => f !== page.mainFrame());
      assert.ok(!/00u1abcd/.test(await frame?.content().catch(() => '') ?? ''));
    });

    test('it can’t reach another app: not read, not write, no WebSocket', async () => {
      const pods = `${apps.url('headlamp')}/clusters/main/api/v1/pods`;
      assert.equal(await tries(pods), 'TypeError');
      const before = apps.headlamp.requests.filter(({ method }) => method !== 'GET').length;
      for (const how of [{ method: 'POST', mode: 'no-cors', body: 'x' }, { method: 'POST', mode: 'no-cors', body: new URLSearchParams({ a: 'b' }).toString() }, { method: 'DELETE' }]) await tries(pods, how);
      assert.equal(apps.headlamp.requests.filter(({ method }) => method !== 'GET').length, before, 'nothing of it reached Headlamp');
      const upgrades = apps.headlamp.requests.filter(({ upgrade }) => upgrade).length;
      for (const path of ['/wsMultiplexer', '/clusters/main/api/v1/pods?watch=1']) {
        const how = await page.evaluate((url) => new Promise((resolve) => {
          const ws = new WebSocket(url);
          ws.onopen = () => resolve('open');
          ws.onerror = () => resolve('refused');
        }), apps.url('headlamp').replace('https', 'wss') + path);
        assert.equal(how, 'refused', path);
      }
      assert.equal(apps.headlamp.requests.filter(({ upgrade }) => upgrade).length, upgrades);
    });

    test('it can’t have a service worker, which would see each way in before us', async () => {
      assert.match(await tries(`${apps.url('reports')}/worker.js`), /^basic 200 onfetch/);
      const how = await page.evaluate(() => navigator.serviceWorker.register('/worker.js').then(() => 'registered', (error) => error.message));
      assert.match(how, /bad HTTP response code \(403\)/);
      assert.ok(!apps.reports.requests.some(({ headers }) => headers['service-worker']));
    });

    test('cookies that it sets touch nothing but itself', async () => {
      const before = (await context.cookies()).filter(({ name }) => /postern/i.test(name));
      assert.match(await tries(`${apps.url('reports')}/cookies`), /^basic 200/);
      await page.evaluate(() => {
        for (const line of ['__Host-postern=evil; Domain=example.test; Path=/; Secure', '__Host-postern=evil; Domain=.k8s.example.test; Path=/; Secure',
          '=__Host-postern-app-headlamp=evil; Domain=k8s.example.test; Path=/; Secure', '__Host-postern-app-headlamp; Domain=k8s.example.test; Path=/; Secure']) document.cookie = line;
      });
      const now = await context.cookies();
      assert.deepEqual(now.filter(({ name }) => /postern/i.test(name)), before);
      for (const line of hostileCookies) {
        const [name, value] = line.split(';')[0].split('=');
        const found = now.filter((cookie) => cookie.name === name && cookie.value === value);
        assert.ok(found.every(({ domain }) => domain === new URL(apps.url('reports')).hostname), line);
      }
      assert.ok(now.some(({ name }) => name === 'own'));
      await page.reload();
      await says(page, 'fetch', /^200/);
    });

    test('it can’t start a way in for the person elsewhere, nor use one of theirs', async () => {
      const ticket = await tries(`${apps.portal}/apps/enter?app=headlamp&begin=${'A'.repeat(43)}`, { redirect: 'follow' });
      assert.equal(ticket, 'TypeError');
      const opaque = await tries(`${apps.portal}/apps/enter?app=headlamp&begin=${'A'.repeat(43)}`, { mode: 'no-cors' });
      assert.match(opaque, /^(opaque 0 |TypeError)$/);
    });
  });

  test('a way in serves once, and only the browser that began it', async () => {
    const { context } = await signedIn('ada');
    const page = await context.newPage();
    const entered = page.waitForRequest((request) => request.url().includes('/.postern/enter?'));
    await page.goto(apps.url('reports'));
    const used = (await entered).url();
    await says(page, 'fetch', /^200/);

    const answer = await page.goto(used);
    assert.ok([200, 400, 403, 410].includes(answer.status()), String(answer.status()));
    await page.getByText('used or took too long').waitFor();
    assert.equal(new URL(page.url()).origin, apps.url('reports'));
    await look(page, 'apps-way-in');
    await page.locator('main a, a.button').first().click();
    await says(page, 'fetch', /^200/);

    const stranger = await profile();
    const theirs = await stranger.newPage();
    await theirs.goto(used);
    await theirs.getByText('used or took too long').waitFor();
    assert.ok(!(await stranger.cookies()).some(({ name }) => name.startsWith('__Host-postern-app')));
  });

  test('an app that is down is a page that says so, and JSON for scripts; up again, it goes on', async () => {
    const { context } = await signedIn('ada');
    const page = await context.newPage();
    await page.goto(`${apps.url('reports')}/page/1`);
    await says(page, 'fetch', /^200/);
    await apps.reports.close();
    const scripted = await page.evaluate(() => askByFetch());
    assert.equal(scripted.status, 502);
    assert.match(scripted.type, /json/);
    const answer = await page.reload();
    assert.equal(answer.status(), 502);
    await look(page, 'apps-down');
    await apps.reports.listen(apps.reports.port);
    await page.reload();
    await says(page, 'fetch', /^200/);
  });

  test('a form whose session is over is not lost in a redirect', async () => {
    const { context, page: portal } = await signedIn('ada');
    const page = await context.newPage();
    await page.goto(`${apps.url('reports')}/page/1`);
    await page.getByLabel('Your name').fill('Ada');
    await portal.locator('form[action="/logout"] button').first().click();
    await portal.getByRole('link', { name: 'Sign in with Okta' }).waitFor();
    const [answer] = await Promise.all([page.waitForResponse((response) => response.url().endsWith('/form')), page.getByRole('button', { name: 'Send' }).click()]);
    assert.equal(answer.status(), 401);
    await page.getByText(/sign in again/i).first().waitFor();
    await look(page, 'apps-form');
  });

  test('somebody whose groups are not among an app’s gets a page that names them', async () => {
    const { context, page } = await signedIn('mallory');
    assert.equal(await page.getByRole('link', { name: 'Reports' }).count(), 0);
    const before = apps.reports.requests.length;
    const answer = await page.goto(`${apps.url('reports')}/page/1`);
    assert.equal(answer.status(), 403);
    for (const group of ['k8s-admins', 'k8s-viewers']) await page.getByText(group).first().waitFor();
    await look(page, 'apps-forbidden');
    assert.equal(apps.reports.requests.length, before);
  });

  test('no secret is in a log line', async () => {
    for (const secret of [...apps.world.okta.secrets, ...apps.tokens()]) assert.ok(!apps.world.postern.log.includes(secret));
  });
});
