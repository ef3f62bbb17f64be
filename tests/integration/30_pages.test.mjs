// What a person sees, in Chromium: every page in light and dark, wide and narrow, by axe, as a picture.
import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';

import { assertAccessible, launchChromium, looks, newPage, screenshot, signInAtOktaPage } from '../support/browser.mjs';
import { startWorld } from '../support/postern.mjs';

describe('the pages', { timeout: 600_000 }, () => {
  let world;
  let chromium;
  before(async () => {
    world = await startWorld({ change: (config) => {
      config.portal.links = [{ label: 'Headlamp', url: 'https://headlamp.example.test/', groups: ['k8s-admins'] }, { label: 'Grafana', url: 'https://grafana.example.test/' }];
      const ca = (name) => path.join(path.dirname(config.portal.tls.certificate_file), '..', name, 'ca.pem');
      config.portal.certificate_authority_file = ca('server-ca');
      config.clusters[0].certificate_authority_file = ca('client-ca');
      config.clusters[0].additional_servers = [{ name: 'kubernetes-vpn', server: 'https://10.8.0.1:6443' }];
      config.clusters.push({ name: 'admins-only', audience: 'admins', client_names: ['other'], allowed_groups: ['k8s-admins'] });
    } });
    chromium = await launchChromium(world.pki);
  });
  after(async () => {
    await chromium?.close();
    await world?.close();
  });

  /** A page of a new profile; whatever script or console complains about fails the test that looks. */
  async function open() {
    const page = await newPage(chromium);
    page.complaints = [];
    page.on('dialog', (dialog) => { page.complaints.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
    page.on('pageerror', (error) => page.complaints.push(`error: ${error.message}`));
    page.on('console', (message) => {
      if (message.type() === 'error') page.complaints.push(`console: ${message.text()}`);
    });
    page.on('request', (request) => {
      const { origin } = new URL(request.url());
      if (![world.postern.url, world.okta.issuer, 'null'].includes(origin)) page.complaints.push(`request to ${origin}`);
    });
    return page;
  }

  async function signedIn(name) {
    const page = await open();
    await page.goto(world.postern.url);
    await page.getByRole('link', { name: 'Sign in with Okta' }).click();
    await signInAtOktaPage(page, world.okta.user(name));
    await page.waitForURL(`${world.postern.url}/`);
    return page;
  }

  async function look(page, name, wanted = looks) {
    await assertAccessible(page, wanted);
    await screenshot(page, name, wanted);
    assert.deepEqual(page.complaints, []);
  }

  test('sign-in page', async () => {
    const page = await open();
    await page.goto(world.postern.url);
    await look(page, 'sign-in');
    await page.context().close();
  });

  test('home, profile, token, sign-out of an administrator', async () => {
    const page = await signedIn('ada');
    for (const text of ['kubernetes', 'admins-only', 'Headlamp', 'Grafana']) await page.getByText(text).first().waitFor();
    await look(page, 'home');

    await page.goto(`${world.postern.url}/profile`);
    for (const text of ['00u1abcd2EFGH3ijk4l5', 'k8s-admins', 'k8s-viewers']) await page.getByText(text).first().waitFor();
    await look(page, 'profile');

    await page.goto(world.postern.url);
    await page.locator('form[action="/tokens/kubernetes"] button').first().click();
    await page.waitForURL('**/tokens/kubernetes');
    const token = /eyJ[\w-]+\.eyJ[\w-]+\.[\w-]+/.exec(await page.content())?.[0];
    assert.equal((await world.review(token, { path: '/tokenreview/kubernetes' })).authenticated, true);
    await look(page, 'token');
    await page.getByText('Single pieces').click();
    await look(page, 'token-pieces');
    assert.ok((await page.content()).length < 40 * 1024);

    // The file comes as a download, and the page stays.
    const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Save with tokens' }).click()]);
    assert.equal(download.suggestedFilename(), 'kubernetes.kubeconfig');
    await download.delete();

    await page.goto(world.postern.url);
    await page.locator('form[action="/logout"] button').first().click();
    await page.getByRole('link', { name: 'Sign in with Okta' }).waitFor();
    await look(page, 'signed-out');
    assert.equal((await world.review(token, { path: '/tokenreview/kubernetes' })).authenticated, false);
    await page.context().close();
  });

  test('home shows a person what they may use, and nothing else', async () => {
    const page = await signedIn('grace');
    await page.getByText('Grafana').first().waitFor();
    assert.equal(await page.getByText('admins-only').count(), 0);
    assert.equal(await page.getByText('Headlamp').count(), 0);
    await page.context().close();
  });

  test('somebody without groups, and somebody with 300', async () => {
    for (const name of ['mallory', 'linus']) {
      const page = await signedIn(name);
      // Two looks of four: axe takes long over 300 rows, and the other pages have all.
      const two = looks.filter((l) => ['light-1440', 'dark-360'].includes(l.name));
      await look(page, `home-${name}`, two);
      await page.goto(`${world.postern.url}/profile`);
      await look(page, `profile-${name}`, two);
      await page.context().close();
    }
  });

  test('peers 53: hostile claims are shown, not run', async () => {
    const page = await signedIn('eve');
    for (const path of ['/', '/profile']) {
      await page.goto(world.postern.url + path);
      assert.equal(await page.locator('script:not([src])').count(), 0, 'an inline script');
      assert.equal(await page.locator('b:text("Hostile")').count(), 0, 'a claim became markup');
    }
    const text = await page.locator('body').textContent();
    for (const part of ['</pre><script>alert(1)</script>', '%n', 'k8s-<b>', 'k8s-ünï', 'k8s-a,b']) assert.ok(text.includes(part), part);
    await look(page, 'profile-eve');
    await page.goto(world.postern.url);
    await page.locator('form[action="/tokens/kubernetes"] button').first().click();
    await page.waitForURL('**/tokens/kubernetes');
    await look(page, 'token-eve');
    await page.context().close();
  });

  test('peers 54: a line break in a claim reaches no header and no log line', async () => {
    const eve = await world.signIn('eve');
    await eve.get('/profile');
    await eve.post('/tokens/kubernetes');
    for (const { headers } of eve.answers) {
      for (const [name, value] of Object.entries(headers)) assert.doesNotMatch(String(value), /evil/, name);
    }
    for (const line of world.postern.process.lines) assert.doesNotThrow(() => JSON.parse(line), line);
  });

  test('Copy takes the command as it is, with the space before it', async () => {
    const page = await signedIn('grace');
    await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
    await page.locator('form[action="/tokens/kubernetes"] button').first().click();
    await page.waitForURL('**/tokens/kubernetes');
    const shells = page.getByRole('heading', { level: 3 });
    assert.deepEqual(await shells.allTextContents(), ['bash or zsh', 'PowerShell'], 'the likelier first');
    await page.getByRole('button', { name: 'Copy for bash or zsh' }).click();
    await page.getByText('Copied').first().waitFor();
    assert.match(await page.evaluate(() => navigator.clipboard.readText()), /^ \(ca=\$\(mktemp\).*\)$/);
    await page.context().close();
  });

  test('it works without script', async () => {
    const page = await newPage(chromium, { javaScriptEnabled: false });
    await page.goto(world.postern.url);
    await page.getByRole('link', { name: 'Sign in with Okta' }).click();
    await signInAtOktaPage(page, world.okta.user('ada'));
    await page.waitForURL(`${world.postern.url}/`);
    await page.locator('form[action="/tokens/kubernetes"] button').first().click();
    await page.waitForURL('**/tokens/kubernetes');
    assert.match(await page.content(), /eyJ[\w-]+\.eyJ/);
    await page.goto(world.postern.url);
    await page.locator('form[action="/logout"] button').first().click();
    await page.getByRole('link', { name: 'Sign in with Okta' }).waitFor();
    await page.context().close();
  });

  test('error pages', async () => {
    const page = await open();
    for (const [name, path] of [['not-found', '/no/such/page'], ['bad-callback', '/auth/oidc?code=a&state=b']]) {
      await page.goto(world.postern.url + path);
      // The answer's status itself is what Chromium's console complains of here.
      page.complaints = page.complaints.filter((c) => !c.includes('Failed to load resource'));
      await look(page, `error-${name}`);
    }
    await world.okta.down();
    world.okta.force('discovery', null);
    await page.goto(`${world.postern.url}/`);
    await world.okta.up();
    await page.context().close();
  });

  test('a page with everything is under 50 KB', async () => {
    const page = await signedIn('ada');
    let bytes = 0;
    page.on('response', async (response) => { bytes += (await response.body().catch(() => Buffer.alloc(0))).length; });
    for (const path of ['/', '/profile']) {
      bytes = 0;
      await page.goto(world.postern.url + path, { waitUntil: 'networkidle' });
      assert.ok(bytes < 50 * 1024, `${path}: ${bytes} bytes`);
    }
    await page.context().close();
  });
});
