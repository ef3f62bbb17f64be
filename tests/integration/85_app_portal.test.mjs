// Apps behind the proxy, as the portal has them: the hand-over at /apps/enter, badges and icons on the home page, and their
// sessions on the sessions page.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';

import { startApps } from '../support/apps_world.mjs';
import { assertAccessible, launchChromium, newPage, screenshot } from '../support/browser.mjs';
import { eventually } from '../support/eventually.mjs';
import { locationOf } from '../support/http.mjs';
import { Managed } from '../support/managed.mjs';
import { runPostern } from '../support/process.mjs';
import { getToken, signOut } from '../support/sign_in.mjs';
import { tempDir } from '../support/temp.mjs';

const begin = 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM';
const hostileIcon = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" onload="document.title='run'">
<script>document.title = 'run'; fetch('/profile')</script><circle cx="12" cy="12" r="9" fill="#c60"/></svg>`;
const hostileLabel = '"><script>alert(1)</script>';

describe('apps at the portal', { timeout: 600_000 }, () => {
  let apps;
  let world;
  let chromium;
  const iconFile = path.join(tempDir(), 'reports.svg');
  writeFileSync(iconFile, hostileIcon);
  before(async () => {
    apps = await startApps({ change: (config) => {
      const named = (name) => config.proxy.apps.find((app) => app.name === name);
      named('reports').allowed_groups = ['k8s-admins'];
      named('reports').label = hostileLabel;
      named('reports').icon_file = iconFile;
    } });
    world = apps.world;
    chromium = await launchChromium(world.pki);
  });
  after(async () => {
    await chromium?.close();
    await apps?.close();
  });

  const enter = (app, value = begin) => `/apps/enter?app=${app}&begin=${value}`;

  describe('the way in', () => {
    test('who is signed in and may use the app is sent to its host with a ticket of its own', async () => {
      const ada = await world.signIn('ada');
      const first = await ada.get(enter('headlamp'), { headers: { 'Sec-Fetch-Dest': 'document' } });
      assert.equal(first.status, 303, first.text);
      const { origin, pathname, searchParams } = locationOf(first);
      assert.equal(origin + pathname, `${apps.url('headlamp')}/.postern/enter`);
      assert.deepEqual([...searchParams.keys()], ['ticket']);
      assert.equal(first.headers['referrer-policy'], 'no-referrer');
      assert.equal(first.headers['cache-control'], 'no-store');
      const second = locationOf(await ada.get(enter('headlamp')));
      assert.notEqual(second.searchParams.get('ticket'), searchParams.get('ticket'));
      ada.close();
    });

    test('who is not signed in signs in first, and comes back here', async () => {
      const browser = world.browser();
      const asked = await browser.get(enter('headlamp'));
      assert.equal(asked.status, 401);
      const href = /href="(\/login\?return_to=[^"]+)"/.exec(asked.text)[1].replaceAll('&amp;', '&');
      assert.equal(new URL(href, apps.portal).searchParams.get('return_to'), enter('headlamp'));
      await world.signIn('ada', { browser, returnTo: enter('headlamp') });
      assert.equal(locationOf(browser.landed).href, apps.portal + enter('headlamp'));
      assert.equal((await browser.get(enter('headlamp'))).status, 303);
      browser.close();
    });

    test('who may not use the app learns which groups may', async () => {
      const grace = await world.signIn('grace');
      const refused = await grace.get(enter('reports'));
      assert.equal(refused.status, 403);
      assert.equal(refused.headers.location, undefined);
      assert.match(refused.text, /<bdi>k8s-admins<\/bdi>/);
      assert.doesNotMatch(refused.text, /<script>alert/);
      const line = await world.postern.logLine((l) => l.event === 'app_refused');
      assert.equal(line.app, 'reports');
      grace.close();
    });

    test('a frame, a fetch, a prefetch, a form and HEAD get no ticket', async () => {
      const ada = await world.signIn('ada');
      for (const destination of ['iframe', 'frame', 'empty', 'image', 'script', 'embed']) {
        const answer = await ada.get(enter('headlamp'), { headers: { 'Sec-Fetch-Dest': destination } });
        assert.equal(answer.status, 400, destination);
        assert.equal(answer.headers.location, undefined);
      }
      assert.equal((await ada.get(enter('headlamp'), { headers: { 'Sec-Purpose': 'prefetch' } })).status, 503);
      assert.equal((await ada.post(enter('headlamp'))).status, 405);
      ada.close();
    });

    test('an unknown app, and what is no begin, lead nowhere', async () => {
      const ada = await world.signIn('ada');
      for (const path of [
        enter('nothing'), enter(''), '/apps/enter', '/apps/enter?app=headlamp', enter('headlamp', ''), enter('headlamp', begin.slice(1)),
        enter('headlamp', `${begin}A`), enter('headlamp', `${begin.slice(1)}%0a`), `${enter('headlamp')}&app=reports`,
      ]) {
        const answer = await ada.get(path);
        assert.equal(answer.headers.location, undefined, path);
        assert.equal(answer.status, 400, path);
      }
      ada.close();
    });
  });

  async function signedIn(name) {
    const page = await newPage(chromium);
    page.complaints = [];
    page.on('dialog', (dialog) => { page.complaints.push(dialog.message()); dialog.dismiss(); });
    page.on('pageerror', (error) => page.complaints.push(error.message));
    await page.goto(apps.portal);
    await apps.signInHere(page, name);
    await page.waitForURL(`${apps.portal}/`);
    return page;
  }

  describe('the home page', () => {
    test('apps stand beside their cluster, or by themselves, with icons that are there', async () => {
      const page = await signedIn('ada');
      const card = page.locator('.cluster', { has: page.getByRole('heading', { name: 'kubernetes', exact: true }) });
      assert.equal(await card.getByRole('link', { name: 'Headlamp' }).getAttribute('href'), apps.url('headlamp'));
      assert.equal(await card.getByRole('link').count(), 3);
      assert.equal(await page.locator('.links').getByRole('link', { name: hostileLabel }).getAttribute('href'), apps.url('reports'));
      const widths = await page.locator('.badges img').evaluateAll((all) => all.map((one) => one.naturalWidth));
      assert.equal(widths.length, 4);
      assert.ok(widths.every((width) => width > 0), widths.join());
      await assertAccessible(page);
      await screenshot(page, 'home-apps');
      assert.deepEqual(page.complaints, []);
      await page.context().close();
    });

    test('what is not open to a person is not there', async () => {
      const page = await signedIn('grace');
      assert.equal(await page.getByRole('link', { name: hostileLabel }).count(), 0);
      assert.doesNotMatch(await page.content(), /reports/);
      await page.context().close();
    });
  });

  describe('icons', () => {
    const imageOf = async (browser, app) => new RegExp(`/apps/icons/${app}\\.[0-9a-f]{16}`).exec((await browser.get('/')).text)[0];

    test('are cached by their content, and have no rights', async () => {
      const ada = await world.signIn('ada');
      const image = await imageOf(ada, 'reports');
      const { status, headers, text } = await ada.get(image);
      assert.equal(status, 200);
      assert.equal(text, hostileIcon);
      assert.equal(headers['content-type'], 'image/svg+xml');
      assert.equal(headers['x-content-type-options'], 'nosniff');
      assert.equal(headers['content-security-policy'], "default-src 'none'; style-src 'unsafe-inline'; sandbox");
      assert.equal(headers['cache-control'], 'public, max-age=31536000, immutable');
      assert.equal((await ada.get(image.replace(/.$/, (c) => (c === '0' ? '1' : '0')))).status, 404);
      assert.equal((await ada.get('/apps/icons/reports')).status, 404);
      ada.close();
    });

    test('a script in one does not run, even when it is opened by itself', async () => {
      const ada = await world.signIn('ada');
      const page = await newPage(chromium);
      const requests = [];
      page.on('request', (request) => requests.push(new URL(request.url()).pathname));
      const image = await imageOf(ada, 'reports');
      await page.goto(apps.portal + image);
      await page.waitForLoadState('load');
      assert.equal(await page.title(), '');
      assert.deepEqual(requests.filter((one) => one === '/profile'), []);
      await page.context().close();
      ada.close();
    });

    test('what is no picture is told by `postern check`, and a reload keeps the former one', async () => {
      const ada = await world.signIn('ada');
      const former = await imageOf(ada, 'reports');
      writeFileSync(iconFile, '<html><script>alert(1)</script></html>');
      const { code, stderr } = await runPostern(['check', '-c', world.postern.configFile]);
      assert.equal(code, 1);
      assert.match(stderr, /proxy\.apps\[3\]\.icon_file: .*reports\.svg: is neither SVG nor PNG/);
      writeFileSync(iconFile, '<svg xmlns="http://www.w3.org/2000/svg"/>');
      world.postern.process.kill('SIGHUP');
      await world.postern.logLine((l) => l.message === 'reloaded');
      assert.notEqual(await imageOf(ada, 'reports'), former);
      assert.equal((await ada.get(former)).status, 404);
      ada.close();
    });
  });

  describe('a session of an app', () => {
    test('is one of the person’s sessions: shown with its cluster, listed, counted, and ended there', async () => {
      const page = await signedIn('grace');
      await page.getByRole('link', { name: 'Headlamp' }).click();
      await page.waitForURL((url) => url.origin === apps.url('headlamp') && !url.pathname.startsWith('/.postern'));
      const list = await page.context().newPage();
      await list.goto(`${apps.portal}/sessions`);
      const row = list.locator('.card > .sessions > li', { hasText: 'Headlamp on kubernetes' });
      assert.equal(await row.count(), 1);
      assert.equal(await row.getByText('Rename').count(), 0);
      await assertAccessible(list);
      await screenshot(list, 'sessions-apps');
      assert.match(await world.postern.metrics(), /postern_sessions\{kind="app"\} 1/);
      const command = ['sessions', 'list', '-c', world.postern.configFile];
      assert.match((await runPostern(command)).stdout, / app +.* kubernetes +Headlamp /);
      const { sign_ins: signIns } = JSON.parse((await runPostern([...command, '--json'])).stdout);
      assert.deepEqual(signIns.flatMap((one) => one.kubeconfig_sessions).map(({ app, cluster }) => [app, cluster]), [['headlamp', 'kubernetes']]);
      await row.getByRole('button', { name: 'End' }).click();
      await list.getByText('no app opened').first().waitFor();
      const line = await world.postern.logLine((l) => l.event === 'session_ended' && l.kind === 'app');
      assert.deepEqual([line.app, line.cluster, line.reason], ['headlamp', 'kubernetes', 'signed_out']);
      await page.context().close();
    });
  });
});

describe('what is open through the proxy, on the sessions page', { timeout: 120_000 }, () => {
  let k8s;
  before(async () => {
    k8s = await Managed.start('pass', (config) => { config.portal.admin_groups = ['k8s-admins']; });
  });
  after(() => k8s?.close());

  test('its person sees what it is, without the query; an administrator sees how many; nobody else anything', async () => {
    const [ada, grace, other] = await Promise.all([k8s.world.signIn('ada'), k8s.world.signIn('grace'), k8s.world.signIn('grace')]);
    const { id_token: token } = await getToken(grace);
    const watch = k8s.ask('/api/v1/pods?watch=true&fieldSelector=secret', { headers: { Authorization: `Bearer ${token}` } }).catch(() => {});
    await eventually(() => k8s.api.watchers, (count) => count === 1);
    const own = (await grace.get('/sessions')).text;
    assert.match(own, /<summary>1 open request<\/summary>/);
    assert.match(own, /GET \/api\/v1\/pods<\/bdi>/);
    assert.match(own, /watch by <bdi>/);
    assert.doesNotMatch(own, /fieldSelector/);
    const all = (await ada.get('/admin/sessions')).text;
    assert.match(all, /, 1 open request</);
    assert.doesNotMatch(all, /api\/v1\/pods/);
    assert.doesNotMatch((await ada.get('/sessions')).text, /open request/);
    // Below the sign-in that it belongs to, not below each of that person's.
    assert.equal((await other.get('/sessions')).text.match(/open request/g).length, 1);
    await signOut(grace);
    await watch;
    await eventually(async () => (await other.get('/sessions')).text, (text) => !text.includes('open request'));
    for (const one of [ada, grace, other]) one.close();
  });
});
