// The sessions page and its acts; what administrators see and do; the warning before a sign-in ends.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { assertAccessible, launchChromium, newPage, screenshot, signInAtOktaPage } from '../support/browser.mjs';
import { startWorld } from '../support/postern.mjs';
import { getToken, isSignedIn } from '../support/sign_in.mjs';

const idOf = (html, name) => {
  const row = html.split('<li>').find((part) => part.includes(name));
  assert.ok(row, `no "${name}" in ${html}`);
  return /name="id" value="([^"]+)"/.exec(row)[1];
};
const sessionOf = (token) => JSON.parse(Buffer.from(token.split('.')[1], 'base64url')).sid;

describe('sessions', { timeout: 240_000 }, () => {
  let world;
  before(async () => {
    world = await startWorld({ change: (config) => {
      config.portal.admin_groups = ['k8s-admins'];
      config.identity = { fresh: '5m', max_age: '10m', stale_if_error: '20m' };
      config.tokens.lifetime = '10m';
    } });
  });
  after(() => world?.close());

  const page = async (browser, path = '/sessions') => {
    const answer = await browser.get(path);
    assert.equal(answer.status, 200, answer.text);
    return answer.text;
  };
  const yes = async (token) => (await world.review(token.id_token)).authenticated === true;

  test('one is named, renamed and ended; its sibling goes on', async () => {
    const ada = await world.signIn('ada');
    const one = await getToken(ada);
    const other = await getToken(ada);
    const id = sessionOf(one.id_token);
    assert.match(await page(ada), /This sign-in/);
    const renamed = await ada.post('/sessions/name', { id, name: 'ada\'s <laptop> & "more"' });
    assert.equal(renamed.status, 303, renamed.text);
    assert.equal(idOf(await page(ada), 'ada&#39;s &lt;laptop&gt; &amp; &quot;more&quot;'), id);
    await world.postern.restart();
    assert.equal(idOf(await page(ada), '&lt;laptop&gt;'), id, 'the name is stored');
    assert.ok(await yes(one));
    assert.equal((await ada.post('/sessions/end', { id })).status, 303);
    assert.equal(await yes(one), false);
    assert.ok(await yes(other));
    await world.postern.logLine((line) => line.event === 'session_ended' && line.session === id && line.reason === 'signed_out');
    assert.doesNotMatch(await page(ada), /laptop/);
  });

  test('bad names, foreign and dead ids, other sites and GETs change nothing', async () => {
    const ada = await world.signIn('ada');
    const grace = await world.signIn('grace');
    const token = await getToken(grace);
    const id = sessionOf(token.id_token);
    for (const path of ['/sessions/end', '/sessions/name'])
      assert.equal((await ada.post(path, { id, name: 'mine' })).status, 404, 'grace\'s is unknown to ada');
    assert.equal((await ada.post('/sessions/end', { id: 'A'.repeat(22) })).status, 404);
    assert.equal((await ada.post('/sessions/end', {})).status, 404);
    for (const name of ['x'.repeat(200), 'a\u0007b', 'two\nlines'])
      assert.equal((await grace.post('/sessions/name', { id, name })).status, 400, name);
    for (const path of ['/sessions/end', '/sessions/name', '/sessions/stay', '/admin/sessions/end', '/logout']) {
      const answer = await grace.post(path, { id, everywhere: 'yes' }, { headers: { Origin: 'https://evil.example.test', 'Sec-Fetch-Site': 'cross-site' } });
      assert.equal(answer.status, 403, path);
      assert.equal((await grace.get(path)).status, 405, path);
    }
    assert.ok(await yes(token));
    assert.doesNotMatch(await page(grace), /mine/);
  });

  test('end one sign-in of several, then sign out everywhere', async () => {
    const here = await world.signIn('grace');
    const there = await world.signIn('grace');
    const [mine, theirs] = [await getToken(here), await getToken(there)];
    const html = await page(here);
    const other = [...html.matchAll(/name="id" value="([^"]+)"><button class="secondary">End this sign-in/g)].map((match) => match[1]);
    assert.ok(other.length >= 1);
    for (const id of other) assert.equal((await here.post('/sessions/end', { id })).status, 303);
    assert.equal(await isSignedIn(there), false);
    assert.equal(await yes(theirs), false);
    assert.ok(await yes(mine));
    const again = await world.signIn('grace');
    const answer = await here.post('/logout', { everywhere: 'yes' });
    assert.equal(answer.status, 200);
    assert.equal(await isSignedIn(again), false);
    assert.equal(await yes(mine), false);
    await world.postern.logLine((line) => line.event === 'sign_out' && line.everywhere === true);
  });

  test('administrators search and end; others do not, and one who left the group does not any more', async () => {
    const ada = await world.signIn('ada');
    const grace = await world.signIn('grace');
    const token = await getToken(grace);
    const id = sessionOf(token.id_token);
    assert.match(await page(ada), /Everyone&#39;s sessions|\/admin\/sessions/);
    assert.doesNotMatch(await page(grace), /\/admin\/sessions/);
    assert.equal((await grace.get('/admin/sessions')).status, 403);
    assert.equal((await grace.post('/admin/sessions/end', { id: sessionOf((await getToken(ada)).id_token) })).status, 403);

    for (const wanted of ['grace@', 'GRACE', world.okta.user('grace').id, id])
      assert.match(await page(ada, `/admin/sessions?q=${encodeURIComponent(wanted)}`), new RegExp(id), wanted);
    assert.doesNotMatch(await page(ada, '/admin/sessions?q=nobody-like-that'), /name="id"/);
    assert.doesNotMatch(await page(ada, '/admin/sessions?q=%3Cscript%3E'), /<script>/);

    world.okta.user('ada').groups = ['k8s-viewers'];
    try { // long before the facts that Postern has are old
      assert.equal((await ada.post('/admin/sessions/end', { id })).status, 403, 'asked anew at the act');
    } finally {
      world.okta.user('ada').groups = ['Everyone', 'k8s-admins', 'k8s-viewers', 'k8s team, EU'];
    }
    assert.ok(await yes(token));
    const ended = await ada.post('/admin/sessions/end', { id, q: 'grace & co' });
    assert.equal(ended.status, 303, ended.text);
    assert.equal(ended.headers.location, '/admin/sessions?q=grace%20%26%20co');
    assert.equal(await yes(token), false);
    await world.postern.logLine((line) => line.event === 'end_ordered' && line.by === 'administrator' && line.session === id && line.uid === world.okta.user('grace').id);
    assert.match(await page(grace), /an administrator ended it/);
    assert.equal((await ada.post('/admin/sessions/end', { uid: world.okta.user('grace').id })).status, 303);
    assert.equal(await isSignedIn(grace), false);
  });

  describe('in a browser', () => {
    let chromium;
    before(async () => { chromium = await launchChromium(world.pki); });
    after(() => chromium?.close());

    async function signedIn(name) {
      const tab = await newPage(chromium);
      await tab.goto(world.postern.url);
      await tab.getByRole('link', { name: 'Sign in with Okta' }).click();
      await signInAtOktaPage(tab, world.okta.user(name));
      await tab.waitForURL(`${world.postern.url}/`);
      return tab;
    }
    const form = (tab, action, fields) => tab.evaluate(async ([to, body]) => (await fetch(to, { method: 'POST', body: new URLSearchParams(body) })).status, [action, fields]);

    test('the pages are for everybody, in every look', async () => {
      await world.signIn('ada');
      const tab = await signedIn('ada');
      for (const name of ['kubectl on the old laptop', 'CI in Frankfurt']) await form(tab, '/tokens/kubernetes', { name });
      await tab.getByRole('link', { name: 'Sessions' }).click();
      await tab.getByRole('listitem').filter({ hasText: 'CI in Frankfurt' }).waitFor();
      await assertAccessible(tab);
      await screenshot(tab, 'sessions');
      await tab.goto(`${world.postern.url}/admin/sessions?q=ada`);
      await assertAccessible(tab);
      await screenshot(tab, 'admin');
      await tab.goto(`${world.postern.url}/sessions`);
      const row = tab.getByRole('listitem').filter({ hasText: 'CI in Frankfurt' });
      await row.getByText('Rename').click();
      await row.getByLabel('Name').fill('CI in Bonn');
      await row.getByRole('button', { name: 'Save' }).click();
      await tab.getByRole('listitem').filter({ hasText: 'CI in Bonn' }).waitFor();
      await tab.context().close();
    });

    test('no page warns before it is time', async () => {
      const tab = await signedIn('ada');
      const show = [() => tab.goto(`${world.postern.url}/`), () => tab.goto(`${world.postern.url}/profile`), () => tab.goto(`${world.postern.url}/sessions`),
        async () => { await tab.goto(`${world.postern.url}/`); await tab.getByRole('button', { name: 'Set up kubectl' }).first().click(); await tab.waitForURL('**/tokens/**'); }];
      for (const step of show) {
        await step();
        const { idle, end } = await tab.locator('#ending').evaluate((element) => ({ ...element.dataset }));
        assert.ok(Date.parse(end) > Date.parse(idle), `${tab.url()}: ${idle}, ${end}`);
        assert.equal(await tab.locator('#ending').isVisible(), false, tab.url());
      }
      await tab.context().close();
    });

    test('a warning with a countdown comes before the idle limit, and one click stays', async () => {
      const tab = await signedIn('grace');
      await tab.clock.install();
      await tab.goto(`${world.postern.url}/sessions`);
      const warning = tab.getByRole('alert');
      assert.equal(await warning.isVisible(), false);
      await tab.clock.runFor(14 * 60_000);
      await warning.waitFor();
      assert.match(await warning.innerText(), /signed out here in (5\d|60) s|signed out here in 1 min/);
      await screenshot(tab, 'ending');
      await assertAccessible(tab);
      const stayed = tab.waitForResponse((response) => response.url().endsWith('/sessions/stay'));
      await tab.getByRole('button', { name: 'Stay signed in' }).click();
      assert.equal((await stayed).status(), 200);
      await tab.context().close();
    });
  });
});
