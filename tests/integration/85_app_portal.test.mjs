// Apps behind the proxy, as the portal has them: the hand-over at /apps/enter, badges and icons on the home page, and their
// sessions on the sessions page.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { startApps } from '../support/apps_world.mjs';
import { locationOf } from '../support/http.mjs';

const begin = 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM';
const hostileLabel = '"><script>alert(1)</script>';

describe('apps at the portal', { timeout: 600_000 }, () => {
  let apps;
  let world;
  before(async () => {
    apps = await startApps({ change: (config) => {
      const named = (name) => config.proxy.apps.find((app) => app.name === name);
      named('reports').allowed_groups = ['k8s-admins'];
      named('reports').label = hostileLabel;
    } });
    world = apps.world;
  });
  after(() => apps?.close());

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
});
