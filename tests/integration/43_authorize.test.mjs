// /authorize: a program on the person's computer gets a code by their browser, with their own click, and nobody else does.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import https from 'node:https';
import { after, afterEach, before, describe, test } from 'node:test';

import * as openid from 'openid-client';

import { assertAccessible, launchChromium, newPage, screenshot, signInAtOktaPage } from '../support/browser.mjs';
import { locationOf, request } from '../support/http.mjs';
import { meter } from '../support/metrics.mjs';
import { startWorld } from '../support/postern.mjs';
import { isSignedIn, signIn, signInAtOkta, signOut, startSignIn } from '../support/sign_in.mjs';

const challengeOf = (verifier) => createHash('sha256').update(verifier).digest('base64url');
const newVerifier = () => randomBytes(32).toString('base64url');
const callback = 'http://127.0.0.1:43210/callback';

/** A program's parameters, all of which are good; a change of undefined leaves one out. */
function parameters(changes = {}, verifier = newVerifier()) {
  const all = { response_type: 'code', client_id: 'kubernetes', redirect_uri: callback, scope: 'openid', state: 'state-1', code_challenge: challengeOf(verifier), code_challenge_method: 'S256', ...changes };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}

const addressOf = (params) => `/authorize?${new URLSearchParams(params)}`;

const unescape = (text) => text.replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&quot;', '"').replace(/&#(\d+);|&#x([0-9a-f]+);/gi, (_, dec, hex) => String.fromCodePoint(hex ? parseInt(hex, 16) : Number(dec))).replaceAll('&amp;', '&');

/** The fields of the page's form, as a browser would send them. */
function fieldsOf(page) {
  const form = /<form method="post" action="\/authorize"[^>]*>(.*?)<\/form>/s.exec(page.text)?.[1];
  assert.ok(form, `no form: ${page.status} ${page.text}`);
  return Object.fromEntries([...form.matchAll(/<input[^>]* name="([^"]*)" value="([^"]*)"/g)].map(([, name, value]) => [name, unescape(value)]));
}

/** What the program is told, after checks that hold for each redirect to it. */
function toldProgram(answer, issuer, redirectUri = callback) {
  assert.equal(answer.status, 303, answer.text);
  assert.equal(answer.headers['cache-control'], 'no-store');
  assert.equal(answer.headers['referrer-policy'], 'same-origin');
  assert.equal(answer.headers['access-control-allow-origin'], undefined);
  const to = new URL(answer.headers.location);
  assert.equal(`${to.origin}${to.pathname}`, new URL(redirectUri).href.split('?')[0]);
  assert.equal(to.searchParams.get('iss'), issuer, 'RFC 9207');
  return Object.fromEntries(to.searchParams);
}

describe('/authorize', { timeout: 240_000 }, () => {
  let world;
  let agent;
  before(async () => {
    world = await startWorld({ change: (config) => {
      config.clusters.push({ name: 'other', audience: 'other', client_names: ['other'] });
      config.clusters.push({ name: 'admins-only', audience: 'admins', client_names: ['admins'], allowed_groups: ['k8s-admins'] });
    } });
    agent = new https.Agent({ keepAlive: true, ca: world.ca, maxSockets: 20 });
  });
  after(async () => {
    agent?.destroy();
    await world?.close();
  });
  afterEach(() => assert.equal(world.postern.process.ended, undefined));

  function token(form) {
    const body = new URLSearchParams(form).toString();
    return request(`${world.postern.url}/token`, { method: 'POST', body, agent, headers: { 'Content-Type': 'application/x-www-form-urlencoded', 'Content-Length': body.length } });
  }

  async function answer(browser, params, choice = 'allow', changes = {}) {
    const page = await browser.get(addressOf(params));
    assert.equal(page.status, 200, page.text);
    return browser.post('/authorize', { ...fieldsOf(page), answer: choice, ...changes });
  }

  /** A code with what is needed to redeem it. */
  async function code(browser, changes = {}) {
    const verifier = newVerifier();
    const params = parameters(changes, verifier);
    const told = toldProgram(await answer(browser, params), world.postern.url, params.redirect_uri);
    assert.deepEqual(Object.keys(told).sort(), ['code', 'iss', ...(params.state === undefined ? [] : ['state'])]);
    browser.seen.add(told.code);
    return { grant_type: 'authorization_code', client_id: params.client_id, redirect_uri: params.redirect_uri, code: told.code, code_verifier: verifier };
  }

  test('a code for a person’s click, and tokens for the code', async () => {
    const browser = await world.signIn('ada');
    const params = parameters({ state: 'a b&c=d"<é'.replace('é', '~'), nonce: 'n-1' });
    const told = toldProgram(await answer(browser, params), world.postern.url);
    assert.equal(told.state, params.state);
  });

  test('what a program gets works', async () => {
    const browser = await world.signIn('ada');
    const got = await token(await code(browser));
    assert.equal(got.status, 200, got.text);
    assert.equal((await world.review(got.json().id_token, { path: '/tokenreview/kubernetes' })).authenticated, true);
  });
});
